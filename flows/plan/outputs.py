"""Outputs planned: which step's picture is found under which name.

Whatever a variable holds becomes one safe piece of a name (``slug``), so only the template itself
can make folders, and it cannot leave the run's. A name without ``{...}`` for an axis on which the
picture depends would overwrite itself, and is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Literal

from PIL import ImageColor

from flows.plan.presets import with_preset
from flows.plan.step import PlannedOutput, Shape
from flows.problems import unknown
from flows.recipe.axes import Axis
from flows.recipe.graph import BUILTINS, TAKE, StepNode, look_up, read_template
from flows.recipe.matrix import Variant
from flows.recipe.naming import is_reserved, slug
from flows.recipe.node import Loc
from flows.recipe.recipe import Recipe
from flows.recipe.review import Review
from flows.recipe.schema import OutputSpec
from flows.recipe.template import Placeholder, Template

Format = Literal["png", "jpeg", "webp"]

DEFAULT_QUALITY = 95
BLUR = "blur"  # the picture itself as its ground
MAX_PART_BYTES = 200
MAX_PATH_BYTES = 400
RUN_FILES = frozenset({"manifest.json", "report.html", "recipe.yaml", "outputs.csv", "thumbs"})
EXTENSIONS: Mapping[Format, str] = {"png": "png", "jpeg": "jpg", "webp": "webp"}

_FORMATS: Mapping[str, Format] = {"png": "png", "jpg": "jpeg", "jpeg": "jpeg", "webp": "webp"}
_EXTENSION = re.compile(
    r"(tiff?|gif|bmp|avif|hei[cf]|jxl|jp2|tga|ppm|psd|pdf|svg|raw|jp[e2]?)\Z", re.IGNORECASE
)
_ODD = frozenset('<>:"|?*\\')


def plan_outputs(
    review: Review,
    axes: Mapping[str, Axis],
    nodes: Mapping[str, StepNode],
    made: Sequence[tuple[Variant, Mapping[str, tuple[str, ...]]]],
) -> tuple[PlannedOutput, ...]:
    """Every output of every variant, each path once; mistakes are noted.

    ``made`` has with each variant the keys of its steps' takes, by their ids.
    """
    planned: dict[str, PlannedOutput] = {}
    wheres: dict[str, Loc] = {}
    for loc, said in _specs(review.recipe, nodes):
        spec = with_preset(review, loc, said)
        if spec.step not in nodes:
            text = unknown("step", spec.step, "outputs", nodes, "write one of these")
            review.wrong((*loc, "step"), text)
            continue
        name = spec.name or _default_name(nodes[spec.step], axes)
        where: Loc = (*loc, "name")
        stem, kind = _split_format(review, loc, name, spec)
        before = len(review.problems)
        node = nodes[spec.step]
        builtins = (*BUILTINS, TAKE) if node.takes > 1 else BUILTINS
        shape = _shape(review, loc, spec, kind)
        template = read_template(review, where, stem, axes, builtins)
        wrong = _unsafe(template) if template.parts else None
        if wrong is not None:
            review.wrong(where, wrong)
        if len(review.problems) > before:
            continue
        quality = spec.quality or DEFAULT_QUALITY
        for variant, take, key in _takes(made, spec.step):
            if node.takes == 1 < take:
                continue  # one more to pick from, of a step whose files have no number
            stem = _render(review.recipe, spec.step, template, variant, take)
            path = f"{stem}.{EXTENSIONS[kind]}"
            output = PlannedOutput(key, variant.id, path, kind, quality, shape)
            wrong = _clash(output, planned, node, template, axes)
            if wrong is not None:
                review.wrong(where, wrong)
                break
            planned.setdefault(output.path.casefold(), output)
            wheres.setdefault(output.path.casefold(), where)
    _check_folders(review, wheres)
    return tuple(planned.values())


def _takes(
    made: Sequence[tuple[Variant, Mapping[str, tuple[str, ...]]]], step: str
) -> Iterator[tuple[Variant, int, str]]:
    """Each take of a step in each variant: its number, from 1, and its key."""
    for variant, keys in made:
        for take, key in enumerate(keys[step], 1):
            yield variant, take, key


def _specs(recipe: Recipe, nodes: Mapping[str, StepNode]) -> Iterator[tuple[Loc, OutputSpec]]:
    """The recipe's outputs, or by default every step that no other step uses."""
    if recipe.document.outputs:
        for index, spec in enumerate(recipe.document.outputs):
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


