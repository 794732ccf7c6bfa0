"""Outputs planned: which step's picture is found under which name.

Whatever a variable holds becomes one safe piece of a name (``slug``), so only the template itself
can make folders, and it cannot leave the run's. A name without ``{...}`` for an axis on which the
picture depends would overwrite itself, and is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

from flows.plan.filing import (
    EXTENSIONS,
    alpha_of,
    credit_of,
    is_step,
    shape_and_quality,
    split_format,
)
from flows.plan.presets import with_preset
from flows.plan.step import PlannedOutput
from flows.recipe.axes import Axis
from flows.recipe.graph import StepNode
from flows.recipe.handout import OutputSpec
from flows.recipe.matrix import Variant
from flows.recipe.naming import is_reserved, slug
from flows.recipe.node import Loc
from flows.recipe.placeholders import BUILTINS, TAKE, look_up, read_template
from flows.recipe.recipe import Recipe
from flows.recipe.review import Review
from flows.recipe.template import Placeholder, Template

MAX_PART_BYTES = 200
MAX_PATH_BYTES = 400
RUN_FILES = frozenset(
    {"manifest.json", "report.html", "recipe.yaml", "outputs.csv", "outputs.json", "thumbs"}
)

# Each variant, and the keys of its steps' takes, by their ids.
Made = Sequence[tuple[Variant, Mapping[str, tuple[str, ...]]]]

_ODD = frozenset('<>:"|?*\\')


def plan_outputs(
    review: Review,
    axes: Mapping[str, Axis],
    nodes: Mapping[str, StepNode],
    made: Made,
) -> tuple[PlannedOutput, ...]:
    """Every output of every variant, each path once; mistakes are noted.

    With nothing ``made``, because steps are wrong, only what outputs say themselves is looked at.
    """
    planned: dict[str, PlannedOutput] = {}
    wheres: dict[str, Loc] = {}
    for loc, said in _specs(review.recipe, nodes):
        spec = with_preset(review, loc, said)
        if not is_step(review, (*loc, "step"), spec.step, "outputs"):
            continue
        if spec.step not in nodes:  # one in a circle
            continue
        name = spec.name or _default_name(nodes[spec.step], axes)
        where: Loc = (*loc, "name")
        stem, kind = split_format(review, loc, name, spec)
        before = len(review.problems)
        node = nodes[spec.step]
        builtins = (*BUILTINS, TAKE) if node.takes > 1 or not made else BUILTINS
        shape, quality = shape_and_quality(review, loc, spec, kind)
        credit = credit_of(review, spec.metadata)
        alpha = alpha_of(review, loc, spec, kind, nodes if made else None)
        template = read_template(review, where, stem, axes, builtins)
        wrong = unsafe(template) if template.parts else None
        if wrong is not None:
            review.wrong(where, wrong)
        if len(review.problems) > before:
            continue
        for variant, take, keys in takes_of(made, spec.step):
            if node.takes == 1 < take:
                continue  # one more to pick from, of a step whose files have no number
            stem = rendered(review.recipe, spec.step, template, variant, take)
            path = f"{stem}.{EXTENSIONS[kind]}"
            other = keys[alpha] if alpha else ("",)
            clear = other[take - 1 if len(other) > 1 else 0]
            key = keys[spec.step][take - 1]
            output = PlannedOutput(key, variant.id, path, kind, quality, shape, clear, credit)
            wrong = _clash(output, planned, node, template, axes)
            if wrong is not None:
                review.wrong(where, wrong)
                break
            planned.setdefault(output.path.casefold(), output)
            wheres.setdefault(output.path.casefold(), where)
    _check_folders(review, wheres)
    return tuple(planned.values())


def takes_of(made: Made, step: str) -> Iterator[tuple[Variant, int, Mapping[str, tuple[str, ...]]]]:
    """Each take of a step in each variant: its number, from 1, and the keys of all takes there."""
    for variant, keys in made:
        for take in range(1, len(keys[step]) + 1):
            yield variant, take, keys


def _specs(recipe: Recipe, nodes: Mapping[str, StepNode]) -> Iterator[tuple[Loc, OutputSpec]]:
    """The recipe's outputs, or by default every step that no other step uses."""
    if recipe.document.outputs:
        for index, spec in enumerate(recipe.document.outputs):
            if isinstance(spec, OutputSpec):
                yield ("outputs", index), spec
        return
    used = {source for node in nodes.values() for source in (*node.sources, *node.among)}
    for name in recipe.document.steps:
        if name in nodes and name not in used:
            yield ("steps", name), OutputSpec(step=name)


