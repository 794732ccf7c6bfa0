"""A picture brought to a file's size: cropped, padded over a ground, fitted inside or stretched."""

from __future__ import annotations

from PIL import Image, ImageColor, ImageFilter

from flows.plan.filing import BLUR
from flows.plan.step import Shape
from kontext_engine.geometry import Fit, Size, place
from kontext_engine.picture import place_picture

_BLUR = 24  # of the longer side is the radius


def shaped(picture: Image.Image, shape: Shape) -> Image.Image:
    """The picture (RGB or RGBA) as it goes into the file."""
    size = shape.size
    if size is None:
        return picture
    own = Size(*picture.size)
    if shape.fit in ("crop", "stretch"):
        return place_picture(picture, place(own, size, Fit(shape.fit)))
    small = picture.resize(place(own, size, Fit.PAD).scaled, Image.Resampling.LANCZOS)
    if shape.fit == "inside":
        return small
    canvas = _ground(picture, shape, size)
    at = (size.width - small.width) // 2, (size.height - small.height) // 2
    if small.mode == "RGBA":
        canvas.alpha_composite(small, at)
    else:
        canvas.paste(small, at)
    return canvas


def _ground(picture: Image.Image, shape: Shape, size: Size) -> Image.Image:
    if shape.ground == BLUR:
        cover = place_picture(picture, place(Size(*picture.size), size, Fit.CROP))
        return cover.filter(ImageFilter.GaussianBlur(max(size) / _BLUR))
    return Image.new(picture.mode, size, ImageColor.getrgb(shape.ground))