def _split_format(review: Review, loc: Loc, name: str, spec: OutputSpec) -> tuple[str, Format]:
    """The name without its extension, and the format that one of them says."""
    stem, dot, extension = name.rpartition(".")
    said = _FORMATS.get(extension.lower()) if dot and stem else None
    if said is not None and spec.format is not None and said != spec.format:
        text = (
            f"the name ends in '.{extension}' but the format is '{spec.format}'; expected one of "
            "them to decide; remove the other"
        )
        review.wrong((*loc, "format"), text)
    kind = spec.format or said or "png"
    if dot and said is None and _EXTENSION.match(extension):
        text = f"'.{extension}' is no format of outputs: the file ends in '.{EXTENSIONS[kind]}'"
        review.note((*loc, "name"), f"{text} after it; write '.{EXTENSIONS[kind]}' or add 'format'")
    if spec.quality is not None and kind == "png":
        text = "'quality' has no effect on png; expected jpeg or webp; remove it or add a 'format'"
        review.wrong((*loc, "quality"), text, key=True)
    return (stem if said is not None else name), kind


def _shape(review: Review, loc: Loc, spec: OutputSpec, kind: Format) -> Shape:
    """What becomes of the picture in the file; mistakes are noted."""
    for field, needs in (("fit", "size"), ("ground", "fit")):
        if getattr(spec, field) is not None and getattr(spec, needs) is None:
            text = f"'{field}' has no effect without '{needs}'; expected both; add '{needs}: ...'"
            review.wrong((*loc, field), text, key=True)
    if spec.ground is not None and spec.fit not in (None, "pad"):
        text = f"'ground' has no effect with fit '{spec.fit}'; expected 'fit: pad'; remove it"
        review.wrong((*loc, "ground"), text, key=True)
    if spec.ground not in (None, BLUR):
        try:
            ImageColor.getrgb(str(spec.ground))
        except ValueError:
            text = (
                f"'{spec.ground}' is no colour; expected one like white or '#f4f2ee', or 'blur'; "
                "write one"
            )
            review.wrong((*loc, "ground"), text)
    if spec.max_kb is not None and kind == "png":
        text = "'max_kb' has no effect on png; expected jpeg or webp; remove it or add a 'format'"
        review.wrong((*loc, "max_kb"), text, key=True)
    return Shape(spec.size, spec.fit or "crop", spec.ground or "white", spec.max_kb)


def _unsafe(template: Template) -> str | None:
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


def _render(recipe: Recipe, step: str, template: Template, variant: Variant, take: int) -> str:
    builtin = {"step": step, "variant": variant.id, "recipe": recipe.name}
    if TAKE not in variant.values and TAKE not in recipe.variables:
        builtin[TAKE] = str(take)

    def fill(item: Placeholder) -> str:
        if item.attribute is None and item.name in builtin:
            return slug(builtin[item.name])
        return slug(look_up(recipe, item, variant.values))

    return template.render(fill)


def _clash(
    output: PlannedOutput,
    planned: Mapping[str, PlannedOutput],
    node: StepNode,
    template: Template,
    axes: Mapping[str, Axis],
) -> str | None:
    if max(len(part.encode()) for part in output.path.split("/")) > MAX_PART_BYTES or (
        len(output.path.encode()) > MAX_PATH_BYTES
    ):
        return (
            f"'{output.path[:40]}...' is longer than {MAX_PART_BYTES} bytes; expected a shorter "
            "name; use names of values instead of their texts"
        )
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
