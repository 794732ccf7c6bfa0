"""The plan: every step of every variant, keyed before any model loads.

A step is made once for all variants that agree on what it depends on, and shares its key with
any step of any recipe that would have the same pixels.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

from flows.decisions.decided import UNDECIDED, Decided
from flows.plan.beside import mask_file, model_file
from flows.plan.keys import default_seed, plan_digest, take_seed
from flows.plan.looking import Looking, note_unread
from flows.plan.outputs import plan_outputs
from flows.plan.picks import Picks
from flows.plan.select import make_label, narrow, stale_label, take_label
from flows.plan.settling import Settling
from flows.plan.sheets import plan_sheets
from flows.plan.sizing import Sizing
from flows.plan.step import (
    Candidate,
    ContextRef,
    Operation,
    ParentStep,
    Plan,
    PlannedVariant,
    SourceImage,
    Step,
)
from flows.plan.told import note_prompts, note_unused
from flows.recipe.axes import Axis
from flows.recipe.effects import check_limits
from flows.recipe.errors import RecipeError
from flows.recipe.graph import StepNode, build_graph
from flows.recipe.matrix import Variant, build_axes, build_variants
from flows.recipe.naming import legible
from flows.recipe.notes import note_silent
from flows.recipe.overrides import Overrides, load_overrides
from flows.recipe.placeholders import look_up
from flows.recipe.recipe import Recipe
from flows.recipe.review import Review
from flows.recipe.template import Placeholder
from flows.settings import Settings
from flows.settings.load import load_settings
from flows.sources.place import S3Object, Seen, look_at
from flows.sources.remote import read_all
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
        look: open masks as well, and tell which cannot be used; else their steps fail.
        decided: what people and judges have decided; default: nothing.

    Raises:
        RecipeError: every mistake that can be found without making a picture.
        StoreError: a picture that was picked cannot be looked for.
        SettingsError: there are no settings to plan with.
    """
    review = Review(recipe, settings or load_settings())
    spec = model or _resolve_model(review)
    seeds = load_overrides(recipe.path) if overrides is None else overrides
    with _uncollected():
        sizing = Sizing(
            review,
            spec,
            numerics or NumericsProfile(),
            cutout_libraries() if libraries is None else libraries,
            Looking() if look else None,
        )
        plan = _Planner(review, spec, numerics or NumericsProfile(), seeds, sizing, decided).plan()
    return narrow(plan, only) if only else plan


