"""Every mode, depth, profile and container that Pillow opens here, and the colours it means.

A case is a file of ten patches (``SIDE`` pixels each, side by side) and what each patch means in
sRGB on white, 0..1, by plain arithmetic from the numbers in the file: nothing of the engine, of
Pillow or of LittleCMS decides it, but for CMYK with a profile, whose table only a colour engine
interpolates (there: LittleCMS by ``ImageCms``, called here).
"""

import importlib
import io
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from tests.reading import icc
from tests.reading.files import bmp5, jp2_with_profile, png, tiff

SIDE = 16  # a chroma block of JPEG
COLOURS = np.array([
    [0, 0, 0], [1, 1, 1], [.5, .5, .5], [1, 0, 0], [0, 1, 0], [0, 0, 1],
    [.2, .4, .6], [.9, .7, .1], [.0207, .0113, .0308], [.3325, .6643, .9981],
])  # fmt: skip
GREYS = np.array([0, 1, 0.5, 0.004, 0.0213, 0.1027, 0.2, 0.3325, 0.6643, 0.9])
ALPHAS = np.array([1, 1, 0.5, 0.5, 1, 0, 1, 0.25, 1, 0.75])
LAB = np.array([[0, 0, 0], [100, 0, 0], [50, 0, 0], [54, 81, 70], [88, -79, 81], [60, -8, -20],
                [40, 20, -30], [75, 5, 70], [5, 1, 2], [90, -10, -8]])  # fmt: skip

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LINEAR = icc.rgb_profile(icc.SRGB, 1.0)
ADOBE = icc.rgb_profile(icc.ADOBE, 563 / 256)
PROPHOTO = icc.rgb_profile(icc.PROPHOTO, 1.8)
GREY_18, GREY_LINEAR = icc.grey_profile(1.8), icc.grey_profile(1.0)
PRESS = icc.cmyk_profile()
BROKEN = b"no profile at all" * 10
RGB_PROFILES = {
    "plain": (None, lambda u: u),
    "srgb": (SRGB, lambda u: u),
    "linear": (LINEAR, lambda u: icc.by_matrix(u, icc.SRGB, 1.0)),
    "adobe": (ADOBE, lambda u: icc.by_matrix(u, icc.ADOBE, 563 / 256)),
    "prophoto": (PROPHOTO, lambda u: icc.by_matrix(u, icc.PROPHOTO, 1.8)),
    "broken": (BROKEN, lambda u: u),
    "of-cmyk": (PRESS, lambda u: u),
}
GREY_PROFILES = {
    "plain": (None, lambda g: np.repeat(g[:, None], 3, axis=1)),
    "grey-1.8": (GREY_18, lambda g: icc.by_grey(g, 1.8)),
    "grey-linear": (GREY_LINEAR, lambda g: icc.by_grey(g, 1.0)),
    **{
        f"rgb-{name}": (content, lambda g, convert=convert: convert(np.repeat(g[:, None], 3, 1)))
        for name, (content, convert) in RGB_PROFILES.items()
        if name in ("srgb", "adobe", "linear")
    },
    "broken": (BROKEN, lambda g: np.repeat(g[:, None], 3, axis=1)),
}


@dataclass(frozen=True)
class Case:
    """A file to be made, its patches' colours, how far a reading may be off, in levels."""

    name: str
    make: Callable[[], bytes]
    expected: np.ndarray
    tolerance: float
    peer: bool = True  # whether ImageMagick means the same by such a file

    @property
    def container(self):
        return self.name.split()[0]

    @property
    def profiled(self):
        return not {"plain", "broken"} & set(self.name.split())


# How far a reading may lie from the exact colour, in levels of 255, and why.
EXACT = 0.51  # the nearest level
HIGH_BYTE = 1.01  # of 16 bits Pillow keeps the high byte: up to one level too dark
CONVERTED = 1.6  # LittleCMS at 8 bits: it rounds its table, the result, and s15Fixed16 constants
BLENDED = 1.1  # on top, where alpha (rounded to 8 bits) mixes colours that were rounded
HELD = 2.0  # on top, where a colour was held multiplied by alpha, in 8 bits, and is divided again