def _default_name(node: StepNode, axes: Mapping[str, Axis]) -> str:
    parts = [f"{{{axis}.name}}" for axis in node.axes if axes[axis].shown]
    values = "-".join([*parts, f"{{{TAKE}}}"] if node.takes > 1 else parts)
    return f"{{step}}/{values}" if values else "{step}"


def unsafe(template: Template) -> str | None:
    """Why the literal part of a name cannot be one; variables are made safe when filled in."""
    # Any letter will do for a variable: a slug is never empty and never made of dots.
    shape = template.render(lambda _: "x")
    rule = "expected a name inside the run's folder"
    odd = next((char for char in shape if char in _ODD or not char.isprintable()), None)
    if shape.startswith(("/", "~")) or shape[1:2] == ":":
        return f"'{shape}' is an absolute path; {rule}; begin with a folder's or a file's name"
    if odd is not None:
        return f"{odd!r} cannot be in a file name; expected letters, digits, '-', '_'; remove it"
    parts = shape.split("/")
    if parts[0].lower() in RUN_FILES:
        return f"'{parts[0]}' is the run's own; expected another name; rename it"
    return next((wrong for part in parts if (wrong := _unsafe_part(part, shape))), None)


def _unsafe_part(part: str, shape: str) -> str | None:
    if part == "..":
        rule = "expected a name inside the run's folder"
        return f"'{shape}' leaves its folder by '..'; {rule}; remove the '..'"
    if part in ("", "."):
        return f"'{shape}' has an empty part; expected a name on each side of '/'; remove one '/'"
    if part != part.strip(" .") or is_reserved(part):
        return f"'{part}' is no file name on every system; expected another; rename it"
    return None


def rendered(recipe: Recipe, step: str, template: Template, variant: Variant, take: int) -> str:
    """A name filled in for one take of a step, each variable as a safe piece of a name."""
    builtin = {"step": step, "variant": variant.id, "recipe": recipe.name}
    if TAKE not in variant.values and TAKE not in recipe.variables:
        builtin[TAKE] = str(take)

    def fill(item: Placeholder) -> str:
        if item.attribute is None and item.name in builtin:
            return slug(builtin[item.name])
        return slug(look_up(recipe, item, variant.values))

    return template.render(fill)


def check_path(path: str) -> str | None:
    """Why a name that was filled in is none."""
    if path.isascii() and len(path) <= MAX_PART_BYTES:
        return None
    longest = max(len(part.encode()) for part in path.split("/"))
    if longest <= MAX_PART_BYTES and len(path.encode()) <= MAX_PATH_BYTES:
        return None
    return (
        f"'{path[:40]}...' is longer than {MAX_PART_BYTES} bytes; expected a shorter "
        "name; use names of values instead of their texts"
    )


def _clash(
    output: PlannedOutput,
    planned: Mapping[str, PlannedOutput],
    node: StepNode,
    template: Template,
    axes: Mapping[str, Axis],
) -> str | None:
    if wrong := check_path(output.path):
        return wrong
    other = planned.get(output.path.casefold())
    if other is None or other == replace(output, variant=other.variant):
        return None
    if other.path != output.path:
        return (
            f"'{other.path}' and '{output.path}' are one file on some systems; expected names that "
            "differ in more than case; rename one"
        )
    named = {item.name for item in template.placeholders}
    if other.variant == output.variant and node.takes > 1 and TAKE not in named:
        return (
            f"the {node.takes} takes of '{node.id}' are all written to '{output.path}'; expected a "
            "name for each; add {take} to the name"
        )
    if other.variant == output.variant:
        return (
            f"two outputs are written to '{output.path}'; expected a name for each; "
            "make the names differ"
        )
    lacking = [a for a in node.axes if a not in named and len(axes[a].values) > 1]
    if lacking and "variant" not in named:
        remedy = f"add {' and '.join(f'{{{axis}}}' for axis in lacking)} to the name"
    else:
        remedy = "make the names differ"
    return (
        f"variants '{other.variant}' and '{output.variant}' are both written to '{output.path}'; "
        f"expected a name for each; {remedy}"
    )


def _check_folders(review: Review, wheres: Mapping[str, Loc]) -> None:
    for path, where in wheres.items():
        for folder in accumulate(path.split("/")[:-1], "{}/{}".format):
            if folder in wheres:
                text = (
                    f"'{folder}' is both a picture and a folder; expected one of them; rename one"
                )
                review.wrong(where, text)
                return
