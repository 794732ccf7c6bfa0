"""Thumbnails, made once per picture and kept in the run's ``thumbs/``, named by digest.

With them a report can be made again when the inputs are elsewhere, and a run that computes
nothing decodes nothing.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from flows.store.runfolder import THUMBS, RunFolder

LONGEST_SIDE = 320  # pixels; twice what the page shows, for dense screens
_NAME = re.compile(r"[0-9a-f]{64}-([1-9]\d{0,3})x([1-9]\d{0,3})\.webp")


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small picture: its name in the run's folder, and its size in pixels."""

    name: str
    width: int
    height: int


class Thumbnails:
    """The thumbnails of a run's folder. A name tells the picture's digest and the thumb's size."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._names = {name[:64]: name for name in run.names(THUMBS) if _NAME.fullmatch(name)}

    def get(self, digest: str) -> Thumbnail | None:
        """The thumbnail of a picture that was seen before."""
        name = self._names.get(digest)
        return None if name is None else _thumbnail(name)

    def make(self, digest: str, open_it: Callable[[], Image.Image]) -> Thumbnail:
        """The thumbnail of a picture, opening it only if it was not seen before."""
        if known := self.get(digest):
            return known
        small = open_it().convert("RGB")
        small.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        small.save(buffer, "WEBP", quality=82, method=4)
        name = f"{digest}-{small.width}x{small.height}.webp"
        self._run.write(f"{THUMBS}/{name}", buffer.getvalue())
        self._names[digest] = name
        return _thumbnail(name)


def _thumbnail(name: str) -> Thumbnail:
    width, height = name[65 : -len(".webp")].split("x")
    return Thumbnail(f"{THUMBS}/{name}", int(width), int(height))