def whole(units, bits):
    """Units as whole samples of so many bits, and what these then mean."""
    top = (1 << bits) - 1
    samples = np.rint(np.asarray(units) * top).astype(np.uint64)
    return samples, samples / top


def spread(samples):
    """One value (n, ...) a patch as a picture (SIDE, n * SIDE, channels)."""
    row = np.repeat(samples.reshape(len(samples), -1), SIDE, axis=0)
    return np.repeat(row[None], SIDE, axis=0)


def on_white(colours, alphas):
    return colours * alphas[:, None] + (1 - alphas[:, None])


def saved(mode, samples, format_, **options):
    """By Pillow's own writer."""
    pixels = spread(samples)
    pixels = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    dtype = np.uint16 if mode == "I;16" else np.uint8
    shape = pixels.shape[1], pixels.shape[0]
    image = Image.frombytes("L" if mode == "1" else mode, shape, pixels.astype(dtype).tobytes())
    image = image.convert(mode)
    if mode == "P":
        image.putpalette(whole(COLOURS, 8)[0].astype(np.uint8).tobytes())
    stream = io.BytesIO()
    image.save(stream, format_, **{k: v for k, v in options.items() if v is not None})
    return stream.getvalue()


def plugins():
    """The extras that are installed, and so in the table."""
    found = []
    for name, module in (("HEIF", "HeifImagePlugin"), ("JXL", "JpegXLImagePlugin")):
        with suppress(ImportError):
            importlib.import_module(f"pillow_{name.lower()}.{module}")
            found.append(name)
    return found


@lru_cache(maxsize=1)
def cases():
    """The whole table."""
    return [
        *_png(),
        *_tiff_grey(),
        *_tiff_colour(),
        *_tiff_spaces(),
        *_saved(),
        *_named(),
        *_jpegxl(),
    ]


def _tolerance(bits, name, convert_deep=False):
    plain = name in ("plain", "broken", "of-cmyk")
    if bits == 16 and not convert_deep and (plain or name.endswith("srgb")):
        return HIGH_BYTE
    return EXACT if plain else CONVERTED


def _png():
    for bits in (1, 2, 4, 8, 16):
        samples, units = whole(GREYS, bits)
        for name, (content, convert) in GREY_PROFILES.items():
            colours, near = convert(units), _tolerance(8, name)
            # libpng, and so ImageMagick, drops an RGB profile of a grey file.
            peer = not name.startswith("rgb")
            yield Case(
                f"PNG grey {bits} {name}",
                lambda s=samples, b=bits, c=content: png(spread(s), b, 0, icc=c),
                colours, near, peer,
            )  # fmt: skip
            key = int(samples[7])
            seen = np.where(samples == key, 0.0, 1.0)
            trns = (b"tRNS", key.to_bytes(2, "big"))
            yield Case(
                f"PNG grey {bits} {name} key",
                lambda s=samples, b=bits, c=content, t=trns: png(spread(s), b, 0, icc=c, chunks=[t]),  # noqa: E501
                on_white(colours, seen), near, peer,
            )  # fmt: skip
    for bits in (8, 16):
        samples, units = whole(np.stack([GREYS, ALPHAS], axis=1), bits)
        for name, (content, convert) in GREY_PROFILES.items():
            yield Case(
                f"PNG grey-alpha {bits} {name}",
                lambda s=samples, b=bits, c=content: png(spread(s), b, 4, icc=c),
                on_white(convert(units[:, 0]), units[:, 1]),
                _tolerance(bits, name) + BLENDED, not name.startswith("rgb"),
            )  # fmt: skip
        samples, units = whole(COLOURS, bits)
        key = b"".join(int(value).to_bytes(2, "big") for value in samples[8])
        seen = np.where((samples == samples[8]).all(axis=1), 0.0, 1.0)
        four = np.concatenate([COLOURS, ALPHAS[:, None]], axis=1)
        four_samples, four_units = whole(four, bits)
        for name, (content, convert) in RGB_PROFILES.items():
            near = _tolerance(bits, name)
            yield Case(
                f"PNG rgb {bits} {name}",
                lambda s=samples, b=bits, c=content: png(spread(s), b, 2, icc=c),
                convert(units), near, name != "of-cmyk",
            )  # fmt: skip
            yield Case(
                f"PNG rgb {bits} {name} key",
                lambda s=samples, b=bits, c=content, k=key: png(
                    spread(s), b, 2, icc=c, chunks=[(b"tRNS", k)]
                ),
                on_white(convert(units), seen), near, name != "of-cmyk",
            )  # fmt: skip
            yield Case(
                f"PNG rgba {bits} {name}",
                lambda s=four_samples, b=bits, c=content: png(spread(s), b, 6, icc=c),
                on_white(convert(four_units[:, :3]), four_units[:, 3]),
                near + BLENDED, name != "of-cmyk",
            )  # fmt: skip
    samples, units = whole(COLOURS, 8)
    for bits in (4, 8):
        for name, (content, convert) in RGB_PROFILES.items():
            palette = (b"PLTE", samples.astype(np.uint8).tobytes())
            seen, seen_units = whole(ALPHAS, 8)
            for clear in (False, True):
                chunks = [palette, (b"tRNS", seen.astype(np.uint8).tobytes())]
                yield Case(
                    f"PNG palette {bits} {name}{' clear' * clear}",
                    lambda b=bits, c=content, p=chunks[: 1 + clear]: png(
                        spread(np.arange(10)), b, 3, icc=c, chunks=p
                    ),
                    on_white(convert(units), seen_units) if clear else convert(units),
                    _tolerance(8, name) + BLENDED * clear, name != "of-cmyk",
                )  # fmt: skip


