"""What can be wrong with a recipe: problems with their places (``flows.problems``)."""

from __future__ import annotations

from flows.problems import Mark, Problem, ProblemsError, did_you_mean, one_line, one_of, unknown

__all__ = ["Mark", "Problem", "RecipeError", "did_you_mean", "one_line", "one_of", "unknown"]


class RecipeError(ProblemsError):
    """The recipe cannot be used as it stands; ``problems`` lists why, in order of place."""
