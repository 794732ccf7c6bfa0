"""A folder of sixty odd files, as studios get them: many kinds of good and bad pictures and names.

Each good one is distinct, so that each is a step of its own.
"""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageDraw

from flows.recipe.naming import legible
from flows.run.manifest import Manifest
from flows.run.outcome import State

_NUMBER = count(1)


def noise(number: int, size: tuple[int, int] = (48, 48)) -> Image.Image:
    """A picture like no other: coarse noise."""
    dice = np.random.default_rng(number)
    coarse = dice.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def _new(size: tuple[int, int] = (48, 48)) -> Image.Image:
    return noise(1000 + next(_NUMBER), size)


def _made(form: str, mode: str = "RGB", size: tuple[int, int] = (48, 48), **how) -> bytes:
    file = io.BytesIO()
    _new(size).convert(mode).save(file, form, **how)
    return file.getvalue()


def _sixteen() -> bytes:
    grey = np.random.default_rng(next(_NUMBER)).integers(0, 65536, (48, 48), dtype=np.uint16)
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "PNG")
    return file.getvalue()


def _see_through(form: str) -> bytes:
    image = _new().convert("RGBA")
    ImageDraw.Draw(image).rectangle((0, 0, 20, 20), fill=(0, 0, 0, 0))
    file = io.BytesIO()
    image.save(file, form)
    return file.getvalue()


def _turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return _made("JPEG", size=(64, 40), exif=exif)


def _moving(form: str) -> bytes:
    return _made(form, save_all=True, append_images=[_new(), _new()])


def _claiming(width: int, height: int) -> bytes:
    """A PNG of one pixel whose header says otherwise: nothing may be decoded to find out."""
    file = io.BytesIO()
    Image.new("1", (1, 1)).save(file, "PNG")
    whole = file.getvalue()  # a signature of 8 bytes, then length, name, 13 bytes and a checksum
    header = b"IHDR" + struct.pack(">II", width, height) + whole[24:29]
    return whole[:12] + header + struct.pack(">I", zlib.crc32(header)) + whole[33:]


def _half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.png", "x")
    return file.getvalue()


def _signed() -> bytes:
    """A TIFF of 16 bits whose samples are said to have a sign."""
    file = io.BytesIO()
    Image.fromarray(np.arange(2304, dtype=np.uint16).reshape(48, 48)).save(
        file, "TIFF", tiffinfo={339: 2}
    )
    return file.getvalue()


def _floating() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(5).random((48, 48)).astype(np.float32)).save(file, "TIFF")
    return file.getvalue()


