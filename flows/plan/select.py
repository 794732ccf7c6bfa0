"""Selectors: how people name steps of a plan; and plans of some of their steps.

``STEP`` is every variant of a step; ``STEP[axis=value,...]`` those variants that agree;
``STEP[VARIANT]`` one variant by its id (``on_scene[handbag,beach]``); ``axis=value,...`` every
step of the variants that agree. A step's label is the selector that names all axes it depends on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flows.plan.keys import plan_digest
from flows.plan.step import Plan, PlannedVariant, Step
from flows.problems import Problem, did_you_mean, unknown
from flows.recipe.errors import RecipeError

_SELECTOR = re.compile(r"(?P<step>[^\[\]=,]+)(?:\[(?P<inside>[^\[\]]*)\])?\Z")
_MATCHES_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Selection:
    """What a selector means in a plan: labels of steps, and the variants it names."""

    labels: tuple[str, ...]
    variants: tuple[PlannedVariant, ...]


def make_label(step: str, values: Mapping[str, str]) -> str:
    """``on_scene[product=handbag,scene=beach]``, or the step's name alone without values."""
    inside = ",".join(f"{axis}={name}" for axis, name in values.items())
    return f"{step}[{inside}]" if inside else step


def parse_label(label: str) -> tuple[str, dict[str, str]]:
    """A label's step and values: the inverse of ``make_label``."""
    step, _, inside = label.rstrip("]").partition("[")
    pairs = (part.partition("=") for part in inside.split(",") if part)
    return step, {axis: name for axis, _, name in pairs}


def select(plan: Plan, text: str, option: str) -> Selection:
    """What ``text`` selects; ``option`` names the command-line option in messages.

    Raises:
        RecipeError: nothing of that name, with the nearest that there is.
    """
    try:
        return _select(plan, text.strip())
    except _NoMatchError as error:
        raise RecipeError([Problem(f"{option} {text}", None, str(error))]) from None


def select_one(plan: Plan, text: str, option: str) -> str:
    """The label of the one step that ``text`` selects.

    Raises:
        RecipeError: none, or several; these are listed.
    """
    labels = select(plan, text, option).labels
    if len(labels) > 1:
        shown = ", ".join(labels[:_MATCHES_SHOWN])
        more = f" and {len(labels) - _MATCHES_SHOWN} more" if len(labels) > _MATCHES_SHOWN else ""
        what = f"selects {len(labels)} steps; expected one; choose from {shown}{more}"
        raise RecipeError([Problem(f"{option} {text}", None, what)])
    return labels[0]


def narrow(plan: Plan, only: Sequence[str]) -> Plan:
    """The plan of what any of ``only`` selects, with all ancestors.

    Variants that no selector names are left out, and so are keys of steps not kept.

    Raises:
        RecipeError: a selector that selects nothing.
    """
    labels: set[str] = set()
    named: set[str] = set()
    for text in only:
        selection = select(plan, text, "--only")
        labels.update(selection.labels)
        named.update(variant.id for variant in selection.variants)
    keys = sub_plan(plan, [plan.labels[label] for label in labels]).steps.keys()
    steps = {
        key: replace(step, variants=tuple(v for v in step.variants if v in named))
        for key, step in plan.steps.items()
        if key in keys
    }
    outputs = tuple(
        replace(output, variant=steps[output.key].variants[0])
        if output.variant not in named
        else output
        for output in plan.outputs
        if output.key in steps
    )
    return replace(
        plan,
        steps=steps,
        labels={label: key for label, key in plan.labels.items() if key in keys},
        variants=tuple(
            replace(variant, keys=tuple(key for key in variant.keys if key in keys))
            for variant in plan.variants
            if variant.id in named
        ),
        outputs=outputs,
        digest=plan_digest(steps, outputs),
    )


