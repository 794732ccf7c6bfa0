"""What is decided about, by the labels of a plan."""

from __future__ import annotations

from flows.decisions.decision import Slot
from flows.plan.select import make_label, parse_label, take_label
from flows.plan.step import Plan
from flows.recipe.placeholders import TAKE


def split_take(plan: Plan, label: str) -> tuple[str, int]:
    """A label without its take, and the take's number, from 1."""
    step, values = parse_label(label)
    if any(TAKE in variant.values for variant in plan.variants[:1]):
        return label, 1  # it is an axis
    take = values.pop(TAKE, "1")
    return make_label(step, values), int(take)


def slot_of(plan: Plan, label: str) -> Slot:
    """The slot of a label: all takes of a step in a variant have one."""
    bare, _ = split_take(plan, label)
    return Slot(
        project=plan.project,
        recipe=plan.recipe,
        label=bare,
        parameters=tuple(plan.depends.get(parse_label(bare)[0], ())),
    )


def takes_of(plan: Plan, label: str) -> list[str]:
    """The labels of all takes of a step in a variant, the first's first."""
    bare, _ = split_take(plan, label)
    step, values = parse_label(bare)
    found, number = [], 1
    while (one := take_label(step, values, number)) in plan.labels:
        found.append(one)
        number += 1
    return found
