"""Keys of variants: every step's, each made for the first variant that needs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import cast

from flows.decisions.decided import Decided
from flows.plan.beside import mask_file, model_file
from flows.plan.ground import Ground
from flows.plan.keys import default_seed, take_seed
from flows.plan.originals import Originals
from flows.plan.picks import Picks
from flows.plan.select import make_label, take_label
from flows.plan.settling import Settling
from flows.plan.sizing import Sizing
from flows.plan.step import Candidate, ContextRef, Operation, ParentStep, Step
from flows.recipe.graph import StepNode
from flows.recipe.matrix import Variant
from flows.recipe.overrides import Overrides
from flows.recipe.placeholders import look_up
from flows.recipe.review import Review
from flows.recipe.template import Placeholder


class Keying:
    """``steps`` by key, each after its parents, all but the variants that use them (``users``);
    ``labels`` have their keys; mistakes are noted.
    """

    def __init__(
        self,
        review: Review,
        ground: Ground,
        originals: Originals,
        settling: Settling,
        sizing: Sizing,
        overrides: Overrides,
        decided: Decided,
    ) -> None:
        self.review = review
        self.recipe = review.recipe
        self.ground = ground
        self.settling = settling
        self.sizing = sizing
        self.overrides = overrides
        self.source = originals.of
        self.steps: dict[str, partial[Step]] = {}
        self.users: dict[str, list[str]] = {}
        self.labels: dict[str, str] = {}
        self.bare: dict[str, None] = {}  # all labels without their takes, where hands have decided
        self.picks = Picks(review, decided, self.steps, self.source, sizing.know)
        # Step id and values it depends on -> the keys of its takes; of what judges look by.
        self.made: dict[tuple[str, ...], tuple[str, ...]] = {}
        self.also: dict[tuple[str, ...], tuple[str, ...]] = {}
        self.models: dict[str, tuple[ContextRef, ...]] = {}

    def keys(self, variant: Variant) -> dict[str, tuple[str, ...]]:
        """The keys of a variant's steps and their takes, each made for the first that needs it."""
        names = {axis: value.name for axis, value in variant.values.items()}
        keys: dict[str, tuple[str, ...]] = {}
        for node in self.ground.nodes.values():
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
            parents = [keys[one] or make_label(one, self.shown(self.ground.nodes[one], variant))
                       for one in reads]  # fmt: skip
            if not all(keys[one] for one in reads):
                for take in range(1, node.takes + 1):
                    self.picks.wait(take_label(node.id, shown, take), parents)
                return ()
        if node.spec.op == "pick":
            among = [
                Candidate(take_label(one, self.shown(self.ground.nodes[one], variant), n), key)
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
        return {
            axis: variant.values[axis].name for axis in node.axes if self.ground.axes[axis].shown
        }

    def reads(self, node: StepNode, variant: Variant) -> Iterator[str]:
        """The steps that a step reads in this variant."""
        names = (*self.images(node, variant), node.mask, node.of, *node.among)
        yield from (name for name in names if name is not None and name in self.ground.nodes)

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
