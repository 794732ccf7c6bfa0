"""Reading the word on a sign: which letters stand there, whatever was asked for.

The reader knows where the family's sign hangs and in which colours, never the word. Letters are
what stands between empty columns, and each is the capital whose own picture it correlates with
most. How often it reads true signs right is measured in every bench.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kontext_engine.training.signs import LETTERS, Sign, lettering

Ink = NDArray[np.float32]  # (h, w), 0 board .. 1 ink

_CELL = (24, 20)  # rows, columns: letters are compared at one size
_RIM = 5  # pixels inside the board's edge that are its outline
_BOLD = (3, 5, 7)
_LEAST = 0.30  # of full contrast: fainter is no letter


def read_sign(picture: NDArray[np.uint8], sign: Sign) -> str:
    """The word on ``picture`` (h, w, 3), "" where there is none."""
    ink = _ink(picture, sign)
    shown = np.flatnonzero(ink.max(axis=1) > _LEAST)
    if not len(shown):
        return ""
    ink = ink[shown[0] : shown[-1] + 1]
    return "".join(_letter(ink[:, a:b]) for a, b in _spans(ink))


def _ink(picture: NDArray[np.uint8], sign: Sign) -> Ink:
    """How far each of the board's pixels is on the way from the board's colour to the ink's."""
    left, top, right, bottom = sign.box
    inside = picture[top + _RIM : bottom - _RIM, left + _RIM : right - _RIM].astype(np.float32)
    way = np.asarray(sign.ink, np.float32) - np.asarray(sign.board, np.float32)
    part = (inside - np.asarray(sign.board, np.float32)) @ way / (way @ way)
    return np.clip(part, 0, 1).astype(np.float32)


def _spans(ink: Ink) -> list[tuple[int, int]]:
    """The columns of each letter. A span much too wide is cut where it is thinnest."""
    strength = ink.max(axis=0)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], strength > _LEAST, [0]]).astype(int)))
    pending = [(int(a), int(b)) for a, b in edges.reshape(-1, 2) if b - a >= 2]
    found: list[tuple[int, int]] = []
    while pending:
        a, b = pending.pop(0)
        if b - a > max(3, 1.55 * len(ink)):  # no capital is so wide, nor has less than a column
            third = (b - a) // 4
            cut = a + third + int(np.argmin(ink[:, a + third : b - third].sum(axis=0)))
            pending = [(a, cut), (cut, b), *pending]
        else:
            found.append((a, b))
    return found


def _letter(ink: Ink) -> str:
    shape, width = _celled(ink), ink.shape[1] / ink.shape[0]
    likeness = [
        float((shape * mask).sum()) - 0.5 * abs(np.log(width / ratio))
        for _, mask, ratio in _alphabet()
    ]
    return _alphabet()[int(np.argmax(likeness))][0]


def _celled(ink: Ink) -> Ink:
    """At the size of comparison, of mean zero and length one."""
    image = Image.fromarray((255 * ink).astype(np.uint8))
    cell = np.asarray(image.resize(_CELL[::-1], Image.Resampling.BILINEAR), dtype=np.float32)
    cell = cell - cell.mean()
    unit: Ink = cell / max(float(np.linalg.norm(cell)), 1e-6)
    return unit


@lru_cache(maxsize=1)
def _alphabet() -> tuple[tuple[str, Ink, float], ...]:
    """(letter, its picture, width by height) of every capital in every weight."""
    found = []
    for bold in _BOLD:
        for letter in LETTERS:
            mask = lettering(letter, 96, bold)
            small = mask.resize((max(3, mask.width // 4), mask.height // 4), Image.Resampling.BOX)
            shape = _celled(np.asarray(small).astype(np.float32) / np.float32(255))
            found.append((letter, shape, mask.width / mask.height))
    return tuple(found)
