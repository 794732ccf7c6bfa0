"""The plan: every step of every variant, keyed before any model loads.

A step is made once for all variants that agree on what it depends on, and shares its key with
any step of any recipe that would have the same pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from flows.recipe.axes import Axis, build_axes
from flows.recipe.errors import Problem, RecipeError
from flows.recipe.graph import StepNode, build_graph, look_up, setting
from flows.recipe.keys import default_seed, file_digest, plan_digest, step_key
from flows.recipe.limits import check_limits
from flows.recipe.matrix import Variant, build_variants
from flows.recipe.naming import legible
from flows.recipe.outputs import plan_outputs
from flows.recipe.overrides import Overrides, load_overrides, overrides_path
from flows.recipe.place import S3Object
from flows.recipe.recipe import Recipe
from flows.recipe.remote import read_all
from flows.recipe.select import make_label, narrow, stale_label
from flows.recipe.step import (
    ContextRef,
    ParentStep,
    Plan,
    PlannedVariant,
    SourceImage,
    Step,
    StepParams,
)
from flows.recipe.template import Placeholder
from flows.recipe.value import Value
from flows.settings import Settings
from flows.settings.load import load_settings
from kontext_engine.catalogue import HUB_MODELS, SHIPPED, resolve_model
from kontext_engine.errors import ModelError
from kontext_engine.geometry import Fit, Size
from kontext_engine.spec import ModelSpec, NumericsProfile


def make_plan(
    recipe: Recipe,
    *,
    model: ModelSpec | None = None,
    numerics: NumericsProfile | None = None,
    only: Sequence[str] = (),
    overrides: Overrides | None = None,
    settings: Settings | None = None,
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

    Raises:
        RecipeError: every mistake that can be found without making a picture.
        SettingsError: there are no settings to plan with.
    """
    limits = settings or load_settings()
    spec = model or _resolve_model(recipe, limits)
    seeds = load_overrides(recipe.path) if overrides is None else overrides
    plan = _Planner(recipe, spec, numerics or NumericsProfile(), seeds, limits).plan()
    return narrow(plan, only) if only else plan


