"""Presets of outputs: names for what a platform asks of a file, shipped and of one's own."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from flows.problems import unknown
from flows.recipe.errors import RecipeError
from flows.recipe.handout import OutputSpec, Shaping
from flows.recipe.node import Loc, to_plain
from flows.recipe.review import Review
from flows.recipe.source import read_source

FILE = "presets.yaml"
_SHIPPED = Path(__file__).parent / FILE


def with_preset(review: Review, loc: Loc, spec: OutputSpec) -> OutputSpec:
    """An output with what its preset says and it does not say itself; mistakes are noted."""
    if spec.preset is None:
        return spec
    try:
        known = _read(_SHIPPED) | (_read(own) if (own := _own(review)).is_file() else {})
    except RecipeError as error:
        review.problems.extend(error.problems)
        return spec
    if spec.preset not in known:
        review.wrong((*loc, "preset"), unknown("preset", spec.preset, "outputs", known))
        return spec
    said = known[spec.preset]
    lacking = [name for name in Shaping.model_fields if getattr(spec, name) is None]
    return spec.model_copy(update={name: getattr(said, name) for name in lacking})


def _own(review: Review) -> Path:
    return review.recipe.folder / FILE


def _read(path: Path) -> dict[str, Shaping]:
    """The presets of a file.

    Raises:
        RecipeError: it is no such file.
    """
    source = read_source(path)
    found: dict[str, Shaping] = {}
    for name, said in to_plain(source.root).items():
        try:
            found[name] = Shaping.model_validate(said)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or name
            text = f"the preset '{name}' is wrong at '{where}' ({first['msg'].lower()}); expected "
            text += f"{', '.join(Shaping.model_fields)}; mend it"
            raise RecipeError([source.problem((name,), text, key=True)]) from None
    return found
