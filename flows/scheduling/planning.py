"""From a form to a plan, as the workers will make it: recipe, model and numerics from elsewhere."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator

from flows.execution.sources import put_sources
from flows.recipe.catalog import Catalog, Found
from flows.recipe.errors import RecipeError
from flows.recipe.plan import make_plan
from flows.recipe.recipe import load_recipe
from flows.recipe.step import Plan
from flows.scheduling.forms import RunForm
from flows.scheduling.parcel import is_parcel, unpacked
from flows.scheduling.site import Site
from flows.scheduling.statement import Fleet


@contextlib.contextmanager
def _found(form: RunForm, site: Site) -> Iterator[Found]:
    """The recipe that a form names, as a file for a while."""
    settings = site.settings.given(store=form.store)
    if is_parcel(form.recipe):
        recipe = unpacked(form.recipe, site.store(form.store).objects, settings)
    else:
        recipe = Catalog(site.recipes, settings).fetched(form.recipe)
    with recipe as found:
        yield found


def plan_form(form: RunForm, site: Site, fleet: Fleet) -> tuple[Plan, str]:
    """The plan of what a form asks for, keyed as the workers will compute; its sources are stored.

    With the SHA-256 of the recipe's text.

    Raises:
        RecipeError: whatever is wrong with the recipe.
        FleetError: the workers lack the model, or do not agree about it.
    """
    with _found(form, site) as found:
        recipe = load_recipe(found.path, tuple(form.overrides))
        digest = hashlib.sha256(found.path.read_bytes()).hexdigest()
        model, numerics = fleet.model(recipe.document.model)
        plan = make_plan(
            recipe,
            model=model,
            numerics=numerics,
            only=tuple(form.only),
            settings=found.settings,
        )
        # Before the recipe's folder goes, which may be here for planning only.
        put_sources(plan, site.store(form.store))
        return plan, digest


def recipe_digest(form: RunForm, site: Site) -> str | None:
    """SHA-256 of the recipe's text as it is now; ``None`` when it cannot be had."""
    try:
        with _found(form, site) as found:
            return hashlib.sha256(found.path.read_bytes()).hexdigest()
    except (RecipeError, OSError):
        return None
