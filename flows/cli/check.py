"""``kontext check``: is this recipe right?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli import ExitCode
from flows.cli.options import Sets

if TYPE_CHECKING:
    from flows.plan.step import Plan
    from flows.recipe.recipe import Recipe
    from flows.settings import Settings


def check(
    recipes: Annotated[
        list[Path], typer.Argument(metavar="RECIPE...", help="One or more recipe files.")
    ],
    sets: Sets = None,
) -> None:
    """Check recipes: one line each, or every mistake with its line and column.

    Nothing is made, and the model is not loaded. Input files must be there, but only masks and
    models that cut out are opened: a picture that is broken fails its own steps only, when the
    recipe runs; one that is none by its first bytes is noted here.
    """
    from flows.plan.reading import read_recipe
    from flows.problems import few
    from flows.recipe.errors import RecipeError
    from flows.recipe.overrides import KEPT
    from flows.settings.load import load_settings

    wrong = False
    for path in recipes:
        if path.stem.endswith(KEPT):
            typer.echo(f"note: {path}: passed over, it is no recipe", err=True)
            continue
        try:
            settings = load_settings(path.parent)
            recipe = read_recipe(path, tuple(sets or ()), settings)
            plan, missing = plan_anyway(recipe, settings)
        except RecipeError as error:
            wrong = True
            typer.echo(str(error), err=True)
            continue
        for warning in few((*plan.warnings, *missing)):
            typer.echo(f"note: {warning}", err=True)
        typer.echo(f"{path}: ok, {summary(plan)}")
    if wrong:
        raise typer.Exit(ExitCode.WRONG)


def plan_anyway(recipe: Recipe, settings: Settings) -> tuple[Plan, list[str]]:
    """The plan, also for a known model that is not, or not wholly, on this machine; then a note.

    Raises:
        RecipeError: as ``make_plan``.
    """
    from flows.plan.models import known_model
    from flows.plan.plan import make_plan

    model, missing = known_model(recipe)
    return make_plan(recipe, model=model, settings=settings, look=True), missing


def summary(plan: Plan) -> str:
    """``24 variants, 30 steps, 24 outputs with kontext-mini``."""
    parts = {"variant": plan.variants, "step": plan.steps, "output": (*plan.outputs, *plan.sheets)}
    counts = [
        f"{len(found)} {noun}" + ("" if len(found) == 1 else "s") for noun, found in parts.items()
    ]
    if plan.waiting:
        counts.append(f"{len(plan.waiting)} behind picks")
    return f"{', '.join(counts)} with {plan.model.name}"