class _Planner:
    """One planning run."""

    def __init__(
        self,
        review: Review,
        model: ModelSpec,
        numerics: NumericsProfile,
        overrides: Overrides,
        sizing: Sizing | None = None,
        decided: Decided = UNDECIDED,
    ) -> None:
        self.review = review
        self.recipe = review.recipe
        self.model = model
        self.numerics = numerics
        self.overrides = overrides
        self.sizing = sizing or Sizing(review, model, numerics, cutout_libraries())
        self.models: dict[str, tuple[ContextRef, ...]] = {}
        self.unread: dict[str, list[str]] = {}  # files that are no pictures, by input
        self.remote: dict[S3Object, Seen] = {}  # objects that were read
        self.axes: dict[str, Axis] = {}
        self.nodes: dict[str, StepNode] = {}
        self.settling = Settling(review, model)
        self.labels: dict[str, str] = {}
        # Step id and values it depends on -> the keys of its takes.
        self.made: dict[tuple[str, ...], tuple[str, ...]] = {}
        self.steps: dict[str, partial[Step]] = {}  # all but the variants that use them
        self.users: dict[str, list[str]] = {}
        self.also: dict[tuple[str, ...], tuple[str, ...]] = {}  # what judges look by, likewise
        self.picks = Picks(review, decided, self.steps, self.source, self.sizing.know)
        self.bare: dict[str, None] = {}  # all labels without their takes, where hands have decided

    def plan(self) -> Plan:
        variants = self.prepare()
        self.read_remote()
        keys = [self.keys(variant) for variant in variants]
        self.settling.tell()
        shown = [name for name, axis in self.axes.items() if axis.shown]
        order = self.recipe.document.steps
        made = list(zip(variants, keys, strict=True))
        outputs = plan_outputs(self.review, self.axes, self.nodes, made)
        sheets = plan_sheets(self.review, self.axes, self.nodes, made, outputs)
        self.review.stop_if_wrong()
        note_unused(self.review, self.axes, self.nodes)
        note_silent(self.review, self.axes, self.nodes)
        note_prompts(self.review, self.model, self.steps.values())
        note_unread(self.review, self.unread)
        return Plan(
            recipe=self.recipe.name,
            recipe_path=self.recipe.path,
            recipe_text=self.recipe.source.text,
            model=self.model,
            numerics=self.numerics,
            # Each step was made after its parents, so the order is topological already.
            steps={key: step(variants=tuple(self.users[key])) for key, step in self.steps.items()},
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
            digest=plan_digest(self.steps, outputs, sheets),
            labels=self.labels,
            sets=self.recipe.sets,
            warnings=(
                *self.review.warnings,
                *self.picks.warnings,
                *self.picks.decided.notes(self.bare),
                *self.stale_overrides(),
            ),
            sheets=sheets,
            picks=self.picks.picks,
            waiting=self.picks.waiting,
            project=self.review.settings.project,
            numbers=self.picks.decided.numbers(),
            depends=self.picks.depends(self.nodes) if self.recipe.given else {},
        )

    def prepare(self, *, limits: bool = True) -> tuple[Variant, ...]:
        """Axes, graph and variants, with every mistake that these can tell."""
        axes = build_axes(self.review)
        variants = build_variants(self.review, axes)
        self.axes = _with_included(axes, variants)
        self.nodes = build_graph(self.review, self.axes)
        if limits:
            check_limits(self.review, self.nodes, self.model)
        self.stop_if_wrong()
        return variants

    def stop_if_wrong(self) -> None:
        """End here, if there was a mistake; with those that outputs can tell without pictures."""
        if self.review.problems:
            plan_outputs(self.review, self.axes, self.nodes, ())
            plan_sheets(self.review, self.axes, self.nodes, (), ())
        self.review.stop_if_wrong()

    def read_remote(self) -> None:
        """Read the objects that steps look at, all at once: a server is asked side by side."""
        used = {source for node in self.nodes.values() for source in node.sources}
        used |= {name for node in self.nodes.values() for name in (node.mask, node.of) if name}
        places = {
            value.path: value.loc
            for name in used & self.axes.keys()
            for value in self.axes[name].values
            if isinstance(value.path, S3Object)
        }
        self.remote, failures = read_all(places)
        for source, text in failures.items():
            self.review.wrong(places[source], text)
        self.stop_if_wrong()

    def keys(self, variant: Variant) -> dict[str, tuple[str, ...]]:
        """The keys of a variant's steps and their takes, each made for the first that needs it."""
        names = {axis: value.name for axis, value in variant.values.items()}
        keys: dict[str, tuple[str, ...]] = {}
        for node in self.nodes.values():
            agreed = (node.id, *[names[axis] for axis in node.axes])
            found = self.made.get(agreed)
            if found is None:
                found = self.found(node, variant, keys, agreed)
                self.made[agreed] = found
            keys[node.id] = found
            for key in (*found, *self.also.get(agreed, ())) if self.also else found:
                users = self.users.setdefault(key, [])
                if users[-1:] != [variant.id]:  # two of its steps may have the same pixels
                    users.append(variant.id)
        return keys

    def found(
        self,
        node: StepNode,
        variant: Variant,
        keys: Mapping[str, tuple[str, ...]],
        agreed: tuple[str, ...],
    ) -> tuple[str, ...]:
        """The keys of a step's takes, or of what a pick chose; none behind an undecided one."""
        shown = self.shown(node, variant)
        label = make_label(node.id, shown)
        if self.picks.busy:
            self.bare[label] = None
        if self.picks.waiting and (reads := list(self.reads(node, variant))):
            parents = [keys[one] or make_label(one, self.shown(self.nodes[one], variant))
                       for one in reads]  # fmt: skip
            if not all(keys[one] for one in reads):
                for take in range(1, node.takes + 1):
                    self.picks.wait(take_label(node.id, shown, take), parents)
                return ()
        if node.spec.op == "pick":
            among = [
                Candidate(take_label(one, self.shown(self.nodes[one], variant), n), key)
                for one in node.among
                for n, key in enumerate(keys[one], 1)
            ]
            self.picks.named = keys
            found, self.also[agreed] = self.picks.pick(node, label, variant, among)
            if found:
                self.labels[label] = found[0]
            return found
        seeds = self.picks.seeds(node, label, self.overrides)
        takes: Sequence[int] = range(1, node.takes + 1)
        if seeds and (more := sorted(n for n in seeds if n > node.takes)):
            takes = [*takes, *more]  # re-rolls of takes that were picked
        return tuple([self.make(node, variant, keys, take, seeds, shown) for take in takes])

    def shown(self, node: StepNode, variant: Variant) -> dict[str, str]:
        """The values that a step's label tells."""
        return {axis: variant.values[axis].name for axis in node.axes if self.axes[axis].shown}

    def reads(self, node: StepNode, variant: Variant) -> Iterator[str]:
        """The steps that a step reads in this variant."""
        names = (*self.images(node, variant), node.mask, node.of, *node.among)
        yield from (name for name in names if name in self.nodes)

    def images(self, node: StepNode, variant: Variant) -> list[str]:
        """The inputs and steps that a step edits in this variant, by name."""
        return [
            image
            if isinstance(image, str)
            else image.render(lambda item: look_up(self.recipe, item, variant.values)).strip()
            for image in node.images
        ]

    def make(
        self,
        node: StepNode,
        variant: Variant,
        keys: Mapping[str, tuple[str, ...]],
        take: int,
        seeds: Mapping[int, int],
        shown: Mapping[str, str],
    ) -> str:
        """Make a take of a step, whose parents in this variant have these keys; its own key."""

        def fill(item: Placeholder) -> str:
            return look_up(self.recipe, item, variant.values)

        names = {axis: variant.values[axis].name for axis in node.axes}
        label = take_label(node.id, shown, take)
        settled = self.settling.of(node, fill, label)
        said = settled.keywords["seed"]
        if (seed := seeds.get(take, said)) < 0:  # nobody said one
            seed = default_seed(node.id, names)
            seed = seed if take == 1 else take_seed(seed, take)
        elif take > 1 and node.family == node.id and take not in seeds:
            seed = take_seed(seed, take)
        params = settled(
            prompt=node.prompt.render(fill).strip(),
            negative_prompt=node.negative.render(fill).strip() if node.negative else None,
            seed=seed,
        )
        contexts: tuple[ContextRef, ...] = tuple(
            [self.context(name, variant, keys, take) for name in self.images(node, variant)]
        )
        if node.mask is not None or node.mask_file is not None:
            contexts += self.mask(node, variant, keys, take)
        if node.spec.cutout is not None:
            contexts += self.model_of(node)
        key, more = self.sizing.keyed(node, params, contexts)
        self.labels[label] = key
        if key not in self.steps:
            operation = cast("Operation", node.spec.op)  # a pick makes no picture
            made = partial(Step, key, node.id, label, operation, params, contexts)
            self.steps[key] = partial(made, **more)
        return key

    def mask(
        self, node: StepNode, variant: Variant, keys: Mapping[str, tuple[str, ...]], take: int
    ) -> tuple[ContextRef, ...]:
        """A step's mask in this variant."""
        if node.mask is None:
            return tuple(mask_file(self.review, node, variant.values))
        return (self.context(node.mask, variant, keys, take),)

    def model_of(self, node: StepNode) -> tuple[ContextRef, ...]:
        """The file of the model that a step cuts with, if it names one."""
        if node.id not in self.models:
            self.models[node.id] = tuple(model_file(self.review, node))
        return self.models[node.id]

    def context(
        self, name: str, variant: Variant, keys: Mapping[str, tuple[str, ...]], take: int
    ) -> ContextRef:
        """What a step looks at under this name: an input's picture, or a take of a step."""
        found = keys.get(name)
        if found is None:
            return self.source(name, variant)
        return ParentStep(found[min(take, len(found)) - 1])

    def source(self, name: str, variant: Variant) -> SourceImage:
        path = variant.values[name].path or Path()
        try:
            seen = self.remote[path] if isinstance(path, S3Object) else look_at(path)
            if seen.size is None:
                self.unread.setdefault(name, []).append(legible(path.name))
            return SourceImage(name, path, seen.digest, seen.reading, seen.size)
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            text = f"'{legible(path.name)}' cannot be read ({reason}); expected a picture; "
            self.review.wrong(("inputs", name), f"{text}check the file")
            return SourceImage(name, path, "")

    def stale_overrides(self) -> Iterator[str]:
        for label in self.overrides.seeds:
            if label not in self.labels and label not in self.picks.waiting:
                yield stale_label(label, self.labels, self.overrides.path)


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Nothing that is planned is garbage, and looking for some takes a quarter of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _details(variant: Variant, axes: Sequence[str]) -> dict[str, str]:
    """The variables of a variant's values, the columns of a table among them, by their names."""
    return {
        f"{axis}.{name}": text
        for axis in axes
        for name, text in variant.values[axis].attributes.items()
        if name != "name"
    }


def _with_included(axes: Mapping[str, Axis], variants: Sequence[Variant]) -> dict[str, Axis]:
    """The axes with the values that ``include`` defined."""
    found: dict[str, Axis] = {}
    for name, axis in axes.items():
        values = {value.name: value for value in axis.values}
        for variant in variants:
            values.setdefault(variant.values[name].name, variant.values[name])
        found[name] = replace(axis, values=tuple(values.values()))
    return found


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
    # The rest of the recipe is checked all the same, but for the limits of a model.
    other = next(iter(HUB_MODELS.values()))
    _Planner(review, other, NumericsProfile(), Overrides(recipe.path)).prepare(limits=False)
    raise RecipeError(review.problems)