def _tiff_grey():
    for order in "<>":
        for bits in (1, 2, 4, 8, 12, 16, 32):
            for zero in (0, 1):
                for deflated in (False, True):
                    if (order == ">" and (bits in (12, 32) or (bits, zero) == (16, 0))) or (
                        bits in (12, 32) and zero == 0
                    ):
                        continue  # Pillow opens no such file: see the refused ones
                    samples, units = whole(GREYS, bits)
                    stored = samples if zero else (1 << bits) - 1 - samples
                    for name, (content, convert) in GREY_PROFILES.items():
                        yield Case(
                            f"TIFF grey {bits} {order} white-is-zero {1 - zero} "
                            f"deflated {int(deflated)} {name}",
                            lambda s=stored, b=bits, z=zero, o=order, d=deflated, c=content: tiff(
                                spread(s), b, z, order=o, deflated=d, icc=c
                            ),
                            convert(units), _tolerance(8, name),
                            # ImageMagick 6 inverts 2 and 4 bits where white is zero twice.
                            name[:3] != "rgb" and (zero or bits not in (2, 4)),
                        )  # fmt: skip
        pair = np.stack([GREYS, ALPHAS], axis=1)
        samples, units = whole(pair, 8)
        held, held_units = whole(np.stack([GREYS * ALPHAS, ALPHAS], axis=1), 8)
        for name, (content, convert) in GREY_PROFILES.items():
            apart = np.divide(held_units[:, 0], held_units[:, 1], where=ALPHAS > 0, out=np.ones(10))
            meant = {
                0: convert(units[:, 0]),
                1: on_white(convert(np.minimum(apart, 1)), held_units[:, 1]),
                2: on_white(convert(units[:, 0]), units[:, 1]),
            }
            for kind, colours in meant.items():
                yield Case(
                    f"TIFF grey-extra-{kind} 8 {order} {name}",
                    lambda s=held if kind == 1 else samples, k=kind, o=order, c=content: tiff(
                        spread(s), 8, 1, order=o, extra=[k], icc=c
                    ),
                    colours, _tolerance(8, name) + BLENDED * (kind > 0) + HELD * (kind == 1),
                    name[:3] != "rgb" and kind != 0,
                )  # fmt: skip


