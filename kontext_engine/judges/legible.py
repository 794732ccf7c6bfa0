"""Whether a picture says what it is to say: words read by rapidocr, compared letter by letter.

Its weights are in its wheel and are ONNX graphs; it reads Latin scripts, Chinese and Japanese.
"""

from __future__ import annotations

import difflib
import logging
import threading
import unicodedata
from functools import cache
from typing import Any

import numpy as np

from kontext_engine.api import Judged
from kontext_engine.judges import Shown

_ONE = threading.Lock()
_LEAST = 320  # pixels of the shorter side: small letters are not found in smaller pictures


@cache
def _reader() -> Any:
    from rapidocr import RapidOCR

    logging.getLogger("RapidOCR").setLevel(logging.WARNING)
    threads = {"intra_op_num_threads": 1, "inter_op_num_threads": 1}
    params = {f"EngineConfig.onnxruntime.{name}": value for name, value in threads.items()}
    return RapidOCR(params={"Global.log_level": "error", **params})


def judge(shown: Shown) -> Judged:
    """1 where the words are read exactly, else the share of letters that agree, in their order.

    Case, spaces and the width of letters do not count.
    """
    picture = shown.picture.convert("RGB")
    if (side := min(picture.size)) < _LEAST:
        scale = -(-_LEAST // side)
        picture = picture.resize((picture.width * scale, picture.height * scale))
    with _ONE:
        found = _reader()(np.asarray(picture)[..., ::-1].copy())
    words = [str(text) for text in (found.txts or ())]
    read, wanted = _plain("".join(words)), _plain(shown.text)
    score = difflib.SequenceMatcher(None, wanted, read, autojunk=False).ratio() if read else 0.0
    told = " ".join(words)
    return Judged(round(score, 4), f"reads '{told}'" if told else "reads nothing")


def _plain(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(char for char in folded if not char.isspace())
