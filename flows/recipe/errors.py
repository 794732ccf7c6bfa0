"""The one error of a recipe: all that is wrong with it, with its places (``flows.problems``)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flows.problems import Problem, ProblemsError

if TYPE_CHECKING:
    from flows.recipe.recipe import Recipe


class RecipeError(ProblemsError):
    """The recipe cannot be used as it stands; ``problems`` lists why, in order of place.

    ``rest`` is what can be read of it without what is wrong.
    """

    def __init__(self, problems: Iterable[Problem], *, rest: Recipe | None = None) -> None:
        super().__init__(problems)
        self.rest = rest