def _tiff_colour():
    for order in "<>":
        for bits in (8, 16):
            samples, units = whole(COLOURS, bits)
            four = np.concatenate([COLOURS, ALPHAS[:, None]], axis=1)
            held = np.concatenate([COLOURS * ALPHAS[:, None], ALPHAS[:, None]], axis=1)
            for name, (content, convert) in RGB_PROFILES.items():
                near = _tolerance(bits, name)
                for deflated in (False, True):
                    yield Case(
                        f"TIFF rgb {bits} {order} deflated {int(deflated)} {name}",
                        lambda s=samples, b=bits, o=order, d=deflated, c=content: tiff(
                            spread(s), b, 2, order=o, deflated=d, icc=c
                        ),
                        convert(units), near, name != "of-cmyk",
                    )  # fmt: skip
                    for kind in (0, 1, 2):
                        stored, means = whole(held if kind == 1 else four, bits)
                        if kind == 1:
                            clear = means[:, 3:] == 0
                            apart = np.where(
                                clear, 1, means[:, :3] / np.where(clear, 1, means[:, 3:])
                            )
                            means = np.concatenate([np.minimum(apart, 1), means[:, 3:]], axis=1)
                        colours = convert(means[:, :3])
                        yield Case(
                            f"TIFF rgb-extra-{kind} {bits} {order} "
                            f"deflated {int(deflated)} {name}",
                            lambda s=stored, b=bits, o=order, d=deflated, k=kind, c=content: tiff(
                                spread(s), b, 2, order=o, deflated=d, extra=[k], icc=c
                            ),
                            on_white(colours, means[:, 3]) if kind else colours,
                            near + BLENDED * (kind > 0) + HELD * (kind == 1),
                            name != "of-cmyk" and kind != 0,
                        )  # fmt: skip
            for name, (content, convert) in RGB_PROFILES.items():
                if bits == 16 and name == "linear":
                    continue  # Pillow hands out the high bytes only, in which the dark is lost
                for deflated in (False, True)[bits == 16 :]:  # see the refused ones
                    yield Case(
                        f"TIFF rgb-planes {bits} {order} deflated {int(deflated)} {name}",
                        lambda s=samples, b=bits, o=order, d=deflated, c=content: tiff(
                            spread(s), b, 2, order=o, planar=2, deflated=d, icc=c
                        ),
                        convert(units), _tolerance(bits, name) + 0.9 * (bits == 16),
                        name != "of-cmyk",
                    )  # fmt: skip


def _tiff_spaces():
    inks = np.concatenate([COLOURS, GREYS[:, None] * 0.8], axis=1)
    full_range = [(0, 1), (255, 1), (128, 1), (255, 1), (128, 1), (255, 1)]
    for order in "<>":
        for bits in (8, 16):
            samples, units = whole(inks, bits)
            plain = (1 - units[:, :3]) * (1 - units[:, 3:])
            pressed = pressed_by(units)
            for name, content, colours in (
                ("plain", None, plain), ("press", PRESS, pressed), ("of-rgb", ADOBE, plain),
            ):  # fmt: skip
                yield Case(
                    f"TIFF cmyk {bits} {order} {name}",
                    lambda s=samples, b=bits, o=order, c=content: tiff(
                        spread(s), b, 5, order=o, icc=c
                    ),
                    colours, CONVERTED + (2 if bits == 16 else 0), name != "of-rgb",
                )  # fmt: skip
        units = np.rint(COLOURS * 255) @ np.array(
            [[0.299, -0.168736, 0.5], [0.587, -0.331264, -0.418688], [0.114, 0.5, -0.081312]]
        ) + [0, 128, 128]
        stored = np.clip(np.rint(units), 0, 255)
        back = np.clip((stored - [0, 128, 128]) @ np.array(
            [[1, 1, 1], [0, -0.344136, 1.772], [1.402, -0.714136, 0]]
        ), 0, 255) / 255  # fmt: skip
        for name, (content, convert) in RGB_PROFILES.items():
            yield Case(
                f"TIFF ycbcr 8 {order} {name}",
                lambda o=order, c=content, s=stored: tiff(
                    spread(s), 8, 6, order=o, icc=c,
                    tags=[(530, 3, [1, 1]), (532, 5, full_range)],
                ),
                convert(back), (1.6 if _tolerance(8, name) == EXACT else 8),
                name in ("plain", "srgb", "broken"),  # ImageMagick 6 does not clip what it converts
            )  # fmt: skip
        for name, content in (("plain", None), ("of-rgb", ADOBE)):
            lightness = np.rint(LAB[:, :1] * 2.55)
            stored = np.concatenate([lightness, LAB[:, 1:] % 256], axis=1)
            yield Case(
                f"TIFF lab 8 {order} {name}",
                lambda o=order, c=content, s=stored: tiff(spread(s), 8, 8, order=o, icc=c),
                icc.to_srgb(icc.xyz_of(np.concatenate([lightness / 2.55, LAB[:, 1:]], axis=1))),
                CONVERTED, False,  # ImageMagick takes TIFF's L*a*b* to be of D65
            )  # fmt: skip


