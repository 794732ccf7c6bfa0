"""The bench's figures: from scored items to what the terminal, the JSON and the pages show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kontext_engine.evaluation.items import CHANCE, LOCAL, EditItem
from kontext_engine.evaluation.score import Fidelity, Share, mean, median, share
from kontext_engine.evaluation.sharpness import Detail, Sides, detail


@dataclass(frozen=True, slots=True)
class Likeness:
    """Cosine of identity embeddings with the source's; a copy of the source has 1."""

    output: float
    truth: float


@dataclass(frozen=True, slots=True)
class EditScore:
    """One edit, scored. ``chosen`` is the nearest candidate: 0 is the truth, the last the source.

    ``ceiling`` is the truth through the autoencoder; ``ceiling_right`` and ``copy_right`` whether
    that, and the source itself, would have been taken for the truth; ``shuffled_right`` whether
    the output of an earlier item of the category would (None for the first ones).
    """

    item: EditItem
    chosen: int
    candidates: int
    output: Fidelity
    ceiling: Fidelity
    copy: Fidelity
    likeness: Likeness
    fine: Sides
    ceiling_right: bool
    copy_right: bool
    shuffled_right: bool | None

    @property
    def right(self) -> bool:
        """Whether the output is nearest to its own truth."""
        return self.chosen == 0

    @property
    def verdict(self) -> str:
        """In words, for the pages."""
        if self.right:
            return "right"
        return "unchanged" if self.chosen == self.candidates - 1 else "another edit"


@dataclass(frozen=True, slots=True)
class Decibels:
    """A mean PSNR beside those of the autoencoder alone and of the copied source.

    ``count`` items have such an area.
    """

    output: float | None
    ceiling: float | None
    copy: float | None
    count: int

    def as_json(self) -> dict[str, float | int | None]:
        """For the report's JSON."""
        return {
            "output": self.output, "autoencoder": self.ceiling,
            "copy": self.copy, "count": self.count,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Resemblance:
    """Identity with the source: medians of outputs and truths, and the share above strangers.

    ``right_and_same`` counts edits that are right *and* above: copying the source keeps the
    identity (1.0) and does nothing.
    """

    output: float | None
    truth: float | None
    above: Share
    right_and_same: Share

    def as_json(self) -> dict[str, Any]:
        """For the report's JSON."""
        return {
            "output": self.output, "truth": self.truth, "copy": 1.0,
            "above_strangers": self.above.as_json(),
            "right_and_above": self.right_and_same.as_json(),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class EditFigures:
    """The figures of one category, or of all of them."""

    name: str
    accuracy: Share
    ceiling: Share
    copy: Share
    shuffled: Share
    edit: Decibels
    keep: Decibels
    identity: Resemblance
    fine: Detail
    redrawn: int

    def as_json(self) -> dict[str, Any]:
        """For the report's JSON, without the accuracy, which has a key of its own."""
        return {
            "edit_psnr": self.edit.as_json(),
            "preservation_psnr": self.keep.as_json(),
            "identity": self.identity.as_json(),
            "sharpness": self.fine.as_json(),
            "baselines": {
                "chance": CHANCE,
                "copy": self.copy.as_json(),
                "shuffled": self.shuffled.as_json(),
                "truth_through_autoencoder": self.ceiling.as_json(),
            },
            "count": self.accuracy.count,
            "redrawn": self.redrawn,
        }


def edit_figures(name: str, scores: Sequence[EditScore], stranger: float) -> EditFigures:
    """Sum up ``scores``; ``stranger`` is the cosine that different subjects hardly exceed."""
    same = [s.likeness.output > stranger for s in scores]
    return EditFigures(
        name=name,
        accuracy=share([s.right for s in scores]),
        ceiling=share([s.ceiling_right for s in scores]),
        copy=share([s.copy_right for s in scores]),
        shuffled=share([s.shuffled_right for s in scores if s.shuffled_right is not None]),
        edit=Decibels(
            mean([s.output.edit for s in scores]),
            mean([s.ceiling.edit for s in scores]),
            mean([s.copy.edit for s in scores]),
            len(scores),
        ),
        keep=_kept(scores),
        identity=Resemblance(
            median([s.likeness.output for s in scores]),
            median([s.likeness.truth for s in scores]),
            share(same),
            share([s.right and above for s, above in zip(scores, same, strict=True)]),
        ),
        fine=detail([s.fine for s in scores]),
        redrawn=sum(s.item.attempt for s in scores),
    )


def _kept(scores: Sequence[EditScore]) -> Decibels:
    def outside(sides: list[Fidelity]) -> list[float]:
        return [side.keep for side in sides if side.keep is not None]

    outputs = outside([s.output for s in scores])
    return Decibels(
        mean(outputs),
        mean(outside([s.ceiling for s in scores])),
        mean(outside([s.copy for s in scores])),
        len(outputs),
    )


def local_scores(scores: Sequence[EditScore]) -> list[EditScore]:
    """Those of the categories that ask for a local edit."""
    return [s for s in scores if s.item.category in LOCAL]
