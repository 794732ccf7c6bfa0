"""A step of the recipe, filled in for one variant after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter

from flows.plan.keys import Spelling, seeding, take_seed
from flows.plan.select import take_label
from flows.plan.settling import Settling
from flows.plan.step import StepParams
from flows.recipe.axes import Axis, Value
from flows.recipe.graph import StepNode
from flows.recipe.placeholders import filler
from flows.recipe.recipe import Recipe


class Filling:
    """What a step says in a variant; what it says in all of them is worked out once.

    ``values`` are the variant's, by axis, and ``names`` their names; ``agreed`` is which of them it
    depends on: variants that agree in these share it. ``images`` are the inputs and steps that it
    edits, by name.
    """

    def __init__(
        self, recipe: Recipe, node: StepNode, axes: Mapping[str, Axis], settling: Settling
    ) -> None:
        self.node = node
        self.agreed = _picking(node.axes)
        self._axes = [axis for axis in node.axes if axes[axis].shown]
        self._shown = _picking(self._axes)
        self._label = self._to_fill(1)
        self._settling = settling
        self._settings = tuple(filler(recipe, one) for one in node.settings.values())
        self._prompt = filler(recipe, node.prompt)
        self._negative = filler(recipe, node.negative) if node.negative else None
        self.images = _images(recipe, node)
        self._seed = seeding(node.id, node.axes)

    def label(self, names: Mapping[str, str], take: int = 1) -> str:
        """What people call it, or one of its takes."""
        text = self._label if take == 1 else self._to_fill(take)
        return text % self._shown(names)

    def _to_fill(self, take: int) -> str:
        # Names of steps and axes hold no percent sign.
        return take_label(self.node.id, dict.fromkeys(self._axes, "%s"), take)

    def params(
        self,
        values: Mapping[str, Value],
        names: Mapping[str, str],
        take: int,
        seeds: Mapping[int, int],
        label: str,
    ) -> tuple[StepParams, Spelling]:
        """What the engine is asked for a take, and how the key of that is spelt; ``seeds`` are
        those that were decided, by take.
        """
        node = self.node
        settled = self._settling.of(node, tuple([one(values) for one in self._settings]), label)
        if (seed := seeds.get(take, settled.params.seed)) < 0:  # nobody said one
            seed = self._seed(names)
            seed = seed if take == 1 else take_seed(seed, take)
        elif take > 1 and node.family == node.id and take not in seeds:
            seed = take_seed(seed, take)
        prompt = self._prompt(values).strip()
        negative = self._negative(values).strip() if self._negative is not None else None
        return settled.said(prompt, negative, seed), settled.spelling


def _images(recipe: Recipe, node: StepNode) -> Callable[[Mapping[str, Value]], Sequence[str]]:
    """What gives the inputs and steps that it edits, by name."""
    named = [image for image in node.images if isinstance(image, str)]
    if len(named) == len(node.images):
        return lambda _: named
    said = [image if isinstance(image, str) else filler(recipe, image) for image in node.images]
    return lambda values: [one if isinstance(one, str) else one(values).strip() for one in said]


def _picking(axes: Sequence[str]) -> Callable[[Mapping[str, str]], tuple[str, ...]]:
    """What gives the names of these axes' values."""
    if len(axes) > 1:
        return itemgetter(*axes)
    return lambda names: tuple([names[axis] for axis in axes])
