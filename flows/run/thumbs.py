"""Thumbnails: small pictures, made once by whoever has the picture in hand, kept in the store.

``thumbs/<digest>-<width>x<height>.webp``: a name tells the digest of the picture's bytes and the
thumbnail's size, which follows from the picture's. A run's folder has copies under the same names,
so that its page works wherever the folder is copied to.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

from PIL import Image

from flows.store.objects import Objects
from flows.store.runfolder import THUMBS

LONGEST_SIDE = 320  # pixels; twice what the page shows, for dense screens
_NAME = re.compile(r"([0-9a-f]{64})-([1-9]\d{0,3})x([1-9]\d{0,3})\.webp")


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small picture of the picture ``digest``, and its size in pixels."""

    digest: str
    width: int
    height: int

    @classmethod
    def of(cls, digest: str, width: int, height: int) -> Thumbnail:
        """The thumbnail that a picture of this size has; none is larger than its picture."""
        scale = min(1.0, LONGEST_SIDE / max(width, height))
        return cls(digest, max(1, round(width * scale)), max(1, round(height * scale)))

    @classmethod
    def named(cls, file: str) -> Thumbnail | None:
        """The thumbnail of this file name, ``None`` if it is none."""
        found = _NAME.fullmatch(file)
        return None if found is None else cls(found[1], int(found[2]), int(found[3]))

    @property
    def name(self) -> str:
        """Where it is, in a store and in a run's folder."""
        return f"{THUMBS}/{self.digest}-{self.width}x{self.height}.webp"

    def encode(self, picture: Image.Image) -> bytes:
        """Its bytes, from the picture."""
        from kontext_engine.region import on_white

        small = on_white(picture)
        if small.size != (self.width, self.height):
            size = (self.width, self.height)
            small = small.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
        buffer = io.BytesIO()
        small.save(buffer, "WEBP", quality=82, method=4)
        return buffer.getvalue()


def keep_thumbnail(objects: Objects, digest: str, picture: Image.Image) -> Thumbnail:
    """Store the thumbnail of a picture in hand, unless it is there.

    Raises:
        StoreError: the home fails.
    """
    thumb = Thumbnail.of(digest, *picture.size)
    if objects.stat(thumb.name) is None:
        objects.create(thumb.name, thumb.encode(picture))
    return thumb
