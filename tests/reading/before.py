"""Reading version 1, frozen: the function as it was before there were versions."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from kontext_engine.errors import PictureError
from kontext_engine.geometry import Size

MAX_PIXELS = 80_000_000  # below Pillow's own warning; far above any camera's useful detail here
# Leaves out EPS, PDF and the like, which Pillow hands to other programs.
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "PPM", "TGA")

_WHITE = (255, 255, 255, 255)
_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_SIXTEEN_BIT = frozenset({"I", "I;16", "I;16L", "I;16B", "I;16N"})


def open_picture(source: Path | str | bytes, name: str | None = None) -> Image.Image:
    """Read a picture as RGB, 8 bits a channel, in sRGB.

    EXIF orientation is applied; embedded profiles (CMYK ones too) are converted to sRGB;
    transparency is flattened on white; 16-bit grey is scaled to 8 bits; of an animation the first
    frame is taken. The result carries no metadata.

    Args:
        source: a file's path, or its bytes.
        name: what to call the picture in errors; a path calls itself.

    Raises:
        PictureError: missing, unreadable, not a picture, truncated, or over 80 million pixels.
    """
    label = name or ("the picture" if isinstance(source, bytes) else str(source))
    data = source if isinstance(source, bytes) else _read(Path(source), label)
    if not data:
        raise PictureError(f"{label}: the file is empty; export the picture again")
    with _identify(io.BytesIO(data), label) as image:
        _check_size(Size(*image.size), label)
        try:
            image.seek(0)
            image.load()
            upright = ImageOps.exif_transpose(image)
        except Exception as error:  # Pillow's decoders raise nearly anything on broken data
            raise PictureError(
                f"{label}: damaged {image.format} picture ({_first_line(error)}); "
                "export it again from its source"
            ) from error
        return _bare(_to_srgb(upright, label))


def _read(path: Path, label: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise PictureError(f"{label}: no such file") from error
    except OSError as error:
        raise PictureError(f"{label}: cannot be read ({error.strerror or error})") from error


def _identify(stream: io.BytesIO, label: str) -> Image.Image:
    known = [format_ for format_ in FORMATS if format_ in _registered()]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return Image.open(stream, formats=known)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PictureError(_too_large(label)) from error
    except UnidentifiedImageError as error:
        raise PictureError(
            f"{label}: not a picture that can be read; expected one of {', '.join(FORMATS)}; "
            "export it as one of them"
        ) from error
    except Exception as error:  # as above: header parsers of untrusted data
        raise PictureError(f"{label}: damaged picture ({_first_line(error)})") from error


def _registered() -> frozenset[str]:
    Image.init()
    return frozenset(Image.OPEN)


def _check_size(size: Size, label: str) -> None:
    if size.area > MAX_PIXELS:
        raise PictureError(f"{_too_large(label)} (it is {size})")


def _too_large(label: str) -> str:
    return (
        f"{label}: more than {MAX_PIXELS // 1_000_000} million pixels, refused unopened; "
        "scale it down first"
    )


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__


def _to_srgb(image: Image.Image, label: str) -> Image.Image:
    """Colours to sRGB and transparency to white; ``image`` is loaded, in any mode."""
    if image.mode in _SIXTEEN_BIT:
        return _from_sixteen_bit(image).convert("RGB")
    if image.mode == "F":
        raise PictureError(
            f"{label}: floating-point pixels have no agreed white; save it with 8 or 16 bits"
        )
    alpha = None
    if image.has_transparency_data:
        profile = image.info.get("icc_profile")
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        image = image.convert("RGB")
        image.info["icc_profile"] = profile
    elif image.mode == "P":
        profile = image.info.get("icc_profile")
        image = image.convert("RGB")
        image.info["icc_profile"] = profile
    colours = _apply_profile(image)
    if alpha is None:
        return colours
    canvas = Image.new("RGBA", colours.size, _WHITE)
    colours.putalpha(alpha)
    return Image.alpha_composite(canvas, colours).convert("RGB")


def _from_sixteen_bit(image: Image.Image) -> Image.Image:
    values = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _apply_profile(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if image.mode == "LAB" and not profile:
        source = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    elif profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        except (OSError, ImageCms.PyCMSError):
            return image.convert("RGB")  # a broken profile: the numbers are all there is
    else:
        return image.convert("RGB")
    try:
        converted = ImageCms.profileToProfile(image, source, _SRGB, outputMode="RGB")
    except (ValueError, ImageCms.PyCMSError):
        return image.convert("RGB")  # the profile is of another colour space than the pixels
    return converted if converted is not None else image


def _bare(image: Image.Image) -> Image.Image:
    """The pixels alone: metadata must neither reach a key nor leave in an output."""
    return Image.frombytes("RGB", image.size, image.tobytes())
