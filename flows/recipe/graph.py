"""The steps of a recipe as a graph: what each reads, which axes it really depends on, its order.

What a recipe's types cannot tell is checked here: references, cycles, variables, settings that
contradict each other, and against the model what it can do.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from flows.problems import did_you_mean, unknown
from flows.recipe.axes import Axis, Value
from flows.recipe.fields import is_template
from flows.recipe.node import Loc, short
from flows.recipe.picked import check_pick, pick_sources, stray
from flows.recipe.protect import check_region, mask_source, region_of
from flows.recipe.recipe import Recipe, setting_loc
from flows.recipe.region import KINDS
from flows.recipe.review import Review
from flows.recipe.schema import SETTING_TYPES, StepSpec
from flows.recipe.template import Placeholder, Template, TemplateError, parse_template
from kontext_engine.errors import GeometryError
from kontext_engine.geometry import Size, check_target
from kontext_engine.spec import ModelSpec

# What templates of output names know beside the recipe's own names.
BUILTINS = ("step", "variant", "recipe")
TAKE = "take"  # where a step has several


@dataclass(frozen=True, slots=True)
class StepNode:
    """One step of the recipe, checked.

    ``images`` are inputs and steps as ``image`` names them, some only when filled in; ``sources``
    all that these can become; ``axes`` the axes, in order, that its own templates and inputs or
    any ancestor's use: on no other does its picture depend. ``negative`` is there where it has an
    effect. ``settings`` are those that are filled in for each variant. ``takes`` counts its
    pictures in a variant; ``family`` is the step that asked for them, itself or an ancestor. A
    step or an input may be its ``mask``, or a file. A pick chooses ``among`` steps; its judge
    compares with ``of`` and reads ``text``. ``variables`` are those that its own or any ancestor's
    texts hold, ``ancestors`` the steps that it is made from, itself among them.
    """

    id: str
    spec: StepSpec
    prompt: Template
    negative: Template | None
    images: tuple[str | Template, ...]
    sources: tuple[str, ...]
    axes: tuple[str, ...]
    settings: Mapping[str, Template]
    takes: int = 1
    family: str | None = None
    mask: str | None = None
    mask_file: Template | None = None
    among: tuple[str, ...] = ()
    of: str | None = None
    text: Template | None = None
    variables: frozenset[str] = frozenset()
    ancestors: frozenset[str] = frozenset()


def build_graph(review: Review, axes: Mapping[str, Axis]) -> dict[str, StepNode]:
    """All steps by id, each after those it reads; mistakes are noted."""
    recipe = review.recipe
    _check_names(review)
    specs = recipe.document.steps
    images = {name: _images(review, name, spec, axes) for name, spec in specs.items()}
    sources = {name: _sources(review, name, images[name], axes) for name in specs}
    masks = {name: mask_source(review, name, spec) for name, spec in specs.items()}
    picks = {name: pick_sources(review, name, spec) for name, spec in specs.items()}
    nodes: dict[str, StepNode] = {}
    read = {name: own + masks[name] + picks[name] for name, own in sources.items()}
    for name in _ordered(review, read):
        _check_settings(review, name)
        check_region(review, name)
        prompt = read_template(review, ("steps", name, "prompt"), specs[name].prompt, axes)
        mask_file = None
        if (found := region_of(specs[name])) and found[1].mask and not masks[name]:
            said: Loc = ("steps", name, found[0], "mask")
            mask_file = read_template(review, said, found[1].mask, axes)
        negative = None
        if (text := setting(recipe, name, "negative_prompt")) is not None:
            loc = setting_loc(recipe, name, "negative_prompt")
            negative = read_template(review, loc, text, axes)
        settings = _templates(review, name, axes)
        judged = None
        if (by := specs[name].by) is not None and by.text is not None:
            judged = read_template(review, ("steps", name, "by", "text"), by.text, axes)
        templates = [prompt, negative, mask_file, judged, *settings.values()]
        templates += [image for image in images[name] if isinstance(image, Template)]
        used = {item.name for t in templates if t for item in t.placeholders}
        reads = read[name]
        variables = used & recipe.variables.keys()
        for source in reads:
            used |= set(nodes[source].axes) if source in nodes else {source}
        depends = tuple(axis for axis in axes if axis in used)
        above = [nodes[source] for source in reads if source in nodes]
        if "true_cfg" not in settings and (setting(recipe, name, "true_cfg") or 1) <= 1:
            negative = None
        takes, family = _takes(review, name, above)
        nodes[name] = StepNode(
            name, specs[name], prompt, negative, images[name], sources[name], depends, settings,
            takes, family, next(iter(masks[name]), None), mask_file,
            tuple(specs[name].among or ()), by.of if by is not None else None, judged,
            frozenset(variables).union(*(node.variables for node in above)),
            frozenset({name}).union(*(node.ancestors for node in above)),
        )  # fmt: skip
        if specs[name].op == "pick":
            check_pick(review, name, nodes)
    return nodes


def check_limits(review: Review, nodes: Mapping[str, StepNode], model: ModelSpec) -> None:
    """Sizes and numbers of pictures that the model cannot do, and settings that it ignores."""
    recipe = review.recipe
    for node in nodes.values():
        size = setting(recipe, node.id, "size")
        if isinstance(size, Size):
            try:
                check_target(size, model.pixel_area, model.multiple)
            except GeometryError as error:
                loc = setting_loc(recipe, node.id, "size")
                review.wrong(loc, f"{error} (model '{model.name}')")
        if len(node.images) > model.max_contexts:
            text = (
                f"step '{node.id}' uses {len(node.images)} images; expected at most "
                f"{model.max_contexts} for model '{model.name}'; remove some or name another model"
            )
            review.wrong(("steps", node.id, "image", model.max_contexts), text)
        if setting(recipe, node.id, "guidance") is not None and not model.guidance_embedded:
            loc = setting_loc(recipe, node.id, "guidance")
            review.note(loc, f"model '{model.name}' ignores 'guidance'", key=True)


def setting(recipe: Recipe, step: str, field: str) -> Any:
    """A setting's value: the step's own, else the defaults', else ``None``."""
    own = getattr(recipe.document.steps[step], field)
    return own if own is not None else getattr(recipe.document.defaults, field)