_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GOOD: dict[str, Callable[[], bytes]] = {
    # modes and depths
    "bilevel.png": lambda: _made("PNG", "1"),
    "grey.png": lambda: _made("PNG", "L"),
    "grey-alpha.png": lambda: _made("PNG", "LA"),
    "palette.png": lambda: _made("PNG", "P"),
    "sixteen.png": _sixteen,
    "alpha.png": lambda: _see_through("PNG"),
    "profile.png": lambda: _made("PNG", icc_profile=_SRGB),
    "dot.png": lambda: _made("PNG", size=(1, 1)),
    "wide.png": lambda: _made("PNG", size=(160, 24)),
    # JPEG by all its names
    "plain.jpg": lambda: _made("JPEG"),
    "grey.jpeg": lambda: _made("JPEG", "L"),
    "cmyk.jpe": lambda: _made("JPEG", "CMYK"),
    "progressive.jfif": lambda: _made("JPEG", progressive=True),
    "SHOUTED.JPG": lambda: _made("JPEG"),
    "turned.jpg": _turned,
    # others
    "lossy.webp": lambda: _made("WEBP"),
    "lossless.webp": lambda: _made("WEBP", lossless=True),
    "alpha.webp": lambda: _see_through("WEBP"),
    "moving.webp": lambda: _moving("WEBP"),
    "still.gif": lambda: _made("GIF"),
    "moving.gif": lambda: _moving("GIF"),
    "old.bmp": lambda: _made("BMP"),
    "old-grey.dib": lambda: _made("BMP", "L"),
    "scan.tif": lambda: _made("TIFF"),
    "scan-cmyk.tiff": lambda: _made("TIFF", "CMYK", compression="tiff_lzw"),
    "scan-lab.tif": lambda: _made("TIFF", "LAB"),
    "fax.tif": lambda: _made("TIFF", "1", compression="group4"),
    "pages.tif": lambda: _moving("TIFF"),
    "new.avif": lambda: _made("AVIF"),
    "film.jp2": lambda: _made("JPEG2000"),
    "net.ppm": lambda: _made("PPM"),
    "game.tga": lambda: _made("TGA"),
    # what is called otherwise than it is
    "jpeg-inside.png": lambda: _made("JPEG"),
    "png-inside.jpg": lambda: _made("PNG"),
    # names
    "red shoe.png": lambda: _made("PNG"),
    "red-shoe.png": lambda: _made("PNG"),
    "Früh Ölfarbe.png": lambda: _made("PNG"),
    "का.png": lambda: _made("PNG"),
    "की.png": lambda: _made("PNG"),
    "mug 🎃.png": lambda: _made("PNG"),
    "mug 🎄.png": lambda: _made("PNG"),
    "C++.png": lambda: _made("PNG"),
    "C#.png": lambda: _made("PNG"),
    "a, b=c [1].png": lambda: _made("PNG"),
    "it's \"new\" & <b>.png": lambda: _made("PNG"),
    "-rf.png": lambda: _made("PNG"),
    "CON.png": lambda: _made("PNG"),
    "%41 50%.png": lambda: _made("PNG"),
    "{product}.png": lambda: _made("PNG"),
    f"{'long ' * 40}.png": lambda: _made("PNG"),
    "same.png": lambda: _made("PNG"),
    "same.webp": lambda: _made("WEBP"),
    os.fsdecode(b"caf\xe9.png"): lambda: _made("PNG"),
}  # fmt: skip
# Each with what its failure says.
BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty.png": (lambda: b"", "the file is empty"),
    "text.png": (lambda: b"hello", "not a picture that can be read"),
    "page.jpg": (lambda: b"<!doctype html><title>404</title>", "not a picture that can be read"),
    "drawing.png": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture that"),
    "print.tif": (lambda: b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "not a picture that can be read"),
    "archive.png": (_zipped, "not a picture that can be read"),
    "cut.png": (lambda: _half(_made("PNG", size=(96, 96))), "damaged PNG picture"),
    "cut.jpg": (lambda: _half(_made("JPEG", size=(96, 96))), "damaged JPEG picture"),
    "cut.webp": (lambda: _half(_made("WEBP", size=(96, 96))), ""),
    "cut.gif": (lambda: _half(_made("GIF", size=(96, 96))), "damaged GIF picture"),
    "cut.tif": (lambda: _half(_made("TIFF", size=(96, 96))), "damaged"),
    "cut.avif": (lambda: _half(_made("AVIF", size=(96, 96))), ""),
    "huge.png": (lambda: _claiming(20_000, 20_000), "more than 80 million pixels"),
    "ribbon.png": (lambda: _made("PNG", size=(90, 10)), "sides differ by more than 8 to 1"),
    "floating.tif": (_floating, "floating-point pixels have no agreed white"),
    "signed.tif": (_signed, "signed pixels have no agreed white"),
}
ODD_RECIPE = """\
version: 1
inputs: {picture: odd/*}
steps:
  place: {op: edit, image: picture, prompt: put it on a beach, steps: 1}
"""
PASSED = {"raw.dng": b"II*\0", "notes.txt": b"hello", "layers.psd": b"8BPS", "README": b"hello"}


def draw_odd_files(folder: Path) -> None:
    """All of them, those that a glob passes over, and a folder that is called like a picture."""
    folder.mkdir(parents=True)
    made = {name: make() for name, make in GOOD.items()}
    made |= {name: make() for name, (make, _) in BAD.items()} | PASSED
    for name, data in made.items():
        (folder / name).write_bytes(data)
    (folder / "folder.png").mkdir()


def assert_odd(manifest: Manifest) -> None:
    """Every good one was made, and every bad one failed with its reason in one line."""
    sources = {source.digest: source.file for source in manifest.sources}
    steps = {sources[step.contexts[0].name]: step for step in manifest.steps}
    assert set(steps) == {legible(name) for name in (*GOOD, *BAD)}
    for name in GOOD:
        assert steps[legible(name)].state is State.DONE, steps[legible(name)]
    for name, (_, reason) in BAD.items():
        step = steps[name]
        assert step.state is State.FAILED, step
        assert reason in step.reason
        assert "\n" not in step.reason
        assert name in step.reason or name.partition(".")[0] in step.label