class _Planner:
    """One planning run; ``problems`` and ``warnings`` gather on the way."""

    def __init__(
        self,
        recipe: Recipe,
        model: ModelSpec,
        numerics: NumericsProfile,
        overrides: Overrides | None,
        settings: Settings,
    ) -> None:
        self.recipe = recipe
        self.model = model
        self.numerics = numerics
        self.overrides = overrides or Overrides(overrides_path(recipe.path))
        self.settings = settings
        self.remote: dict[S3Object, str] = {}  # SHA-256 of objects that were read
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        self.axes: dict[str, Axis] = {}
        self.nodes: dict[str, StepNode] = {}
        self.steps: dict[str, Step] = {}
        self.labels: dict[str, str] = {}
        self.made: dict[tuple[str, ...], str] = {}  # step id and values it depends on -> key
        self.users: dict[str, dict[str, None]] = {}  # key -> ids of the variants that use it

    def plan(self) -> Plan:
        variants = self.prepare()
        self.read_remote()
        planned = tuple(self.variant(variant) for variant in variants)
        outputs = plan_outputs(
            self.recipe, self.axes, self.nodes, variants, self.key, problems=self.problems
        )
        self.stop_on_problems()
        self.warn_unused()
        self.warn_stale()
        return Plan(
            recipe=self.recipe.name,
            recipe_path=self.recipe.path,
            recipe_text=self.recipe.source.text,
            model=self.model,
            numerics=self.numerics,
            # Each step was made after its parents, so the order is topological already.
            steps={
                key: replace(step, variants=tuple(self.users[key]))
                for key, step in self.steps.items()
            },
            variants=planned,
            outputs=outputs,
            digest=plan_digest(self.steps, outputs),
            labels=self.labels,
            sets=self.recipe.sets,
            warnings=tuple(self.warnings),
        )

    def prepare(self, *, limits: bool = True) -> tuple[Variant, ...]:
        """Axes, graph and variants, with every mistake that these can tell."""
        self.axes = build_axes(self.recipe, self.settings, self.problems)
        variants: tuple[Variant, ...] = ()
        if all(axis.values for axis in self.axes.values()):
            try:
                variants = build_variants(self.recipe, self.axes, self.settings, self.warnings)
            except RecipeError as error:
                self.problems.extend(error.problems)
        self.axes = _with_included(self.axes, variants)
        self.nodes = build_graph(self.recipe, self.axes, self.problems)
        if limits:
            check_limits(self.recipe, self.nodes, self.model, self.problems, self.warnings)
        self.stop_on_problems()
        return variants

    def read_remote(self) -> None:
        """Read the objects that steps look at, all at once: a server is asked side by side."""
        used = {source for node in self.nodes.values() for source in node.sources}
        places = {
            value.path: value.loc
            for name, axis in self.axes.items()
            for value in axis.values
            if name in used and isinstance(value.path, S3Object)
        }
        self.remote, failures = read_all(places)
        for source, text in failures.items():
            self.problems.append(self.recipe.source.problem(places[source], text))
        self.stop_on_problems()

    def stop_on_problems(self) -> None:
        if self.problems:
            raise RecipeError(self.problems)

    def variant(self, variant: Variant) -> PlannedVariant:
        for node in self.nodes.values():
            if self.made_name(node, variant) not in self.made:
                self.make(node, variant)
            self.users[self.key(variant, node.id)][variant.id] = None
        values = {name: v.name for name, v in variant.values.items() if self.axes[name].shown}
        keys = tuple(self.key(variant, name) for name in self.recipe.document.steps)
        return PlannedVariant(variant.id, values, keys)

    def made_name(self, node: StepNode, variant: Variant) -> tuple[str, ...]:
        return (node.id, *(variant.values[axis].name for axis in node.axes))

    def key(self, variant: Variant, step: str) -> str:
        """The key of a variant's step that has been made."""
        return self.made[self.made_name(self.nodes[step], variant)]

    def make(self, node: StepNode, variant: Variant) -> None:
        """Make a step for the first variant that needs it; its parents have been made."""
        names = {axis: variant.values[axis].name for axis in node.axes}
        label = make_label(node.id, {a: name for a, name in names.items() if self.axes[a].shown})
        seed = self.overrides.seeds.get(label)
        if seed is None:
            seed = self.setting(node, "seed", default_seed(node.id, names))
        params = self.params(node, variant.values, seed)
        contexts = tuple(self.context(source, variant) for source in node.sources)
        key = step_key(node.spec.op, params, contexts, self.model, self.numerics)
        self.made[self.made_name(node, variant)] = key
        self.labels[label] = key
        self.users.setdefault(key, {})
        self.steps.setdefault(key, Step(key, node.id, label, node.spec.op, params, contexts, ()))

    def context(self, source: str, variant: Variant) -> ContextRef:
        if source in self.nodes:
            return ParentStep(self.key(variant, source))
        path = variant.values[source].path or Path()
        if isinstance(path, S3Object):
            return SourceImage(source, path, self.remote[path])
        try:
            return SourceImage(source, path, file_digest(path))
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            name = legible(path.name)
            text = f"'{name}' cannot be read ({reason}); expected a picture; check the file"
            self.problems.append(self.recipe.source.problem(("inputs", source), text))
            return SourceImage(source, path, "")

    def params(self, node: StepNode, values: Mapping[str, Value], seed: int) -> StepParams:
        def fill(item: Placeholder) -> str:
            return look_up(self.recipe, item, values)

        model = self.model
        generates = node.spec.op == "generate"
        true_cfg = self.setting(node, "true_cfg", 1.0)
        negative = node.negative.render(fill).strip() if node.negative and true_cfg > 1 else None
        size = self.setting(node, "size", "match")
        return StepParams(
            prompt=node.prompt.render(fill).strip(),
            seed=seed,
            steps=self.setting(node, "steps", model.default_steps),
            guidance=self.setting(
                node, "guidance", model.default_guidance if model.guidance_embedded else None
            ),
            negative_prompt=negative,
            true_cfg=true_cfg,
            size=size if isinstance(size, Size) else model.default_size if generates else None,
            fit=Fit(self.setting(node, "fit", Fit.CROP)),
        )

    def setting(self, node: StepNode, field: str, default: Any) -> Any:
        found = setting(self.recipe, node.id, field)
        return default if found is None else found

    def warn_unused(self) -> None:
        used = {axis for node in self.nodes.values() for axis in node.axes}
        for name in self.axes:
            if name not in used:
                section = "inputs" if name in self.recipe.document.inputs else "matrix"
                text = f"no step uses '{name}'; its values change no picture"
                problem = self.recipe.source.problem((section, name), text, key=True)
                self.warnings.append(str(problem))

    def warn_stale(self) -> None:
        for label in self.overrides.seeds:
            if label not in self.labels:
                self.warnings.append(stale_label(label, self.labels, self.overrides.path))


def _with_included(axes: Mapping[str, Axis], variants: Sequence[Variant]) -> dict[str, Axis]:
    """The axes with the values that ``include`` defined."""
    found: dict[str, Axis] = {}
    for name, axis in axes.items():
        values = {value.name: value for value in axis.values}
        for variant in variants:
            values.setdefault(variant.values[name].name, variant.values[name])
        found[name] = replace(axis, values=tuple(values.values()))
    return found


def _resolve_model(recipe: Recipe, settings: Settings) -> ModelSpec:
    name, node = recipe.document.model, recipe.source.node(("model",))
    # A folder that the recipe names lies where its inputs do; one on the command line, here.
    written = node is not None and node.origin is None and name not in (*SHIPPED, *HUB_MODELS)
    beside = recipe.folder / name
    try:
        return resolve_model(str(beside) if written and beside.is_dir() else name)
    except ModelError as error:
        problem = recipe.source.problem(("model",), str(error))
    # The rest of the recipe is checked all the same, but for the limits of a model.
    planner = _Planner(recipe, next(iter(HUB_MODELS.values())), NumericsProfile(), None, settings)
    planner.problems.append(problem)
    planner.prepare(limits=False)
    raise RecipeError([problem])