def pressed_by(units):
    """CMYK by the press's profile: LittleCMS's own reading of the table."""
    inks = Image.frombytes("CMYK", (10, 1), np.rint(units * 255).astype(np.uint8).tobytes())
    source = ImageCms.ImageCmsProfile(io.BytesIO(PRESS))
    made = ImageCms.profileToProfile(inks, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    return np.asarray(made)[0] / 255


# (format, options, how far off) of what Pillow and its plugins write.
WRITERS = {
    "JPEG": ({"quality": 100, "subsampling": 0}, 2.5),
    "WEBP": ({"lossless": True}, 0),
    "AVIF": ({"quality": 100, "subsampling": "4:4:4"}, 2.5),
    "JPEG2000": ({}, 0),
    "BMP": ({}, 0), "PPM": ({}, 0), "TGA": ({}, 0), "GIF": ({}, 0),
    "HEIF": ({"quality": 100, "chroma": 444}, 2.5),
    "JXL": ({"lossless": True}, 0),
}  # fmt: skip
MODES = {
    "JPEG": ("L", "RGB", "CMYK"), "WEBP": ("RGB", "RGBA"), "AVIF": ("L", "RGB", "RGBA"),
    "JPEG2000": ("L", "LA", "RGB", "RGBA", "I;16"), "BMP": ("1", "L", "RGB", "P"),
    "PPM": ("1", "L", "RGB", "I;16"), "TGA": ("L", "LA", "RGB", "RGBA"), "GIF": ("L", "P"),
    "HEIF": ("L", "RGB", "RGBA"), "JXL": ("L", "LA", "RGB", "RGBA"),
}  # fmt: skip
PROFILED = ("JPEG", "WEBP", "AVIF", "HEIF")  # the JPEG XL plugin writes none: see _jpegxl
SLOPE = 13.0  # of a linear profile in the dark: levels out for one level of a codec's error


def _saved():
    absent = {"HEIF", "JXL"} - set(plugins())
    for format_, modes in MODES.items():
        if format_ in absent:
            continue
        options, loss = WRITERS[format_]
        for mode in modes:
            for name, content, samples, colours in _patches(mode, format_):
                near = _tolerance(8, name) + BLENDED * mode.endswith("A")
                off = loss * (SLOPE if "linear" in name else 2 if name != "plain" else 1)
                if mode == "CMYK":
                    near += 1
                yield Case(
                    f"{format_} {mode} {name}",
                    lambda m=mode, s=samples, f=format_, o=options, c=content: saved(
                        m, s, f, **o, icc_profile=c
                    ),
                    colours, near + off, _peer_reads(format_, mode, name),
                )  # fmt: skip
    samples, units = whole(COLOURS, 8)
    for name, (content, convert) in RGB_PROFILES.items():
        if content is not None:
            yield Case(f"BMP v5 {name}", lambda c=content: bmp5(spread(samples), c),
                       convert(units), _tolerance(8, name), False)  # fmt: skip
            yield Case(
                f"JPEG2000 RGB {name}",
                lambda c=content: jp2_with_profile(saved("RGB", samples, "JPEG2000"), c),
                convert(units), _tolerance(8, name), False,
            )  # fmt: skip


def _peer_reads(format_, mode, name):
    """ImageMagick 6 as packaged reads no JPEG XL, AVIF and HEIF only by an old libheif, no alpha
    of grey TGA, and refuses profiles of another space than the picture's."""
    odd = format_ in ("JXL", "AVIF", "HEIF") or (format_, mode) == ("TGA", "LA")
    return not odd and not name.startswith(("rgb-", "of-"))


def _patches(mode, format_):
    """(profile's name, its bytes, samples, colours on white) of one of Pillow's modes."""
    profiled = format_ in PROFILED
    alpha = ALPHAS if mode.endswith("A") else None
    if mode == "P":
        yield "plain", None, np.arange(10), whole(COLOURS, 8)[1]
        return
    if mode == "CMYK":
        inks, units = whole(np.concatenate([COLOURS, GREYS[:, None] * 0.8], axis=1), 8)
        # Adobe's JPEGs hold inks inverted; Pillow writes and reads them so.
        yield "plain", None, inks, (1 - units[:, :3]) * (1 - units[:, 3:])
        if profiled:
            yield "press", PRESS, inks, pressed_by(units)
        return
    grey = mode in ("1", "L", "LA", "I;16")
    bits = {"1": 1, "I;16": 16}.get(mode, 8)
    table = GREY_PROFILES if grey else RGB_PROFILES
    for name, (content, convert) in table.items():
        if (content is not None and not profiled) or (format_, name[:4]) == ("AVIF", "grey"):
            continue  # Pillow decodes AVIF to RGB, of which a grey profile says nothing
        units = GREYS[:, None] if grey else COLOURS
        units = units if alpha is None else np.concatenate([units, alpha[:, None]], axis=1)
        samples, means = whole(units, bits)
        count = 1 if grey else 3
        colours = convert(means[:, 0] if grey else means[:, :3])
        if mode == "1":
            samples = samples * 255
        yield (
            name, content, samples, colours if alpha is None else on_white(colours, means[:, count])
        )  # fmt: skip


def r03(space=0xFFFF, index="R03"):
    """EXIF that says Adobe RGB (or something near it)."""
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = space
    exif.get_ifd(0x8769)[0xA005] = {1: index}
    return exif.tobytes()


def _named():
    samples, units = whole(COLOURS, 8)
    meant = RGB_PROFILES["adobe"][1](units)
    for format_ in ("JPEG", "WEBP", "PNG", "AVIF", *plugins()):
        if format_ == "JXL":
            continue  # its files always state a colour space
        options, loss = WRITERS.get(format_, ({}, 0))
        for name, exif, content, colours in (
            ("r03", r03(), None, meant), ("r98", r03(1, "R98"), None, units),
            ("r03-embedded", r03(), SRGB, units),
        ):  # fmt: skip
            yield Case(
                f"{format_} RGB exif-{name}",
                lambda f=format_, o=options, e=exif, c=content: saved(
                    "RGB", samples, f, **o, exif=e, icc_profile=c
                ),
                colours, CONVERTED + 2 * loss, False,
            )  # fmt: skip


def _jpegxl():
    """JPEG XL by its reference encoder, where that and the plugin are installed."""
    if "JXL" not in plugins() or not shutil.which("cjxl"):
        return
    for case in _png():
        kind, bits, name = case.name.removeprefix("PNG ").rsplit(" ", 2)
        whole_bytes = bits in ("8", "16") and kind in ("grey", "grey-alpha", "rgb", "rgba")
        if whole_bytes and name not in ("broken", "of-cmyk") and not name.startswith("rgb-"):
            near = case.tolerance + (HIGH_BYTE if bits == "16" else 0.1)
            if kind == "grey-alpha" and bits == "16":
                continue  # the plugin tears its samples apart: refused
            if name == "linear" and bits == "16":
                continue  # the plugin decodes it to 8 bits, in which the dark is lost
            yield Case(
                f"JXL {kind} {bits} {name} by cjxl",
                lambda make=case.make: _by_cjxl(make()), case.expected, near, False,
            )  # fmt: skip


def _by_cjxl(data):
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder, "a.png"), Path(folder, "a.jxl")
        source.write_bytes(data)
        subprocess.run(
            ["cjxl", source, made, "-d", "0", "-e", "1"], check=True, capture_output=True
        )
        return made.read_bytes()
