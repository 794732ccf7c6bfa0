"""A step with a region: what the model is shown of its source, the paste-back, and its proof."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image

from flows.plan.step import Region
from kontext_engine.errors import PictureError
from kontext_engine.geometry import Size
from kontext_engine.picture import picture_digest
from kontext_engine.region import (
    Box,
    Protection,
    box_levels,
    crop_box,
    difference,
    differing,
    mask_levels,
    on_white,
    paste,
    protect,
)


class PromiseBroken(Exception):  # noqa: N818 - a step's reason
    """What was to be kept is not the same in what would be stored; the message says how much."""


@dataclass(frozen=True, slots=True)
class Work:
    """A source under protection, and the ``box`` of it that the model edits."""

    protection: Protection
    box: Box

    @classmethod
    def begin(
        cls, region: Region, source: Image.Image, mask: Image.Image | None, area: int
    ) -> Work:
        """What a step's region means on its source; ``area`` is the model's, in pixels.

        Raises:
            PictureError: the mask or the box cannot be used on this source.
        """
        size = Size(*source.size)
        if mask is not None:
            # A cutout's subject is its alpha; so is that of any picture with one.
            white = mask_levels(mask, size, region.fit)
        elif region.box is not None:
            white = box_levels(region.box, size)
        elif source.mode == "RGBA":
            white = np.asarray(source.getchannel("A"))
        else:
            raise PictureError("the picture has no transparency; expected some; give a mask")
        protection = protect(source, white, keeps=region.keeps, feather=region.feather)
        return cls(protection, crop_box(protection.share, area))

    def view(self, source: Image.Image) -> Image.Image:
        """What the model is shown: on white, as every picture."""
        return on_white(source).crop(self.box)

    @property
    def mask(self) -> Image.Image:
        """What the model is to paint of it, white; the rest is held, or shown to it as given."""
        shares = Image.fromarray(self.protection.share).crop(self.box)
        return shares.point([0] + [255] * 255)

    @property
    def kept(self) -> Image.Image:
        """What stays of the source, white, at its size."""
        return Image.fromarray(self.protection.share).point([255] + [0] * 255)

    def finished(self, made: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
        """The picture to be stored, and what the caller should know."""
        picture = paste(self.protection, made, self.box)
        left, top, right, bottom = self.box
        size, notes = Size(right - left, bottom - top), []
        if size != picture.size:
            notes.append(f"the model worked on {size} at {left}, {top} of {Size(*picture.size)}")
        if made.width < size.width:
            notes.append(f"what it made ({Size(*made.size)}) was enlarged by Lanczos")
        return picture, tuple(notes)

    def proof(self, blob: bytes) -> tuple[Mapping[str, Any], Image.Image]:
        """The counts, once every kept pixel of a stored picture has been compared, and a picture of
        what differs, which they name by its digest.

        Raises:
            PromiseBroken: some are not the source's.
        """
        with Image.open(io.BytesIO(blob), formats=["PNG"]) as stored:
            wrong = differing(self.protection, stored)
            shown = difference(self.protection, stored) if not wrong else None
        if shown is None:
            raise PromiseBroken(
                f"{wrong:,} of {self.protection.counts.kept:,} kept pixels would not be identical; "
                "nothing was stored; report it with the recipe"
            )
        counts = {"kept": asdict(self.protection.counts), "box": list(self.box)}
        return counts | {"difference": picture_digest(shown)}, shown


def told(proof: Mapping[str, Any]) -> tuple[str, ...]:
    """What people read of a proof."""
    counts = proof["kept"]
    lines = [f"kept {counts['kept']:,} of {counts['kept']:,} pixels identical"]
    if counts["mixed"]:
        lines.append(f"{counts['mixed']:,} partly transparent pixels kept over the new ground")
    if counts["edge"]:
        lines.append(f"{counts['edge']:,} pixels of soft edge")
    return tuple(lines)
