"""Thumbnails, made once per picture and kept in the run's ``thumbs/``, named by digest.

With them a report can be made again when the inputs are elsewhere, and a run that computes
nothing decodes nothing.
"""

from __future__ import annotations

import base64
import contextlib
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from flows.files import write_whole

LONGEST_SIDE = 320  # pixels; twice what the page shows, for dense screens
_NAME = re.compile(r"[0-9a-f]{64}-(\d{1,4})x(\d{1,4})\.webp")


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small picture as a data URI, and its size in pixels."""

    uri: str
    width: int
    height: int


class Thumbnails:
    """The thumbnails of a run's folder. A name tells the picture's digest and the thumb's size."""

    def __init__(self, run: Path) -> None:
        self._folder = run / "thumbs"
        self._names: dict[str, str] = {}
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                if _NAME.fullmatch(path.name):
                    self._names[path.name[:64]] = path.name

    def get(self, digest: str) -> Thumbnail | None:
        """The thumbnail of a picture that was seen before."""
        name = self._names.get(digest)
        if name is None:
            return None
        with contextlib.suppress(OSError):
            return _thumbnail(name, (self._folder / name).read_bytes())
        return None

    def make(self, digest: str, open_it: Callable[[], Image.Image]) -> Thumbnail:
        """The thumbnail of a picture, opening it only if it was not seen before."""
        if known := self.get(digest):
            return known
        small = open_it().convert("RGB")
        small.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        small.save(buffer, "WEBP", quality=82, method=4)
        name = f"{digest}-{small.width}x{small.height}.webp"
        write_whole(self._folder / name, buffer.getvalue())
        self._names[digest] = name
        return _thumbnail(name, buffer.getvalue())


def _thumbnail(name: str, data: bytes) -> Thumbnail:
    width, height = name[65 : -len(".webp")].split("x")
    uri = f"data:image/webp;base64,{base64.b64encode(data).decode('ascii')}"
    return Thumbnail(uri, int(width), int(height))
