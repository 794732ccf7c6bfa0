"""Pictures as files: each format's encoder, with an sRGB tag and what the file tells inside."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from flows.plan.step import Format, Shape
from kontext_engine.picture.profile import srgb

MEDIA_TYPES: Mapping[str, str] = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "avif": "image/avif",
    "tiff": "image/tiff",
    "pdf": "application/pdf",
    "html": "text/html",
}
PILLOW_FORMATS: Mapping[str, Format] = {
    "PNG": "png", "JPEG": "jpeg", "WEBP": "webp", "AVIF": "avif", "TIFF": "tiff",
}  # fmt: skip
_XMP_TAG, _BYTES = 700, 1  # of TIFF: where XMP is, and of which type
_PERCEPTUAL = b"\0"  # the intent in PNG's sRGB chunk
_WHOLE = "4:4:4"


def encoded(picture: Image.Image, kind: Format, quality: int, shape: Shape, xmp: bytes) -> bytes:
    """The bytes of a file: the picture (RGB or RGBA, in sRGB) at its own size."""
    buffer = io.BytesIO()
    _ENCODERS[kind](picture, buffer, quality, shape, xmp)
    return buffer.getvalue()


def _png(picture: Image.Image, to: io.BytesIO, quality: int, shape: Shape, xmp: bytes) -> None:  # noqa: ARG001
    info = PngInfo()
    info.add(b"sRGB", _PERCEPTUAL)
    if xmp:
        info.add_itxt("XML:com.adobe.xmp", xmp.decode())
    picture.save(to, "PNG", pnginfo=info, optimize=False)


def _jpeg(picture: Image.Image, to: io.BytesIO, quality: int, shape: Shape, xmp: bytes) -> None:
    # Full chroma: product colours and small type suffer visibly from the usual halving.
    chroma = shape.chroma or _WHOLE
    picture.save(
        to, "JPEG", quality=quality, subsampling=chroma, optimize=True, **_told(xmp)
    )  # fmt: skip


def _webp(picture: Image.Image, to: io.BytesIO, quality: int, shape: Shape, xmp: bytes) -> None:
    if shape.lossless:  # exact: colours below what is transparent stay, too
        picture.save(to, "WEBP", lossless=True, exact=True, method=4, **_told(xmp))
        return
    picture.save(to, "WEBP", quality=quality, method=4, **_told(xmp))


def _avif(picture: Image.Image, to: io.BytesIO, quality: int, shape: Shape, xmp: bytes) -> None:
    chroma = shape.chroma or _WHOLE
    # One thread: more of them make other bytes.
    picture.save(
        to, "AVIF", quality=quality, subsampling=chroma, max_threads=1, speed=6, **_told(xmp)
    )  # fmt: skip


def _tiff(picture: Image.Image, to: io.BytesIO, quality: int, shape: Shape, xmp: bytes) -> None:  # noqa: ARG001
    tags = ImageFileDirectory_v2()
    if xmp:
        tags[_XMP_TAG] = xmp
        tags.tagtype[_XMP_TAG] = _BYTES
    picture.save(to, "TIFF", compression="tiff_adobe_deflate", tiffinfo=tags, icc_profile=srgb())


def _told(xmp: bytes) -> dict[str, Any]:
    return {"icc_profile": srgb(), **({"xmp": xmp} if xmp else {})}


_Encoder = Callable[[Image.Image, io.BytesIO, int, Shape, bytes], None]
_ENCODERS: Mapping[str, _Encoder] = {
    "png": _png, "jpeg": _jpeg, "webp": _webp, "avif": _avif, "tiff": _tiff,
}  # fmt: skip
