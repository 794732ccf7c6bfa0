"""A file's bytes to RGB, 8 bits a channel, in sRGB, upright, on white.

How a kind of source is read is decided from its header alone (``plan_reading``), so that a key can
name it before anything is decoded.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageFile

from kontext_engine.errors import PictureError
from kontext_engine.geometry import MAX_PIXELS, Size
from kontext_engine.picture.formats import first_line, open_image
from kontext_engine.picture.header import Header, Space, read_header
from kontext_engine.picture.profile import Profile, profile_of
from kontext_engine.picture.samples import (
    Bytes,
    Decode,
    Words,
    deep_samples,
    grey_levels,
    grey_samples,
    to_eight,
    upright,
)

# Of what ``picture_facts`` tells: raise it with every change to that, so that nothing remembered
# of a file by an earlier release is taken for current.
FACTS_VERSION = 1

_WHITE = (255, 255, 255, 255)
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


def open_picture(
    source: Path | str | bytes,
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
    *,
    flat: bool = True,
) -> Image.Image:
    """Read a picture as RGB, 8 bits a channel, in sRGB; unless ``flat``, RGBA where it has alpha.

    EXIF orientation is applied; embedded profiles, and Adobe RGB where only EXIF names it, are
    converted to sRGB from the samples' own space and depth; ``flat``, transparency is on white;
    samples are scaled by the file's own bits; of an animation the first frame is taken. The
    result carries no metadata.

    Args:
        source: a file's path, or its bytes.
        name: what to call the picture in errors; a path calls itself.
        max_pixels: a larger picture is refused unopened.

    Raises:
        PictureError: missing, unreadable, not a picture, truncated, too large, or of samples
            without an agreed black and white.
    """
    label = name or ("the picture" if isinstance(source, bytes) else str(source))
    data = source if isinstance(source, bytes) else _read(Path(source), label)
    with open_image(data, label, max_pixels) as image:
        header = _header(image, data, label)
        _check_samples(header, label)
        decoded = _decoded(image, label)

    def decode(layout: str) -> Image.Image:
        with open_image(data, label, max_pixels) as again:
            return _decoded(again, label, layout)

    try:
        colours, alpha = _converted(decoded, header, plan_reading(header), decode)
        if alpha is None:
            return _bare(colours)
        return _bare(_flattened(colours, alpha)) if flat else _with_alpha(_bare(colours), alpha)
    except PictureError:
        raise
    except Exception as error:  # Pillow has no conversion between some of its modes
        raise PictureError(
            f"{label}: this {header.format} picture (mode {header.mode}, {header.bits} bits) "
            f"cannot be converted ({first_line(error)}); save it as RGB with 8 bits a channel"
        ) from error


def picture_facts(source: Path | str | bytes) -> PictureFacts:
    """What must be known of a picture before it is decoded.

    A step's key holds the version of how its kind is read where that is above 1. Kinds differ by
    mode, depth, profile and transparency, all told by the header.
    """
    try:
        data = source if isinstance(source, bytes) else _read(Path(source), "")
        with open_image(data, "", max_pixels=1 << 62) as image:
            reading = plan_reading(_header(image, data, "")).version
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
    profile = profile_of(header.profile) if header.profile else None
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


def _was_applied(header: Header, profile: Profile) -> bool:
    """Whether reading version 1 came to use this profile, at 8 bits and after expanding greys."""
    if not header.told or header.space is Space.YCBCR:
        return False
    if header.space is not Space.GREY:
        return True
    if header.mode == "L" and not header.transparent:
        return profile.space == "GRAY"
    return header.transparent and profile.space == "RGB" and not header.mode.startswith("I")


def _read(path: Path, label: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise PictureError(f"{label}: no such file") from error
    except OSError as error:
        raise PictureError(f"{label}: cannot be read ({error.strerror or error})") from error


def _header(image: ImageFile.ImageFile, data: bytes, label: str) -> Header:
    try:
        return read_header(image, data)
    except Exception as error:  # of untrusted data
        raise PictureError(f"{label}: damaged picture ({first_line(error)})") from error


def _check_samples(header: Header, label: str) -> None:
    """Refuse samples that would be read wrongly."""
    if header.torn:
        raise PictureError(
            f"{label}: its channels of {header.bits} bits lie apart, which cannot be read; save "
            "it with interleaved channels, or with 8 bits"
        )
    kind = "floating-point" if header.mode == "F" else "signed" if header.signed else None
    if kind is not None:
        raise PictureError(
            f"{label}: {kind} pixels have no agreed white; save it with 8 or 16 bits"
        )


def _decoded(image: ImageFile.ImageFile, label: str, layout: str | None = None) -> Image.Image:
    """The upright picture; its samples laid out as named, where that is not the file's word."""
    try:
        image.seek(0)
        if layout is not None:
            image.tile = [
                tile._replace(
                    args=(layout, *tile.args[1:]) if isinstance(tile.args, tuple) else layout
                )
                for tile in image.tile
            ]
        image.load()
        return upright(image)
    except Exception as error:  # Pillow's decoders raise nearly anything on broken data
        raise PictureError(
            f"{label}: damaged {image.format} picture ({first_line(error)}); "
            "export it again from its source"
        ) from error


