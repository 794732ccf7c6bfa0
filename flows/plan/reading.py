"""A recipe read to be planned: its mistakes are told with those that planning finds in the rest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flows.plan.models import known_model
from flows.plan.plan import mistakes
from flows.recipe.errors import RecipeError
from flows.recipe.reach import Fetch
from flows.recipe.recipe import Recipe, load_recipe
from flows.settings import Settings
from flows.settings.load import load_settings


def read_recipe(
    path: Path,
    sets: Sequence[str] = (),
    settings: Settings | None = None,
    fetch: Fetch | None = None,
) -> Recipe:
    """``load_recipe``, for who plans next.

    Raises:
        RecipeError: every mistake that can be found without making a picture.
        SettingsError: there are no settings to read it with.
    """
    settings = settings or load_settings(path.parent)
    try:
        return load_recipe(path, sets, settings, fetch)
    except RecipeError as error:
        if error.rest is None:
            raise
        model, _ = known_model(error.rest)
        more = mistakes(error.rest, settings, model)
        raise RecipeError([*error.problems, *more]) from None
