"""How much a picture's subject is that of another: the cosine of the shipped identity net.

The net was trained on the miniature's studio subjects; of other pictures it tells colour and shape
rather than who somebody is (docs/measured.md has what was measured).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image

from kontext_engine.api import Judged
from kontext_engine.errors import ModelError, RequestError
from kontext_engine.evaluation.errors import EvaluationError
from kontext_engine.evaluation.identity.net import EDGE, Identity
from kontext_engine.judges import Shown


@cache
def _net() -> Identity:
    try:
        return Identity.load()
    except EvaluationError as error:
        raise ModelError(str(error)) from None


def judge(shown: Shown) -> Judged:
    """-1 to 1; 1 is the same subject.

    Raises:
        RequestError: there is nothing to compare with.
        ModelError: the net is not there.
    """
    if shown.reference is None:
        raise RequestError("there is nothing to compare with; expected a picture; add 'of'")
    both = np.stack([_small(shown.picture), _small(shown.reference)])
    first, second = _net().embed(both)
    score = round(float(first @ second), 4)
    return Judged(score, f"its subject's likeness is {score:.2f} of 1")


def _small(picture: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    size = (EDGE * 4, EDGE * 4)  # the net averages down from there
    return np.asarray(picture.convert("RGB").resize(size, Image.Resampling.BICUBIC))