def _converted(
    image: Image.Image, header: Header, reading: Reading, decode: Decode
) -> tuple[Image.Image, Bytes | None]:
    """A decoded picture's colours in sRGB, and its alpha."""
    if header.space is Space.GREY and header.mode.startswith("I"):
        table = reading.profile.grey_table() if reading.profile else None
        samples = grey_samples(image, header.bits, header.white_is_zero)
        colours = grey_levels(samples, min(header.bits, 16), table)
        return Image.fromarray(colours).convert("RGB"), _keyed(samples[..., None], header)
    if header.deep and (reading.full or header.key is not None):
        return _from_deep(image, header, reading, decode)
    return _from_eight(image, header, reading)


def _from_deep(
    image: Image.Image, header: Header, reading: Reading, decode: Decode
) -> tuple[Image.Image, Bytes | None]:
    samples, alpha = deep_samples(decode, header.raw)
    eight = _keyed(samples, header) if alpha is None else to_eight(alpha, 16)
    if reading.profile is None or not reading.full:
        return _in_srgb(image.convert("RGB"), reading.profile), eight
    if header.space is Space.GREY:
        table = reading.profile.grey_table()
        return Image.fromarray(grey_levels(samples[..., 0], 16, table)).convert("RGB"), eight
    return reading.profile.deep_to_srgb(samples) or image.convert("RGB"), eight


def _keyed(samples: Words, header: Header) -> Bytes | None:
    if header.key is None:
        return None
    return np.where((samples == np.array(header.key)).all(axis=-1), 0, 255).astype(np.uint8)


def _from_eight(
    image: Image.Image, header: Header, reading: Reading
) -> tuple[Image.Image, Bytes | None]:
    alpha, profile = None, reading.profile
    if header.transparent:
        if header.key is not None and header.bits in (2, 4):  # the key is not scaled as the rest
            image.info["transparency"] = header.key[0] * 255 // ((1 << header.bits) - 1)
        image = image.convert("LA") if image.mode == "La" else image
        alpha = np.asarray(image.convert("RGBA").getchannel("A"))
    if header.space is Space.LAB:
        return _from_lab(image, profile), alpha
    if header.space is Space.GREY and profile is not None:
        if reading.full:
            levels = np.asarray(image.convert("L")).astype(np.uint16)
            return Image.fromarray(grey_levels(levels, 8, profile.grey_table())), alpha
        if profile.space == "GRAY":
            return _in_srgb(image.convert("L"), profile), alpha
    if header.space is not Space.CMYK:
        image = (image.convert("RGBA") if header.transparent else image).convert("RGB")
    return _in_srgb(image, profile), alpha


def _in_srgb(image: Image.Image, profile: Profile | None) -> Image.Image:
    """By the profile; without one, or where it cannot, the numbers are all there is."""
    made = profile.to_srgb(image) if profile is not None else None
    return image.convert("RGB") if made is None else made


def _from_lab(image: Image.Image, profile: Profile | None) -> Image.Image:
    made = profile.to_srgb(image, exact=True) if profile is not None else None
    if made is None:
        own = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        made = profile_of(own.tobytes()).to_srgb(image, exact=True)
    if made is None:
        raise ValueError("L*a*b* cannot be taken to sRGB here")
    return made


def _flattened(colours: Image.Image, alpha: Bytes) -> Image.Image:
    canvas = Image.new("RGBA", colours.size, _WHITE)
    return Image.alpha_composite(canvas, _with_alpha(colours, alpha)).convert("RGB")


def _with_alpha(colours: Image.Image, alpha: Bytes) -> Image.Image:
    colours = colours.copy()
    colours.putalpha(Image.fromarray(alpha))
    return colours


def _bare(image: Image.Image) -> Image.Image:
    """The pixels alone: metadata must neither reach a key nor leave in an output."""
    return Image.frombytes("RGB", image.size, image.tobytes())