def read_template(
    review: Review, loc: Loc, text: str, axes: Mapping[str, Axis], builtins: tuple[str, ...] = ()
) -> Template:
    """A template whose every placeholder has a value in every variant; mistakes are noted."""
    try:
        template = parse_template(text)
    except TemplateError as error:
        review.wrong(loc, str(error), find=error.token)
        return Template(())
    for item in dict.fromkeys(template.placeholders):
        if item.name in builtins and item.attribute is None:
            continue
        wrong = _wrong_placeholder(review.recipe, item, axes, str(loc[-1]), builtins)
        if wrong is not None:
            review.wrong(loc, wrong, find=item.token)
    return template


def look_up(recipe: Recipe, item: Placeholder, values: Mapping[str, Value]) -> str:
    """What a checked placeholder stands for in one variant."""
    value = values.get(item.name)
    if value is None:
        return recipe.variables[item.name]
    return value.text if item.attribute is None else value.attributes[item.attribute]


def _wrong_placeholder(
    recipe: Recipe,
    item: Placeholder,
    axes: Mapping[str, Axis],
    where: str,
    builtins: tuple[str, ...],
) -> str | None:
    if item.name in axes:
        lacking = (
            _no_attribute(item, value, where)
            for value in axes[item.name].values
            if item.attribute is not None and item.attribute not in value.attributes
        )
        return next(lacking, None)
    if item.name in recipe.variables:
        text = (
            f"'{item.name}' in {where} is a variable and has no '.{item.attribute}'; "
            f"expected {{{item.name}}}; remove the dot"
        )
        return text if item.attribute is not None else None
    if item.name in recipe.named_steps:
        return (
            f"'{item.name}' in {where} is a step, a picture; expected the name of a text; "
            "name the step in 'image'"
        )
    known = [*axes, *recipe.variables, *builtins]
    return unknown("variable", item.name, where, known, "declare it under 'variables:'")


def _no_attribute(item: Placeholder, value: Value, where: str) -> str:
    what = f"'{item.name}' has no '.{item.attribute}' for '{value.name}' in {where}"
    if hint := did_you_mean(str(item.attribute), value.attributes):
        return f"{what}: {hint}"
    example = f"{{name: {value.name}, {item.attribute}: ...}}"
    return f"{what}; expected it for every value; write {example}"


