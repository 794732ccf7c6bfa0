"""Settings of steps: what a recipe says, typed once filled in, or else the model's defaults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from flows.plan.keys import Spelling, spelling
from flows.plan.step import Operation, StepParams
from flows.recipe.effects import setting
from flows.recipe.graph import StepNode
from flows.recipe.node import Loc
from flows.recipe.protect import region_of
from flows.recipe.recipe import setting_loc
from flows.recipe.review import Review
from flows.recipe.validate import typed
from kontext_engine.geometry import Fit, Size, check_target
from kontext_engine.spec import ModelSpec, NumericsProfile


@dataclass(frozen=True, slots=True)
class Settled:
    """A step's parameters, all but its texts; a seed that nobody said is -1. How its key is spelt
    follows from them.
    """

    params: StepParams
    spelling: Spelling

    def said(self, prompt: str, negative: str | None, seed: int) -> StepParams:
        """The parameters with these."""
        # A hundred thousand are made, and ``replace`` takes three times as long.
        one = self.params
        return StepParams(
            prompt, seed, one.steps, one.guidance, negative, one.true_cfg, one.size, one.fit
        )


class Settling:
    """Settles the parameters of steps, once for all variants that are told the same."""

    def __init__(self, review: Review, model: ModelSpec, numerics: NumericsProfile) -> None:
        self._review = review
        self._model = model
        self._numerics = numerics
        self._known: dict[tuple[str, ...], Settled] = {}  # by what was filled in
        self._wrong: dict[tuple[Loc, str], list[str]] = {}  # the steps by place and cause

    def of(self, node: StepNode, texts: tuple[str, ...], label: str) -> Settled:
        """What a step's settings come to, where these texts are what they were filled in as."""
        found = self._known.get((node.id, *texts))
        if found is None:
            one = self._settled(node, dict(zip(node.settings, texts, strict=True)), label)
            operation = cast("Operation", node.spec.op)  # a pick makes no picture
            spelt = spelling(operation, one, self._model, self._numerics)
            found = self._known[(node.id, *texts)] = Settled(one, spelt)
        return found

    def tell(self) -> None:
        """Note what was wrong, one line a cause."""
        for (loc, text), labels in self._wrong.items():
            more = f" and {len(labels) - 1} more" if len(labels) > 1 else ""
            self._review.wrong(loc, f"{text} ({labels[0]}{more})")

    def _settled(self, node: StepNode, filled: Mapping[str, str], label: str) -> StepParams:
        """All of a step's parameters but its texts; ``filled`` are settings of this variant.

        A seed that nobody said is -1.
        """
        found = dict(self._typed(node, filled, label))

        def first(field: str, default: Any) -> Any:
            value = found.get(field, setting(self._review.recipe, node.id, field))
            return default if value is None or field in filled.keys() - found else value

        model = self._model
        if node.spec.op == "cutout":
            return StepParams("", seed=-1, steps=0)
        size = first("size", "match")
        if size == "match":
            size = model.default_size if node.spec.op == "generate" else None
        return StepParams(
            prompt="",
            seed=first("seed", -1),
            steps=first("steps", model.default_steps),
            guidance=first("guidance", model.default_guidance if model.guidance_embedded else None),
            true_cfg=first("true_cfg", 1.0),
            size=size,
            # A part that is pasted back is neither cut nor stretched on the way.
            fit=Fit.PAD if region_of(node.spec) else Fit(first("fit", Fit.CROP)),
        )

    def _typed(
        self, node: StepNode, filled: Mapping[str, str], label: str
    ) -> Iterator[tuple[str, Any]]:
        """Settings from the texts that they became in a variant; wrong ones are noted."""
        for field, text in filled.items():
            try:
                value = typed(field, text)
                if isinstance(value, Size):
                    check_target(value, self._model.pixel_area, self._model.multiple)
                if value == "match" and node.spec.op == "generate":
                    raise ValueError("size 'match' has no image to match; expected such as 128x128")
                yield field, value
            except ValueError as error:
                loc = setting_loc(self._review.recipe, node.id, field)
                self._wrong.setdefault((loc, str(error)), []).append(label)
