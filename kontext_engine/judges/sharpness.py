"""How sharp a picture is: the variance of its Laplacian, in levels of 255 squared."""

from __future__ import annotations

import numpy as np

from kontext_engine.api import Judged
from kontext_engine.judges import Shown


def judge(shown: Shown) -> Judged:
    """The larger, the sharper; noise counts as sharpness. Comparable between pictures of a size."""
    grey = np.asarray(shown.picture.convert("L")).astype(np.int64)
    if min(grey.shape) < 3:
        return Judged(0.0, "too small to tell")
    inner = grey[1:-1, 1:-1] * 4
    edges = inner - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
    score = float(edges.var())
    return Judged(round(score, 4), f"its edges vary by {score**0.5:.1f} levels")
