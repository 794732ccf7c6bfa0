"""Masks, and models that cut out, opened before anything is made: `kontext check` tells.

Planning for a run does not: pictures are decoded here and graphs loaded, and a step whose mask or
model cannot be used fails by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from flows.plan.step import ContextRef, Region, SourceImage
from flows.recipe.review import Review
from flows.sources.place import S3Object
from flows.sources.remote import RemoteError, read_planned
from kontext_engine.errors import PictureError, RequestError
from kontext_engine.geometry import Size
from kontext_engine.saliency import Saliency

_NAMED = 20  # files in one line


class Looking:
    """Opens masks, and pictures whose own alpha is meant; each question is answered once."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, Region, Size | None], str | None] = {}

    def wrong(
        self, region: Region, contexts: Sequence[ContextRef], size: Size | None
    ) -> str | None:
        """Why a region cannot be on a source of this size, if its mask is at hand and tells."""
        ref = contexts[-1] if region.masked else contexts[0]
        if region.box is not None or not isinstance(ref, SourceImage):
            return None
        asked = ref.digest, region, size
        if asked not in self._told:
            self._told[asked] = _wrong(region, ref, size)
        return self._told[asked]


def _wrong(region: Region, ref: SourceImage, size: Size | None) -> str | None:
    import numpy as np

    from kontext_engine.picture.reading import open_picture
    from kontext_engine.region import mask_levels, shares

    try:
        picture = open_picture(_bytes(ref), ref.file, flat=False)
    except (OSError, RemoteError):
        return None  # told where it is named
    except PictureError as error:
        # Of an input's picture the step tells; a mask is only this step's.
        return str(error) if region.masked else None
    try:
        if region.masked:
            white = mask_levels(picture, size or Size(*picture.size), region.fit)
        elif picture.mode != "RGBA":
            return f"{ref.file} has no transparency; expected some; give a mask"
        else:
            white = np.asarray(picture.getchannel("A"))
        shares(white, keeps=region.keeps, feather=region.feather)
    except PictureError as error:
        return f"{ref.file}: {error}"
    return None


def wrong_model(model: Saliency, ref: SourceImage) -> str | None:
    """Why a file is no model that a step can cut with."""
    try:
        model.load(str(ref.path))
    except RequestError as error:
        return str(error)
    return None


def _bytes(ref: SourceImage) -> bytes:
    if isinstance(ref.path, S3Object):
        return read_planned(ref.path, ref.digest)
    return ref.path.read_bytes() if isinstance(ref.path, Path) else b""


def note_unread(review: Review, files: Mapping[str, Sequence[str]]) -> None:
    """Note files that by their first bytes are no pictures, one line for each input."""
    for name, found in files.items():
        told = list(dict.fromkeys(found))
        more = f" and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
        named = ", ".join(f"'{file}'" for file in told[:_NAMED])
        text = f"{named}{more} cannot be read; expected pictures; replace them, or their steps fail"
        review.note(("inputs", name), text)
