"""The one error of a recipe: all that is wrong with it, with its places (``flows.problems``)."""

from __future__ import annotations

from flows.problems import ProblemsError


class RecipeError(ProblemsError):
    """The recipe cannot be used as it stands; ``problems`` lists why, in order of place."""
