"""Keys of variants: every step's, each made for the first variant that needs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import cast

from flows.decisions.decided import Decided
from flows.plan.beside import mask_file, model_file
from flows.plan.filling import Filling
from flows.plan.ground import Ground
from flows.plan.originals import Originals
from flows.plan.picks import Picks
from flows.plan.settling import Settling
from flows.plan.sizing import Sizing
from flows.plan.step import Candidate, ContextRef, Operation, ParentStep, Step
from flows.recipe.graph import StepNode
from flows.recipe.matrix import Variant
from flows.recipe.overrides import Overrides
from flows.recipe.review import Review


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
        self.fillings = {
            name: Filling(review.recipe, node, ground.axes, settling)
            for name, node in ground.nodes.items()
        }
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
        for name, filling in self.fillings.items():
            agreed = (name, *filling.agreed(names))
            found = self.made.get(agreed)
            if found is None:
                found = self.found(filling, variant, names, keys, agreed)
                self.made[agreed] = found
            keys[name] = found
            for key in (*found, *self.also.get(agreed, ())) if self.also else found:
                users = self.users.setdefault(key, [])
                # Two of its steps may have the same pixels.
                if not users or users[-1] != variant.id:
                    users.append(variant.id)
        return keys

    def found(
        self,
        filling: Filling,
        variant: Variant,
        names: Mapping[str, str],
        keys: Mapping[str, tuple[str, ...]],
        agreed: tuple[str, ...],
    ) -> tuple[str, ...]:
        """The keys of a step's takes, or of what a pick chose; none behind an undecided one."""
        node, label = filling.node, filling.label(names)
        if self.picks.busy:
            self.bare[label] = None
        if self.picks.waiting and (reads := list(self.reads(filling, variant))):
            parents = [keys[one] or self.fillings[one].label(names) for one in reads]
            if not all(keys[one] for one in reads):
                for take in range(1, node.takes + 1):
                    self.picks.wait(filling.label(names, take), parents)
                return ()
        if node.spec.op == "pick":
            among = [
                Candidate(self.fillings[one].label(names, n), key)
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
        return tuple([
            self.make(filling, variant, names, keys, take, seeds,
                      label if take == 1 else filling.label(names, take))
            for take in takes
        ])  # fmt: skip

    def reads(self, filling: Filling, variant: Variant) -> Iterator[str]:
        """The steps that a step reads in this variant."""
        node = filling.node
        named = (*filling.images(variant.values), node.mask, node.of, *node.among)
        yield from (name for name in named if name is not None and name in self.fillings)

    def make(
        self,
        filling: Filling,
        variant: Variant,
        names: Mapping[str, str],
        keys: Mapping[str, tuple[str, ...]],
        take: int,
        seeds: Mapping[int, int],
        label: str,
    ) -> str:
        """Make a take of a step, whose parents in this variant have these keys; its own key."""
        node = filling.node
        params, spelling = filling.params(variant.values, names, take, seeds, label)
        contexts: tuple[ContextRef, ...] = tuple(
            [self.context(name, variant, keys, take) for name in filling.images(variant.values)]
        )
        if node.mask is not None or node.mask_file is not None:
            contexts += self.mask(node, variant, keys, take)
        if node.spec.cutout is not None:
            contexts += self.model_of(node)
        key, more = self.sizing.keyed(node, params, contexts, spelling)
        self.labels[label] = key
        if key not in self.steps:
            operation = cast("Operation", node.spec.op)  # a pick makes no picture
            self.steps[key] = partial(
                Step, key, node.id, label, operation, params, contexts, **more
            )
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
