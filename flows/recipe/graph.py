"""The steps of a recipe as a graph: what each reads, which axes it really depends on, its order.

What a recipe's types cannot tell is checked here: references, cycles, variables, settings that
contradict each other. Nothing of the model is needed yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flows.recipe.axes import Axis
from flows.recipe.errors import Problem, did_you_mean, unknown
from flows.recipe.node import Loc
from flows.recipe.recipe import Recipe, setting_loc
from flows.recipe.schema import StepSpec
from flows.recipe.template import Placeholder, Template, TemplateError, parse_template
from flows.recipe.value import Value

# What templates of output names know beside the recipe's own names.
BUILTINS = ("step", "variant", "recipe")


@dataclass(frozen=True, slots=True)
class StepNode:
    """One step of the recipe, checked.

    ``sources`` are inputs and steps in the order of ``image``; ``axes`` the axes, in order, that
    its own templates and inputs or any ancestor's use: on no other does its picture depend.
    """

    id: str
    spec: StepSpec
    prompt: Template
    negative: Template | None
    sources: tuple[str, ...]
    axes: tuple[str, ...]


def build_graph(
    recipe: Recipe, axes: Mapping[str, Axis], problems: list[Problem]
) -> dict[str, StepNode]:
    """All steps by id, each after those it reads; mistakes go to ``problems``."""
    _check_names(recipe, problems)
    specs = recipe.document.steps
    sources = {name: _sources(recipe, name, spec, problems) for name, spec in specs.items()}
    order = _ordered(recipe, sources, problems)
    nodes: dict[str, StepNode] = {}
    for name in order:
        spec = specs[name]
        _check_settings(recipe, name, spec, problems)
        prompt = read_template(recipe, ("steps", name, "prompt"), spec.prompt, axes, problems)
        negative = None
        if (text := setting(recipe, name, "negative_prompt")) is not None:
            loc = setting_loc(recipe, name, "negative_prompt")
            negative = read_template(recipe, loc, str(text), axes, problems)
        used = {item.name for t in (prompt, negative) if t for item in t.placeholders}
        for source in sources[name]:
            used |= set(nodes[source].axes) if source in nodes else {source}
        depends = tuple(axis for axis in axes if axis in used)
        nodes[name] = StepNode(name, spec, prompt, negative, sources[name], depends)
    return nodes


def setting(recipe: Recipe, step: str, field: str) -> object:
    """A setting's value: the step's own, else the defaults', else ``None``."""
    own = getattr(recipe.document.steps[step], field)
    return own if own is not None else getattr(recipe.document.defaults, field)


def read_template(
    recipe: Recipe,
    loc: Loc,
    text: str,
    axes: Mapping[str, Axis],
    problems: list[Problem],
    *,
    builtins: tuple[str, ...] = (),
) -> Template:
    """A template whose every placeholder has a value in every variant; mistakes are noted."""
    try:
        template = parse_template(text)
    except TemplateError as error:
        problems.append(recipe.source.problem(loc, str(error), find=error.token))
        return Template(())
    where = str(loc[-1])
    for item in dict.fromkeys(template.placeholders):
        if item.name in builtins and item.attribute is None:
            continue
        wrong = _wrong_placeholder(recipe, item, axes, where, builtins)
        if wrong is not None:
            problems.append(recipe.source.problem(loc, wrong, find=item.token))
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
    if item.name in recipe.document.steps:
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


def _check_names(recipe: Recipe, problems: list[Problem]) -> None:
    """One name, one thing: templates and ``image`` say a name without its section."""
    document = recipe.document
    sections: dict[str, tuple[Loc, str]] = {}
    for section, article, names in (
        ("inputs", "an input", document.inputs),
        ("matrix", "an axis", document.matrix.__pydantic_extra__ or {}),
        ("variables", "a variable", document.variables),
        ("steps", "a step", document.steps),
    ):
        for name in names:
            loc = (section, name)
            if name in sections:
                text = (
                    f"{article} is named '{name}' like {sections[name][1]}; expected a name of its "
                    "own; rename one of them"
                )
                problems.append(recipe.source.problem(loc, text, key=True))
            elif name in BUILTINS and section != "steps":
                text = (
                    f"{article} is named '{name}', which file names keep for themselves; expected "
                    "another name; rename it"
                )
                problems.append(recipe.source.problem(loc, text, key=True))
            sections.setdefault(name, (loc, article))


def _sources(recipe: Recipe, name: str, spec: StepSpec, problems: list[Problem]) -> tuple[str, ...]:
    loc: Loc = ("steps", name)
    images = spec.image or []
    if spec.op == "generate" and images:
        text = (
            f"step '{name}' generates from text but has an image; expected none; write 'op: edit'"
        )
        problems.append(recipe.source.problem((*loc, "image"), text, key=True))
    if spec.op == "edit" and not images:
        text = (
            f"step '{name}' edits but has no image; expected an input or a step; add 'image: ...'"
        )
        problems.append(recipe.source.problem(loc, text, key=True))
    known = [*recipe.document.inputs, *(step for step in recipe.document.steps if step != name)]
    for index, source in enumerate(images):
        if source in known:
            continue
        text = unknown("step or input", source, "image", known, "write one of these")
        if source == name:
            text = (
                f"step '{name}' edits its own picture; expected an input or another step; "
                "name one of them"
            )
        problems.append(recipe.source.problem((*loc, "image", index), text))
    return tuple(source for source in images if source in known and source != name)


def _ordered(
    recipe: Recipe, sources: Mapping[str, tuple[str, ...]], problems: list[Problem]
) -> list[str]:
    """Steps after what they read, else in the recipe's order; those in a cycle are left out."""
    order: list[str] = []
    left = dict(sources)
    while left:
        ready = [name for name, reads in left.items() if not any(r in left for r in reads)]
        if not ready:
            problems.append(_cycle(recipe, left))
            return order
        order.append(ready[0])
        del left[ready[0]]
    return order


def _cycle(recipe: Recipe, left: Mapping[str, tuple[str, ...]]) -> Problem:
    path = [next(iter(left))]
    while path[-1] not in path[:-1]:
        path.append(next(source for source in left[path[-1]] if source in left))
    path = path[path.index(path[-1]) :]
    first = min(path, key=list(recipe.document.steps).index)
    turn = path.index(first)
    path = [*path[turn:-1], *path[:turn], first]
    index = (recipe.document.steps[first].image or []).index(path[1])
    text = (
        f"the steps {' <- '.join(path)} need each other; expected each to use only pictures that "
        "can be made before it; change one 'image'"
    )
    return recipe.source.problem(("steps", first, "image", index), text)


def _check_settings(recipe: Recipe, name: str, spec: StepSpec, problems: list[Problem]) -> None:
    if not spec.prompt.strip():
        text = "'prompt' is empty; expected what to make or to change; write it"
        problems.append(recipe.source.problem(("steps", name, "prompt"), text))
    if spec.op == "generate" and spec.size == "match":
        text = (
            f"step '{name}' has no image to match; expected a size like 128x128; write one or "
            "remove 'size'"
        )
        problems.append(recipe.source.problem(("steps", name, "size"), text))
    if setting(recipe, name, "negative_prompt") is not None and spec.true_cfg is None:
        true_cfg = recipe.document.defaults.true_cfg
        if true_cfg is None or true_cfg <= 1:
            text = "'negative_prompt' has no effect; expected 'true_cfg' above 1; add 'true_cfg: 2'"
            loc = setting_loc(recipe, name, "negative_prompt")
            problems.append(recipe.source.problem(loc, text, key=True))
