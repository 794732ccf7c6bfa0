"""The plan: every step of every variant, keyed before any model loads.

A step is made once for all variants that agree on what it depends on, and shares its key with
any step of any recipe that would have the same pixels.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from flows.decisions.decided import UNDECIDED, Decided
from flows.plan.ground import lay_ground
from flows.plan.keying import Keying
from flows.plan.keys import plan_digest
from flows.plan.looking import note_unread
from flows.plan.originals import Originals
from flows.plan.outputs import plan_outputs
from flows.plan.select import narrow, stale_label
from flows.plan.settling import Settling
from flows.plan.sheets import plan_sheets
from flows.plan.sizing import Sizing
from flows.plan.step import Plan, PlannedVariant
from flows.plan.told import note_prompts, note_unused
from flows.problems import Problem
from flows.recipe.errors import RecipeError
from flows.recipe.matrix import Variant
from flows.recipe.notes import note_silent
from flows.recipe.overrides import Overrides, load_overrides
from flows.recipe.recipe import Recipe, without
from flows.recipe.review import Review
from flows.settings import Settings
from flows.settings.load import load_settings
from kontext_engine.catalogue import HUB_MODELS, SHIPPED, resolve_model
from kontext_engine.cutout import cutout_libraries
from kontext_engine.errors import ModelError
from kontext_engine.folder import check_whole
from kontext_engine.spec import ModelSpec, NumericsProfile


def make_plan(
    recipe: Recipe,
    *,
    model: ModelSpec | None = None,
    numerics: NumericsProfile | None = None,
    only: Sequence[str] = (),
    overrides: Overrides | None = None,
    settings: Settings | None = None,
    libraries: Mapping[str, str] | None = None,
    look: bool = False,
    decided: Decided = UNDECIDED,
) -> Plan:
    """Plan a recipe.

    Args:
        recipe: what ``load_recipe`` gave.
        model: its spec; default: looked up by the name in the recipe.
        numerics: what the pictures will be made with; part of every key.
        only: selectors (``STEP``, ``STEP[axis=value,...]``, ``axis=value``); the steps that any
            of them selects, and their ancestors, are kept. Empty keeps all.
        overrides: seeds by label; default: the file beside the recipe.
        settings: where inputs may come from; default: those of this process.
        libraries: versions of what cuts are made with; default: those here.
        look: open masks as well, and models that cut, and tell which cannot be used; else their
            steps fail, unless there are other mistakes, with which they are told.
        decided: what people and judges have decided; default: nothing.

    Raises:
        RecipeError: every mistake that can be found without making a picture.
        StoreError: a picture that was picked cannot be looked for.
        SettingsError: there are no settings to plan with.
    """
    settings = settings or load_settings()
    seeds = load_overrides(recipe.path) if overrides is None else overrides
    versions = _libraries(recipe) if libraries is None else libraries
    review = Review(recipe, settings)
    try:
        numerics = numerics or NumericsProfile()
        plan = _plan(review, model, numerics, seeds, versions, decided, look=look)
    except RecipeError as error:
        raise RecipeError(
            mistakes(recipe, settings, model, versions, told=error.problems)
        ) from None
    return narrow(plan, only) if only else plan


def mistakes(
    recipe: Recipe,
    settings: Settings,
    model: ModelSpec | None = None,
    libraries: Mapping[str, str] | None = None,
    *,
    told: Sequence[Problem] = (),
) -> list[Problem]:
    """All that is wrong with a recipe: what planning tells of it (``told``, if it has), and then of
    what is left of it without that.
    """
    versions = _libraries(recipe) if libraries is None else libraries
    found, known = list(told), True
    while True:
        if known and ("model",) in [one.loc for one in told]:
            known = False  # the rest is checked all the same, but for the limits of a model
        elif told:
            rest = without(recipe, told, found)
            if rest is None:
                return found
            recipe = rest
        review = Review(recipe, settings)
        try:
            if known:
                seeds = Overrides(recipe.path)
                _plan(review, model, NumericsProfile(), seeds, versions, UNDECIDED, look=True)
            else:
                lay_ground(review, None)
            return found
        except RecipeError as error:
            told = error.problems
            found += told


def _libraries(recipe: Recipe) -> Mapping[str, str]:
    """Of what cuts are made with here, if the recipe has any: looking takes its time."""
    cuts = any(spec.op == "cutout" for spec in recipe.document.steps.values())
    return cutout_libraries() if cuts else {}


def _plan(
    review: Review,
    model: ModelSpec | None,
    numerics: NumericsProfile,
    overrides: Overrides,
    libraries: Mapping[str, str],
    decided: Decided,
    *,
    look: bool,
) -> Plan:
    """Plan it all, up to where the first mistakes are found."""
    model = model or _resolve_model(review)
    with _uncollected():
        sizing = Sizing(review, model, libraries)
        return _planned(review, model, numerics, overrides, sizing, decided, look=look)


def _planned(
    review: Review,
    model: ModelSpec,
    numerics: NumericsProfile,
    overrides: Overrides,
    sizing: Sizing,
    decided: Decided,
    *,
    look: bool,
) -> Plan:
    ground = lay_ground(review, model)
    axes, nodes, recipe = ground.axes, ground.nodes, review.recipe
    originals, settling = Originals(review, ground), Settling(review, model, numerics)
    keying = Keying(review, ground, originals, settling, sizing, overrides, decided)
    made = [(variant, keying.keys(variant)) for variant in ground.variants]
    settling.tell()
    if look or review.problems:
        sizing.look()
    outputs = plan_outputs(review, axes, nodes, made)
    sheets = plan_sheets(review, axes, nodes, made, outputs)
    review.stop_if_wrong()
    steps, picks = keying.steps, keying.picks
    note_unused(review, axes, nodes)
    note_silent(review, axes, nodes)
    note_prompts(review, model, steps.values())
    note_unread(review, originals.unread)
    shown = [name for name, axis in axes.items() if axis.shown]
    order = recipe.document.steps
    return Plan(
        recipe=recipe.name,
        recipe_path=recipe.path,
        recipe_text=recipe.source.text,
        model=model,
        numerics=numerics,
        # Each step was made after its parents, so the order is topological already.
        steps={key: step(variants=tuple(keying.users[key])) for key, step in steps.items()},
        variants=tuple(
            PlannedVariant(
                variant.id,
                {axis: variant.values[axis].name for axis in shown},
                tuple(dict.fromkeys([key for step in order for key in own[step]])),
                _details(variant, shown),
            )
            for variant, own in made
        ),
        outputs=outputs,
        digest=plan_digest(steps, outputs, sheets),
        labels=keying.labels,
        sets=recipe.sets,
        warnings=(
            *review.warnings,
            *picks.warnings,
            *decided.notes(keying.bare),
            *_stale(keying),
        ),
        sheets=sheets,
        picks=picks.picks,
        waiting=picks.waiting,
        project=review.settings.project,
        numbers=decided.numbers(),
        depends=picks.depends(nodes) if recipe.given else {},
    )


def _stale(keying: Keying) -> Iterator[str]:
    """Seeds that were re-rolled for steps that there are no longer."""
    for label in keying.overrides.seeds:
        if label not in keying.labels and label not in keying.picks.waiting:
            yield stale_label(label, keying.labels, keying.overrides.path)


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Nothing that is planned is garbage, and looking for some takes a quarter of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.freeze()  # what was planned is old, without a first look through all of it
            gc.unfreeze()
            gc.enable()


def _details(variant: Variant, axes: Sequence[str]) -> dict[str, str]:
    """The variables of a variant's values, the columns of a table among them, by their names."""
    return {
        f"{axis}.{name}": text
        for axis in axes
        for name, text in variant.values[axis].attributes.items()
        if name != "name"
    }


def _resolve_model(review: Review) -> ModelSpec:
    recipe = review.recipe
    name, node = recipe.document.model, recipe.source.node(("model",))
    # A folder that the recipe names lies where its inputs do; one on the command line, here.
    written = node is not None and node.origin is None and name not in (*SHIPPED, *HUB_MODELS)
    beside = recipe.folder / name
    try:
        spec = resolve_model(str(beside) if written and beside.is_dir() else name)
        if (folder := Path(spec.source)).is_dir():
            check_whole(folder, planning=True)
        return spec
    except ModelError as error:
        review.wrong(("model",), str(error))
        raise RecipeError(review.problems) from None