def _check_names(review: Review) -> None:
    """One name, one thing: templates and ``image`` say a name without its section."""
    document = review.recipe.document
    taken: dict[str, str] = {}
    for section, article, names in (
        ("inputs", "an input", document.inputs),
        ("matrix", "an axis", document.matrix.__pydantic_extra__ or {}),
        ("variables", "a variable", document.variables),
        ("parameters", "a parameter", document.parameters),
        ("steps", "a step", document.steps),
    ):
        for name in names:
            if name in taken:
                text = (
                    f"{article} is named '{name}' like {taken[name]}; expected a name of its "
                    "own; rename one of them"
                )
                review.wrong((section, name), text, key=True)
            elif name == TAKE and any((one.takes or 1) > 1 for one in document.steps.values()):
                text = (
                    f"{article} is named '{name}', which steps with 'takes' keep for themselves; "
                    "expected another name; rename it"
                )
                review.wrong((section, name), text, key=True)
            elif name in BUILTINS and section != "steps":
                text = (
                    f"{article} is named '{name}', which file names keep for themselves; expected "
                    "another name; rename it"
                )
                review.wrong((section, name), text, key=True)
            taken.setdefault(name, article)


def _takes(review: Review, name: str, reads: Sequence[StepNode]) -> tuple[int, str | None]:
    """How many pictures a step has in a variant, and which step asked for so many."""
    own = review.recipe.document.steps[name].takes or 1
    if review.recipe.document.steps[name].op == "pick":
        return 1, None
    families = dict.fromkeys(node.family for node in reads if node.family is not None)
    if own > 1 and families:
        text = (
            f"step '{name}' has takes, and reads '{next(iter(families))}', which has some; "
            "expected one of them; remove one 'takes'"
        )
        review.wrong(("steps", name, "takes"), text)
    elif len(families) > 1:
        named = " and ".join(f"'{one}'" for one in families)
        text = f"step '{name}' reads takes of {named}; expected takes of one step; remove a 'takes'"
        review.wrong(("steps", name, "image"), text)
    if own > 1:
        return own, name
    return next(((node.takes, node.family) for node in reads if node.family), (1, None))


def _templates(review: Review, name: str, axes: Mapping[str, Axis]) -> dict[str, Template]:
    """The settings of a step that are filled in for each variant."""
    found: dict[str, Template] = {}
    if review.recipe.document.steps[name].op in ("cutout", "pick"):
        return found  # has none
    for field in SETTING_TYPES:
        text = setting(review.recipe, name, field)
        if is_template(text):
            loc = setting_loc(review.recipe, name, field)
            found[field] = read_template(review, loc, text, axes)
    return found


def _images(
    review: Review, name: str, spec: StepSpec, axes: Mapping[str, Axis]
) -> tuple[str | Template, ...]:
    images = spec.image or []
    return tuple(
        read_template(review, ("steps", name, "image", index), image, axes)
        if is_template(image)
        else image
        for index, image in enumerate(images)
    )


def _named(recipe: Recipe, image: str | Template, axes: Mapping[str, Axis]) -> list[str]:
    """All that an entry of ``image`` can become, in any variant."""
    if isinstance(image, str):
        return [image]
    names = list(dict.fromkeys(item.name for item in image.placeholders if item.name in axes))
    found: dict[str, None] = {}
    for row in itertools.product(*(axes[name].values for name in names)):
        values = dict(zip(names, row, strict=True))
        found[image.render(partial(_looked_up, recipe, values)).strip()] = None
    return list(found)


def _looked_up(recipe: Recipe, values: Mapping[str, Value], item: Placeholder) -> str:
    return look_up(recipe, item, values)


def _sources(
    review: Review, name: str, written: Sequence[str | Template], axes: Mapping[str, Axis]
) -> tuple[str, ...]:
    spec = review.recipe.document.steps[name]
    loc: Loc = ("steps", name)
    images = spec.image or []
    if spec.op == "generate" and images:
        text = (
            f"step '{name}' generates from text but has an image; expected none; write 'op: edit'"
        )
        review.wrong((*loc, "image"), text, key=True)
    if spec.op in ("edit", "cutout") and not images:
        does = "edits" if spec.op == "edit" else "cuts out"
        text = (
            f"step '{name}' {does} but has no image; expected an input or a step; add 'image: ...'"
        )
        review.wrong(loc, text, key=True)
    document = review.recipe.document
    known = [*document.inputs, *(step for step in document.steps if step != name)]
    sound = len(review.problems) == 0
    found = [
        (index, source)
        for index, image in enumerate(written)
        if sound or isinstance(image, str)  # a template may be wrong, which has been told
        for source in _named(review.recipe, image, axes)
    ]
    for index, source in found:
        if source in known:
            continue
        names = [*document.inputs, *(step for step in review.recipe.named_steps if step != name)]
        text = unknown("step or input", source, "image", names, "write one of these")
        if source == name:
            text = (
                f"step '{name}' edits its own picture; expected an input or another step; "
                "name one of them"
            )
        review.wrong((*loc, "image", index), text)
    return tuple(dict.fromkeys(source for _, source in found if source in known and source != name))


