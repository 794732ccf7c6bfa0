"""A recipe under review: what it may read, and what is found wrong with it on the way."""

from __future__ import annotations

from dataclasses import dataclass, field

from flows.problems import Problem
from flows.recipe.errors import RecipeError
from flows.recipe.node import Loc
from flows.recipe.recipe import Recipe
from flows.settings import Settings


@dataclass(frozen=True, slots=True)
class Review:
    """``settings`` limit where inputs may come from; ``warnings`` tell what has no effect."""

    recipe: Recipe
    settings: Settings
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def wrong(self, loc: Loc, text: str, *, key: bool = False, find: str = "") -> None:
        """Note a mistake at this place, as ``Source.problem`` says it."""
        self.problems.append(self.recipe.source.problem(loc, text, key=key, find=find))

    def note(self, loc: Loc, text: str, *, key: bool = False) -> None:
        """Note what is no mistake, but without effect; once."""
        line = str(self.recipe.source.problem(loc, text, key=key))
        if line not in self.warnings:
            self.warnings.append(line)

    def stop_if_wrong(self) -> None:
        """End here, if there was a mistake.

        Raises:
            RecipeError: with all of them.
        """
        if self.problems:
            raise RecipeError(self.problems)
