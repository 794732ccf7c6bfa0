"""Placeholders of a recipe: which have a value in every variant, and what they stand for in one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flows.problems import did_you_mean, unknown
from flows.recipe.axes import Axis, Value
from flows.recipe.node import Loc
from flows.recipe.recipe import Recipe
from flows.recipe.review import Review
from flows.recipe.template import Placeholder, Template, TemplateError, parse_template

# What templates of output names know beside the recipe's own names.
BUILTINS = ("step", "variant", "recipe")
TAKE = "take"  # where a step has several


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


def filler(recipe: Recipe, template: Template) -> Callable[[Mapping[str, Value]], str]:
    """A checked template, to be filled in for many variants: what all of them say is in already."""
    known = [
        recipe.variables.get(part.name, part) if isinstance(part, Placeholder) else part
        for part in template.parts
    ]
    text = "".join(one.replace("%", "%%") if isinstance(one, str) else "%s" for one in known)
    open_ = [(one.name, one.attribute) for one in known if isinstance(one, Placeholder)]
    if not open_:
        whole = text % ()
        return lambda _: whole

    def fill(values: Mapping[str, Value]) -> str:
        # As ``look_up``, which would be called a hundred thousand times.
        return text % tuple([
            values[name].text if attribute is None else values[name].attributes[attribute]
            for name, attribute in open_
        ])  # fmt: skip

    return fill


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
