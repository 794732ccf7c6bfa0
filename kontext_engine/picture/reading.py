"""A file's bytes to RGB, 8 bits a channel, in sRGB, upright, on white.

How a kind of source is read is decided from its header alone (``kontext_engine.picture.facts``).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageFile

from kontext_engine.errors import PictureError
from kontext_engine.geometry import MAX_PIXELS
from kontext_engine.picture.facts import Reading, header_of, plan_reading, read_bytes
from kontext_engine.picture.formats import first_line, open_image
from kontext_engine.picture.header import Header, Space
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

_WHITE = (255, 255, 255, 255)


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
    data = source if isinstance(source, bytes) else read_bytes(Path(source), label)
    with open_image(data, label, max_pixels) as image:
        header = header_of(image, data, label)
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
