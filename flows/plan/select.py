"""Selectors: how people name steps of a plan; and plans of some of their steps.

``STEP`` is every variant of a step; ``STEP[axis=value,...]`` those variants that agree;
``STEP[VARIANT]`` one variant by its id (``on_scene[handbag,beach]``); ``axis=value,...`` every
step of the variants that agree. ``axis.variable=text`` asks a variable of the value, a table's
column for one. An axis that is named twice may have either value; ``*`` and ``?`` stand for any
letters and any one. A step's label is the selector that names all axes it depends on; of its takes
the first has this label, others name their number too: ``frame[shot=s3,take=2]``.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flows.plan.keys import plan_digest
from flows.plan.step import Plan, PlannedSheet, PlannedVariant, Step
from flows.problems import Problem, did_you_mean, one_of, unknown
from flows.recipe.errors import RecipeError
from flows.recipe.placeholders import TAKE

_SELECTOR = re.compile(r"(?P<step>[^\[\]=,]+)(?:\[(?P<inside>[^\[\]]*)\])?\Z")


@dataclass(frozen=True, slots=True)
class Selection:
    """What a selector means in a plan: labels of steps, and the variants it names."""

    labels: tuple[str, ...]
    variants: tuple[PlannedVariant, ...]


def make_label(step: str, values: Mapping[str, str]) -> str:
    """``on_scene[product=handbag,scene=beach]``, or the step's name alone without values."""
    inside = ",".join([f"{axis}={name}" for axis, name in values.items()])
    return f"{step}[{inside}]" if inside else step


def take_label(step: str, values: Mapping[str, str], take: int) -> str:
    """The label of a take, from 1; the first's is the step's own."""
    return make_label(step, values if take == 1 else {**values, TAKE: str(take)})


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


def select_exact(plan: Plan, text: str, option: str) -> tuple[str, ...]:
    """The label that ``text`` is, or the labels that it selects.

    Raises:
        RecipeError: as ``select``.
    """
    known = text in plan.labels or text in plan.waiting
    return (text,) if known else select(plan, text, option).labels


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
    wanted = [plan.labels[label] for label in labels if label in plan.labels]
    waiting = {label: one for label, one in plan.waiting.items() if label in labels}
    # What is undecided is made so far; who is judged for it is, too.
    wanted += (key for one in waiting.values() for key in one.needs)
    picks = {
        label: pick
        for label, pick in plan.picks.items()
        if label in labels
        or any(label in one.picks for one in waiting.values())
        or pick.chosen in wanted
    }
    wanted += (key for pick in picks.values() for key in pick.judged)
    keys = sub_plan(plan, wanted).steps.keys()
    alphas = [one.alpha for one in plan.outputs if one.alpha and one.key in keys]
    keys = sub_plan(plan, [*keys, *alphas]).steps.keys()
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
        if steps.keys() >= set(output.keys)
    )
    sheets = tuple(_narrowed(plan.sheets, steps))
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
        sheets=sheets,
        digest=plan_digest(steps, outputs, sheets),
        only=tuple(only),
        picks=picks,
        waiting=waiting,
    )


def _narrowed(sheets: Iterable[PlannedSheet], keys: Container[str]) -> Iterator[PlannedSheet]:
    """Contact sheets of these steps alone; without any of them there is no sheet."""
    for sheet in sheets:
        if tiles := tuple(tile for tile in sheet.tiles if tile.key in keys):
            yield replace(sheet, tiles=tiles)


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
        sheets=(),
        picks={},
        waiting={},
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
    names = _axes_by_step(plan)
    takes: Sequence[str] | None
    if "[" not in text and "=" in text:
        pairs = _pairs(text)
        takes = pairs.pop(TAKE, None) if _has_takes(plan) else None
        variants = _agreeing(plan, pairs)
    else:
        found = _SELECTOR.match(text)
        if found is None:
            raise _NoMatchError(
                "cannot be read; expected STEP, STEP[axis=value] or axis=value; mend it"
            )
        steps = _matching([found["step"].strip()], names)
        if not steps:
            step = found["step"]
            raise _NoMatchError(unknown("step", step, "the recipe", names, "name one of these"))
        names = {step: names[step] for step in steps}
        takes, variants = _inside(plan, found["inside"] or "")
    labels: dict[str, None] = {}
    for step, axes in names.items():
        for variant in variants:
            label = make_label(step, {axis: variant.values[axis] for axis in axes})
            labels.update(dict.fromkeys(_takes_of(plan, label, takes)))
    if not labels:
        raise _NoMatchError(f"there is no take {one_of(takes or [])} of it; expected one that is")
    return Selection(tuple(labels), variants)