def sub_plan(plan: Plan, keys: Iterable[str]) -> Plan:
    """The plan of these steps and all their ancestors, which a run finds done or else makes.

    In the order of ``keys``, each after its parents. Without variants and outputs, because a chunk
    publishes nothing; so its digest is its own. Takes time by what is wanted, not by the plan.

    Raises:
        KeyError: a key that is not of this plan.
    """
    found: dict[str, Step] = {}
    for key in keys:
        below = [key]  # each waits for its parents, which are put on top
        while below:
            step = plan.steps[below[-1]]
            open_parents = [parent for parent in step.parents if parent not in found]
            if open_parents:
                below.extend(open_parents)
            else:
                found[below.pop()] = step
    return replace(
        plan,
        steps=found,
        variants=(),
        outputs=(),
        labels={step.label: key for key, step in found.items()},
        warnings=(),
        digest=plan_digest(found, ()),
    )


def stale_label(label: str, labels: Mapping[str, str], path: Path) -> str:
    """The warning about an override that no step has any more."""
    hint = did_you_mean(label, labels)
    return f"{path}: no step '{label}' any more: {hint or 'remove it from the file'}"


class _NoMatchError(ValueError):
    pass


def _select(plan: Plan, text: str) -> Selection:
    if "[" not in text and "=" in text:
        variants = _agreeing(plan, _pairs(text))
        names = _axes_by_step(plan)
    else:
        found = _SELECTOR.match(text)
        if found is None:
            raise _NoMatchError(
                "cannot be read; expected STEP, STEP[axis=value] or axis=value; mend it"
            )
        step = found["step"]
        names = _axes_by_step(plan)
        if step not in names:
            raise _NoMatchError(unknown("step", step, "the recipe", names, "name one of these"))
        names = {step: names[step]}
        variants = _inside(plan, found["inside"] or "")
    labels = {
        make_label(step, {axis: variant.values[axis] for axis in axes}): None
        for step, axes in names.items()
        for variant in variants
    }
    return Selection(tuple(labels), variants)


def _inside(plan: Plan, inside: str) -> tuple[PlannedVariant, ...]:
    if "=" in inside or not inside.strip():
        return _agreeing(plan, _pairs(inside))
    wanted = ",".join(part.strip() for part in inside.split(","))
    found = tuple(variant for variant in plan.variants if variant.id == wanted)
    if not found:
        ids = [variant.id for variant in plan.variants]
        raise _NoMatchError(unknown("variant", wanted, "the recipe", ids, "name one of these"))
    return found


def _pairs(text: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for part in text.split(","):
        if not part.strip():
            continue
        axis, equals, name = part.partition("=")
        if not equals:
            raise _NoMatchError(
                f"'{part.strip()}' has no '='; expected axis=value; write {part}=..."
            )
        pairs[axis.strip()] = name.strip()
    return pairs


def _agreeing(plan: Plan, pairs: Mapping[str, str]) -> tuple[PlannedVariant, ...]:
    axes: dict[str, dict[str, None]] = {}
    for variant in plan.variants:
        for axis, name in variant.values.items():
            axes.setdefault(axis, {})[name] = None
    for axis, name in pairs.items():
        if axis not in axes:
            raise _NoMatchError(unknown("axis", axis, "the recipe", axes, "name one of these"))
        if name not in axes[axis]:
            where = f"axis '{axis}'"
            raise _NoMatchError(unknown("value", name, where, axes[axis], "name one of these"))
    found = tuple(v for v in plan.variants if pairs.items() <= v.values.items())
    if not found:
        wanted = " and ".join(f"{axis}={name}" for axis, name in pairs.items())
        raise _NoMatchError(f"no variant has {wanted} together; expected one; see 'exclude'")
    return found


def _axes_by_step(plan: Plan) -> dict[str, tuple[str, ...]]:
    """The axes in each step's labels; all labels of one step have the same."""
    axes: dict[str, tuple[str, ...]] = {}
    for label in plan.labels:
        step, values = parse_label(label)
        axes.setdefault(step, tuple(values))
    return axes