def _ordered(review: Review, sources: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Steps after what they read, else in the recipe's order; those in a cycle are left out."""
    order: list[str] = []
    left = dict(sources)
    while left:
        ready = [name for name, reads in left.items() if not any(r in left for r in reads)]
        if not ready:
            _tell_cycle(review, left)
            return order
        order.append(ready[0])
        del left[ready[0]]
    return order


def _tell_cycle(review: Review, left: Mapping[str, tuple[str, ...]]) -> None:
    steps = review.recipe.document.steps
    path = [next(iter(left))]
    while path[-1] not in path[:-1]:
        path.append(next(source for source in left[path[-1]] if source in left))
    path = path[path.index(path[-1]) :]
    first = min(path, key=list(steps).index)
    turn = path.index(first)
    path = [*path[turn:-1], *path[:turn], first]
    loc: Loc = ("steps", first)
    images = steps[first].image or []
    filled = [image for image in images if is_template(image)]
    if path[1] in (steps[first].among or ()):
        loc = (*loc, "from")
    elif path[1] in images:
        loc = (*loc, "image", images.index(path[1]))
    elif filled and region_of(steps[first]) is None:  # else it may be the mask's doing
        loc = (*loc, "image", images.index(filled[0]))
    text = (
        f"the steps {' <- '.join(path)} need each other; expected each to use only pictures that "
        "can be made before it; change one 'image'"
    )
    review.wrong(loc, text)


def _note_cut(review: Review, loc: Loc) -> None:
    """Tell of a plain text that ends at a ``#``: in YAML what follows is a comment."""
    node = review.recipe.written.node(loc)
    if node is None or node.origin is not None:
        return
    text = review.recipe.written.written(node)
    if text[node.span[0] :][:1] in ("'", '"', "|", ">"):
        return
    comment = re.match(r"[ \t]+#.*", text[node.span[1] :])
    if comment is not None:
        said = short(comment[0].strip())
        review.note(loc, f"'{said}' is a comment, no part of the text; quote the text to keep it")


def _check_cutout(review: Review, name: str) -> None:
    """A cut has no words and no steps: what is set for it alone is a mistake."""
    spec = review.recipe.document.steps[name]
    own = {"op", "image", "cutout", "among", "by"} | set(KINDS)
    for field in sorted(spec.model_fields_set - own):
        text = f"'{field}' has no effect on op 'cutout'; expected only 'image'; remove it"
        review.wrong(("steps", name, field), text, key=True)
    if len(spec.image or []) > 1:
        text = f"step '{name}' cuts out of several images; expected one; write a step for each"
        review.wrong(("steps", name, "image", 1), text)


def _check_settings(review: Review, name: str) -> None:
    recipe, spec = review.recipe, review.recipe.document.steps[name]
    stray(review, name)
    if spec.op == "pick":
        return
    if spec.op == "cutout":
        _check_cutout(review, name)
        return
    if spec.cutout is not None:
        text = f"'cutout' has no effect on op '{spec.op}'; expected op 'cutout'; remove it"
        review.wrong(("steps", name, "cutout"), text, key=True)
    _note_cut(review, ("steps", name, "prompt"))
    _note_cut(review, setting_loc(recipe, name, "negative_prompt"))
    if not spec.prompt.strip():
        text = "'prompt' is empty; expected what to make or to change; write it"
        review.wrong(("steps", name, "prompt"), text)
    if spec.op == "generate" and spec.size == "match":
        text = (
            f"step '{name}' has no image to match; expected a size like 128x128; write one or "
            "remove 'size'"
        )
        review.wrong(("steps", name, "size"), text)
    if setting(recipe, name, "negative_prompt") is not None and spec.true_cfg is None:
        true_cfg = recipe.document.defaults.true_cfg
        if true_cfg is None or (not is_template(true_cfg) and true_cfg <= 1):
            text = "'negative_prompt' has no effect; expected 'true_cfg' above 1; add 'true_cfg: 2'"
            loc = setting_loc(recipe, name, "negative_prompt")
            review.wrong(loc, text, key=True)
