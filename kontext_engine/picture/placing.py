"""A picture brought to its place: scaled, cropped or padded as planned; and its digest."""

from __future__ import annotations

import hashlib

from PIL import Image

from kontext_engine.geometry import Placement


def place_picture(image: Image.Image, placement: Placement) -> Image.Image:
    """Scale and then crop or pad a picture as planned; padding repeats the edge pixels.

    A picture that already has the placed size is returned as it is, pixel for pixel.
    """
    if image.size != placement.scaled:
        image = image.resize(placement.scaled, Image.Resampling.LANCZOS)
    left, top, right, bottom = placement.box
    width, height = placement.scaled
    inner = (max(0, left), max(0, top), min(width, right), min(height, bottom))
    if inner != (0, 0, width, height):
        image = image.crop(inner)
    margins = (max(0, -left), max(0, -top), max(0, right - width), max(0, bottom - height))
    return _extend_edges(image, margins) if any(margins) else image


def _extend_edges(image: Image.Image, margins: tuple[int, int, int, int]) -> Image.Image:
    import numpy as np  # what plans asks for digests and headers only

    left, top, right, bottom = margins
    pixels = np.pad(np.asarray(image), ((top, bottom), (left, right), (0, 0)), mode="edge")
    return Image.fromarray(pixels)


def picture_digest(image: Image.Image) -> str:
    """SHA-256 of a picture's mode, size and pixels: equal pixels, equal digest."""
    header = f"{image.mode} {image.width}x{image.height}\n".encode()
    return hashlib.sha256(header + image.tobytes()).hexdigest()
