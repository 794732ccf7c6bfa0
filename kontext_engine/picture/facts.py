"""What must be known of a picture before it is decoded, from its header alone.

How a kind of source is read is decided here (``plan_reading``), so that a key can name it. Without
a colour profile in the file nothing of this needs numpy.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import ExifTags, ImageFile

from kontext_engine.errors import PictureError
from kontext_engine.geometry import Size
from kontext_engine.picture.formats import first_line, open_image
from kontext_engine.picture.header import Header, Space, read_header

if TYPE_CHECKING:
    from kontext_engine.picture.profile import Profile

# Of what ``picture_facts`` tells: raise it with every change to that, so that nothing remembered
# of a file by an earlier release is taken for current.
FACTS_VERSION = 1

_LYING = range(5, 9)  # EXIF orientations that exchange the sides
# Of which colour spaces a profile is used for samples of each; another says nothing of them.
_SPOKEN = {
    Space.GREY: ("GRAY", "RGB"),
    Space.RGB: ("RGB",),
    Space.YCBCR: ("RGB",),
    Space.CMYK: ("CMYK",),
    Space.LAB: ("Lab",),
}


@dataclass(frozen=True, slots=True)
class Reading:
    """How a kind of source is read; ``full``: its profile takes samples at their full depth,
    and colour by colour where LittleCMS's table of the way is too coarse.

    ``version`` is 1 for every kind of which no picture was ever read otherwise.
    """

    profile: Profile | None = None
    full: bool = False
    version: int = 1


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """What a file's header tells: the version of how its kind is read, and its size when upright.

    Both are unknown (1 and none) of a file that cannot be read: it has no pixels to be named.
    """

    reading: int = 1
    size: Size | None = None


def picture_facts(source: Path | str | bytes) -> PictureFacts:
    """What must be known of a picture before it is decoded.

    A step's key holds the version of how its kind is read where that is above 1. Kinds differ by
    mode, depth, profile and transparency, all told by the header.
    """
    try:
        data = source if isinstance(source, bytes) else read_bytes(Path(source), "")
        with open_image(data, "", max_pixels=1 << 62) as image:
            reading = plan_reading(header_of(image, data, "")).version
            return PictureFacts(reading, _upright_size(image))
    except PictureError:
        return PictureFacts()


def _upright_size(image: ImageFile.ImageFile) -> Size:
    width, height = image.size
    if image.format == "PNG" and "exif" not in image.info:
        return Size(width, height)  # looking further would decode the picture
    with suppress(Exception):  # EXIF is untrusted too; unreadable, it turns nothing
        if image.getexif().get(ExifTags.Base.Orientation) in _LYING:
            return Size(height, width)
    return Size(width, height)


def plan_reading(header: Header) -> Reading:
    """How a picture of this header is read."""
    rescaled = header.space is Space.GREY and (header.white_is_zero or header.bits in (12, 32))
    keyed = header.key is not None and header.bits in (2, 4, 16)
    refused = header.signed or header.torn  # but once read, to pixels that no key may find again
    version = 2 if rescaled or keyed or refused or header.space is Space.LAB else 1
    profile = _profile(header)
    if profile is None or profile.space not in _SPOKEN[header.space]:
        return Reading(version=version)
    grey = header.space is Space.GREY
    steps = (1 << min(header.bits, 8)) - 1
    greys = [value * 255 // steps for value in range(steps + 1)]
    silent = profile.leaves_greys(greys) if grey else profile.is_srgb()
    # Where version 1 is right to one level, reading goes on as it was, and keys stay.
    if not _was_applied(header, profile):
        if silent:
            return Reading(version=version)
    elif (silent or not header.deep) and (not grey or profile.is_smooth(greys)):
        return Reading(profile, version=version)
    return Reading(profile, grey or header.deep, version=2)


def _profile(header: Header) -> Profile | None:
    if not header.profile:
        return None
    from kontext_engine.picture.profile import profile_of

    return profile_of(header.profile)


def _was_applied(header: Header, profile: Profile) -> bool:
    """Whether reading version 1 came to use this profile, at 8 bits and after expanding greys."""
    if not header.told or header.space is Space.YCBCR:
        return False
    if header.space is not Space.GREY:
        return True
    if header.mode == "L" and not header.transparent:
        return profile.space == "GRAY"
    return header.transparent and profile.space == "RGB" and not header.mode.startswith("I")


def read_bytes(path: Path, label: str) -> bytes:
    """A file's bytes.

    Raises:
        PictureError: missing, or it cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise PictureError(f"{label}: no such file") from error
    except OSError as error:
        raise PictureError(f"{label}: cannot be read ({error.strerror or error})") from error


def header_of(image: ImageFile.ImageFile, data: bytes, label: str) -> Header:
    """The header of an opened picture.

    Raises:
        PictureError: it is damaged.
    """
    try:
        return read_header(image, data)
    except Exception as error:  # of untrusted data
        raise PictureError(f"{label}: damaged picture ({first_line(error)})") from error
