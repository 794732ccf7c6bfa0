"""The steps of a recipe as a graph: what each reads, which axes it really depends on, its order.

What a recipe's types cannot tell is checked here: references, cycles, variables, settings that
contradict each other, and against the model what it can do.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from flows.problems import unknown_name
from flows.recipe.axes import Axis, Value
from flows.recipe.effects import check_settings, setting
from flows.recipe.fields import is_template
from flows.recipe.node import Loc
from flows.recipe.picked import check_pick, pick_sources
from flows.recipe.placeholders import BUILTINS, TAKE, look_up, read_template
from flows.recipe.protect import check_region, mask_source, region_of
from flows.recipe.recipe import Recipe, setting_loc
from flows.recipe.review import Review
from flows.recipe.stepspec import SETTING_TYPES, StepSpec
from flows.recipe.template import Placeholder, Template


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
        check_settings(review, name)
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
        text = unknown_name("step or input", source, "image", names, "inputs")
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
