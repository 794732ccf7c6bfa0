"""What a picture's file says of its samples before any is decoded."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from PIL import ExifTags, ImageFile

from kontext_engine.picture.formats import file_profile

_BITS, _PHOTOMETRIC, _PLANAR, _SAMPLE_FORMAT = 258, 262, 284, 339  # TIFF's tags
_SIGNED = 2
_UNCALIBRATED = 0xFFFF


class Space(StrEnum):
    """What the samples are amounts of; a profile speaks of one of them."""

    GREY = "GRAY"
    RGB = "RGB"
    YCBCR = "YCbr"
    CMYK = "CMYK"
    LAB = "Lab"


_SPACES = {
    "1": Space.GREY, "L": Space.GREY, "LA": Space.GREY, "La": Space.GREY, "I": Space.GREY,
    "I;16": Space.GREY, "I;16L": Space.GREY, "I;16B": Space.GREY, "I;16N": Space.GREY,
    "F": Space.GREY, "CMYK": Space.CMYK, "YCbCr": Space.YCBCR, "LAB": Space.LAB,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Header:
    """A file's mode (Pillow's), and what that does not say.

    ``bits`` are of a sample as the file has it. ``raw`` is Pillow's word for the samples' layout,
    where there is one for the whole picture. ``white_is_zero`` and ``signed`` are set where
    decoding does not already see to it; ``torn`` where it would tear samples apart. ``apart``:
    each channel lies on a plane of its own. ``key`` is a transparent colour, in the file's own
    samples. ``told``: Pillow itself hands the profile out; else it is one that EXIF names, or from
    where Pillow does not look.
    """

    format: str
    mode: str
    space: Space
    bits: int
    raw: str = ""
    white_is_zero: bool = False
    signed: bool = False
    apart: bool = False
    torn: bool = False
    transparent: bool = False
    key: tuple[int, ...] | None = None
    profile: bytes | None = None
    told: bool = True

    @property
    def deep(self) -> bool:
        """Whether more than 8 bits of each of several channels can be had by ``samples``."""
        together = ";16" in self.raw and not self.apart
        return self.bits == 16 and together and self.mode in ("RGB", "RGBA")


def read_header(image: ImageFile.ImageFile, data: bytes) -> Header:
    """The header of an opened, not yet decoded picture."""
    raw = _raw(image)
    tags = getattr(image, "tag_v2", {})
    space = _SPACES.get(image.mode, Space.RGB)
    if raw.startswith("LA;16"):
        space = Space.GREY  # Pillow has no such mode: it decodes to RGBA
    bits = _bits(image, raw, tags)
    apart = tags.get(_PLANAR) == 2 and len(image.getbands()) > 1
    told = image.info.get("icc_profile")
    return Header(
        format=str(image.format),
        mode=image.mode,
        space=space,
        bits=bits,
        raw=raw,
        white_is_zero=tags.get(_PHOTOMETRIC) == 0 and bits > 8,
        signed=_SIGNED in _values(tags.get(_SAMPLE_FORMAT, ())),
        apart=apart,
        torn=bits > 8 and ((apart and len(raw) == 1) or _too_long(image)),
        transparent=bool(image.has_transparency_data),
        key=_key(image),
        profile=told or file_profile(data) or _named_profile(image),
        told=bool(told),
    )


def _raw(image: ImageFile.ImageFile) -> str:
    """The layout's name; that of the whole only, not of single planes."""
    if not image.tile:
        return ""
    args: Any = image.tile[0][3]
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def _bits(image: ImageFile.ImageFile, raw: str, tags: Any) -> int:
    if tags:
        return max(_values(tags.get(_BITS, (1,))), default=1)
    if image.format == "PNG" and raw.startswith("L;"):
        return int(raw[2:])
    if _too_long(image) or ";16" in raw or image.mode.startswith("I"):
        return 16
    return 1 if image.mode == "1" else 32 if image.mode == "F" else 8


def _too_long(image: ImageFile.ImageFile) -> bool:
    """Whether the JPEG XL plugin, which decodes at once, has more bytes than its mode takes."""
    decoded = getattr(image, "_data", None) if image.format == "JXL" else None
    width = {"I;16": 2, "F": 4}.get(image.mode, len(image.getbands()))
    return decoded is not None and len(decoded) > image.width * image.height * width


def _values(tag: Any) -> tuple[int, ...]:
    return tuple(tag) if isinstance(tag, tuple) else (tag,)


def _key(image: ImageFile.ImageFile) -> tuple[int, ...] | None:
    key = image.info.get("transparency")
    if image.mode in ("L", "I;16", "RGB") and image.format == "PNG" and key is not None:
        return key if isinstance(key, tuple) else (int(key),)
    return None


def _named_profile(image: ImageFile.ImageFile) -> bytes | None:
    """Adobe RGB where EXIF says so: cameras name it and embed nothing."""
    if image.format == "PNG" and "exif" not in image.info:
        return None  # looking further would decode the picture
    with suppress(Exception):  # EXIF is untrusted too; without its word the numbers are sRGB
        exif = image.getexif()
        colour = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.ColorSpace)
        name = exif.get_ifd(ExifTags.IFD.Interop).get(1)
        if colour == _UNCALIBRATED and str(name).strip("\0 ") == "R03":
            from kontext_engine.picture.profile import adobe_rgb

            return adobe_rgb()
    return None
