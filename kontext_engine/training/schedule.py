"""Learning rate as a function of the step alone, so that a resumed run walks the same curve."""

from __future__ import annotations

import math


def learning_rate(
    step: int, *, peak: float, warmup: int, total: int, decay_from: float = 0.6
) -> float:
    """Linear warm-up, a plateau, then a half cosine from ``decay_from * total`` down to 2 %."""
    if step < warmup:
        return peak * (step + 1) / warmup
    start = decay_from * total
    if step <= start:
        return peak
    done = min(1.0, (step - start) / max(1.0, total - start))
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
