"""The one error of a recipe: all that is wrong with it, with its places (``flows.problems``)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from flows.problems import Problem, ProblemsError

if TYPE_CHECKING:
    from flows.recipe.recipe import Recipe


class RecipeError(ProblemsError):
    """The recipe cannot be used as it stands; ``problems`` lists why, in order of place.

    ``wrong`` are the places in the tree of mistakes of form, and ``rest`` what can be read of the
    recipe without them.
    """

    def __init__(
        self,
        problems: Iterable[Problem],
        *,
        wrong: Sequence[tuple[str | int, ...]] = (),
        rest: Recipe | None = None,
    ) -> None:
        super().__init__(problems)
        self.wrong = tuple(wrong)
        self.rest = rest