def _takes_of(plan: Plan, label: str, takes: Sequence[str] | None) -> Iterator[str]:
    """The labels of a step's takes in one variant; the first's is the step's own."""
    step, values = parse_label(label)
    number = 1
    while label in plan.labels or label in plan.waiting:
        if takes is None or _matching(takes, [str(number)]):
            yield label
        number += 1
        label = take_label(step, values, number)


def _has_takes(plan: Plan) -> bool:
    """Whether ``take`` is the number of a take, and no axis."""
    return all(TAKE not in variant.values for variant in plan.variants[:1])


def _inside(plan: Plan, inside: str) -> tuple[Sequence[str] | None, tuple[PlannedVariant, ...]]:
    """The takes and the variants that are meant by what stands in brackets."""
    if "=" in inside or not inside.strip():
        pairs = _pairs(inside)
        takes = pairs.pop(TAKE, None) if _has_takes(plan) else None
        return takes, _agreeing(plan, pairs)
    wanted = ",".join(part.strip() for part in inside.split(","))
    found = tuple(variant for variant in plan.variants if variant.id == wanted)
    if not found:
        ids = [variant.id for variant in plan.variants]
        raise _NoMatchError(unknown("variant", wanted, "the recipe", ids, "name one of these"))
    return None, found


def _pairs(text: str) -> dict[str, list[str]]:
    """Each axis (or ``axis.variable``) and what it may be."""
    pairs: dict[str, list[str]] = {}
    for part in text.split(","):
        if not part.strip():
            continue
        axis, equals, name = part.partition("=")
        if not equals:
            raise _NoMatchError(
                f"'{part.strip()}' has no '='; expected axis=value; write {part}=..."
            )
        pairs.setdefault(axis.strip(), []).append(name.strip())
    return pairs


def _matching(wanted: Sequence[str], known: Iterable[str]) -> list[str]:
    """Those of ``known`` that are wanted, by name or by a pattern of ``*`` and ``?``."""
    tests = [re.escape(text).replace(r"\*", ".*").replace(r"\?", ".") for text in wanted]
    test = re.compile("|".join(tests))
    return [name for name in known if test.fullmatch(name)]


def _agreeing(plan: Plan, pairs: Mapping[str, Sequence[str]]) -> tuple[PlannedVariant, ...]:
    known: dict[str, dict[str, None]] = {}
    for variant in plan.variants:
        for axis, name in (*variant.values.items(), *variant.details.items()):
            known.setdefault(axis, {})[name] = None
    chosen: dict[str, set[str]] = {}
    for axis, names in pairs.items():
        if axis not in known:
            raise _NoMatchError(unknown("axis", axis, "the recipe", known, "name one of these"))
        for name in names:
            found = _matching([name], known[axis])
            if not found:
                what = "axis" if "." not in axis else "variable"
                where = f"{what} '{axis}'"
                raise _NoMatchError(unknown("value", name, where, known[axis], "name one of these"))
            chosen.setdefault(axis, set()).update(found)
    agreed = tuple(
        variant
        for variant in plan.variants
        if all(_value(variant, axis) in names for axis, names in chosen.items())
    )
    if not agreed:
        wanted = " and ".join(f"{axis}={name}" for axis, names in pairs.items() for name in names)
        raise _NoMatchError(f"no variant has {wanted} together; expected one; see 'exclude'")
    return agreed


def _value(variant: PlannedVariant, axis: str) -> str | None:
    return variant.values.get(axis, variant.details.get(axis))


def _axes_by_step(plan: Plan) -> dict[str, tuple[str, ...]]:
    """The axes in each step's labels, takes apart; all labels of one step have the same."""
    axes: dict[str, tuple[str, ...]] = {}
    for label in (*plan.labels, *plan.waiting):
        step, _, _ = label.partition("[")
        if step not in axes:  # of several takes the first comes first
            axes[step] = tuple(parse_label(label)[1])
    return axes
