"""The loss as it is told: means by category, and by fifths of t, of which each teaches a scale."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

T_BINS = 5


@dataclass
class Meter:
    """Running mean of the loss by t-bin and category since it was last read."""

    bins: list[list[float]] = field(default_factory=lambda: [[] for _ in range(T_BINS)])
    categories: dict[str, list[float]] = field(default_factory=dict)

    def add(self, times: Tensor, losses: Tensor, categories: tuple[str, ...]) -> None:
        """Count one batch: times and losses (b,)."""
        for t, loss, category in zip(times.tolist(), losses.tolist(), categories, strict=True):
            self.bins[min(T_BINS - 1, int(t * T_BINS))].append(loss)
            self.categories.setdefault(category, []).append(loss)

    def read(self) -> dict[str, float]:
        """Means since the last reading, by name; the meter starts anew."""
        means = {f"t{k / T_BINS:.1f}": _mean(v) for k, v in enumerate(self.bins) if v}
        means |= {name: _mean(v) for name, v in sorted(self.categories.items())}
        everything = [x for v in self.bins for x in v]
        self.bins, self.categories = [[] for _ in range(T_BINS)], {}
        return {"loss": _mean(everything), **means}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
