"""How much of a picture stayed as it was, where nothing was to change."""

from __future__ import annotations

import numpy as np
from PIL import Image

from kontext_engine.api import Judged
from kontext_engine.errors import RequestError
from kontext_engine.judges import Shown


def judge(shown: Shown) -> Judged:
    """1 less the mean difference (of 1) outside the region; without a region, of the whole.

    Raises:
        RequestError: there is nothing to compare with, or no pixel that was to be kept.
    """
    if shown.reference is None:
        raise RequestError("there is nothing to compare with; expected a picture; add 'of'")
    picture, reference = shown.picture, shown.reference
    if picture.size != reference.size:
        reference = reference.resize(picture.size, Image.Resampling.BICUBIC)
    kept = np.ones((picture.height, picture.width), bool)
    where = "everywhere"
    if shown.kept is not None:
        mask = shown.kept.resize(picture.size, Image.Resampling.NEAREST)
        kept, where = np.asarray(mask.convert("L")) == 255, "outside the region"
        if not kept.any():
            raise RequestError("the region is the whole picture; expected some of it outside")
    moved = np.abs(np.asarray(picture).astype(np.int64) - np.asarray(reference)).max(axis=-1)[kept]
    score = 1.0 - float(moved.mean()) / 255
    changed = float((moved > 0).mean())
    return Judged(
        round(score, 6), f"{where} {changed:.1%} of its pixels differ, by {moved.max()} at most"
    )
