"""Which picture files are opened, by what, and how large they may be.

Formats that Pillow cannot decode itself come through its plugins, as extras of this package. What
hands a file to another program (EPS, PDF and the like) is left out.
"""

from __future__ import annotations

import importlib
import io
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from PIL import Image, ImageFile

from kontext_engine.errors import PictureError
from kontext_engine.geometry import Size
from kontext_engine.picture.jpegxl import jpegxl_size

FORMATS = (
    "PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "PPM", "TGA", "HEIF", "JXL",
)  # fmt: skip

# A file's name, by the endings that its format goes by; what a folder is searched for.
SUFFIXES: Mapping[str, str] = {
    suffix: format_
    for format_, suffixes in {
        "PNG": ".png .apng",
        "JPEG": ".jpg .jpeg .jpe .jfif .jif .pjpeg .pjp .mpo",
        "WEBP": ".webp",
        "TIFF": ".tif .tiff",
        "BMP": ".bmp .dib",
        "GIF": ".gif",
        "AVIF": ".avif .avifs",
        "JPEG2000": ".jp2 .j2k .j2c .jpc .jpf .jpx",
        "PPM": ".ppm .pgm .pbm .pnm",
        "TGA": ".tga .icb .vda .vst",
        "HEIF": ".heic .heif .heics .heifs .hif",
        "JXL": ".jxl",
    }.items()
    for suffix in suffixes.split()
}

# What knows a format, where that is Pillow itself: a module of its, imported when it is asked, for
# all of them would take longer than to read a thousand headers.
_DRIVERS: Mapping[str, str] = {
    "PNG": "PngImagePlugin", "JPEG": "JpegImagePlugin", "WEBP": "WebPImagePlugin",
    "TIFF": "TiffImagePlugin", "BMP": "BmpImagePlugin", "GIF": "GifImagePlugin",
    "AVIF": "AvifImagePlugin", "JPEG2000": "Jpeg2KImagePlugin", "PPM": "PpmImagePlugin",
    "TGA": "TgaImagePlugin",
}  # fmt: skip

_HEIF_BRANDS = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
)
_JXL_STARTS = (b"\xff\x0a", b"\x00\x00\x00\x0cJXL \r\n\x87\n")
_JP2_START = b"\x00\x00\x00\x0cjP  \r\n\x87\n"


@dataclass(frozen=True, slots=True)
class _Plugin:
    """A format's own library: how it is imported, and the extra that brings it."""

    module: str
    package: str
    extra: str


_PLUGINS = {
    "HEIF": _Plugin("pillow_heif.HeifImagePlugin", "pillow-heif", "heif"),
    "JXL": _Plugin("pillow_jxl.JpegXLImagePlugin", "pillow-jxl-plugin", "jxl"),
}


def open_image(data: bytes, label: str, max_pixels: int) -> ImageFile.ImageFile:
    """A file's picture, its header read and nothing decoded.

    Not ``Image.open``: that has a pixel limit of its own, the same for the whole process.

    Raises:
        PictureError: no known format, a damaged header, or over ``max_pixels``.
    """
    if not data:
        raise PictureError(f"{label}: the file is empty; export the picture again")
    if data.startswith(_JXL_STARTS):
        check_size(jpegxl_size(data), label, max_pixels)  # its plugin decodes when it opens
    _load_plugin(data, label)
    image = _identified(data, label)
    check_size(Size(*image.size), label, max_pixels)
    return image


def _load_plugin(data: bytes, label: str) -> None:
    """Have the format's own library at hand, where it needs one.

    Raises:
        PictureError: it is not installed; the message names the extra.
    """
    heif = data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS and b"avif" not in data[8:64]
    name = "HEIF" if heif else "JXL" if data.startswith(_JXL_STARTS) else None
    if name is None:
        return
    plugin = _PLUGINS[name]
    try:
        importlib.import_module(plugin.module)
    except ImportError as error:
        raise PictureError(
            f"{label}: {name} pictures need {plugin.package}, which is not installed; install "
            f"kontext-pipeline[{plugin.extra}], or export the picture as PNG or JPEG"
        ) from error


def _identified(data: bytes, label: str) -> ImageFile.ImageFile:
    reasons: dict[str, str] = {}
    for name in FORMATS:
        if name not in Image.OPEN and name in _DRIVERS:
            with suppress(ImportError):
                importlib.import_module(f"PIL.{_DRIVERS[name]}")
        if name not in Image.OPEN:
            continue
        factory, accept = Image.OPEN[name]
        accepted = accept is None or accept(data[:16])
        if not accepted or isinstance(accepted, str):  # a word is why it does not
            continue
        try:
            return factory(io.BytesIO(data), "")
        except (SyntaxError, IndexError, TypeError, struct.error) as error:
            reasons[name] = first_line(error)  # as Image.open: another format may know it
        except Exception as error:  # header parsers of untrusted data raise nearly anything
            raise PictureError(f"{label}: damaged picture ({first_line(error)})") from error
    reasons.pop("TGA", None)  # has no signature: it looks at everything
    found = "".join(f"; as {name}: {reason}" for name, reason in reasons.items())
    raise PictureError(
        f"{label}: not a picture that can be read; expected one of {', '.join(FORMATS)}{found}; "
        "export it as one of them, 8 bits a channel"
    )


def check_size(size: Size, label: str, max_pixels: int) -> None:
    """Refuse a picture of more pixels than the limit.

    Raises:
        PictureError: it is larger.
    """
    if size.area > max_pixels:
        raise PictureError(
            f"{label}: more than {max_pixels / 1e6:g} million pixels, refused unopened; "
            f"scale it down first (it is {size})"
        )


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__


def file_profile(data: bytes) -> bytes | None:
    """An ICC profile where Pillow does not look for it: in JPEG 2000 and in BMP files."""
    if data.startswith(_JP2_START):
        return _jp2_profile(data)
    if data[:2] == b"BM" and data[14:18] == b"\x7c\0\0\0" and data[70:74] == b"DEBM":
        start, length = struct.unpack_from("<II", data, 126)
        return data[14 + start : 14 + start + length] or None
    return None


def _jp2_profile(data: bytes) -> bytes | None:
    header = next((body for kind, body in _boxes(data) if kind == b"jp2h"), b"")
    for kind, body in _boxes(header):
        if kind == b"colr" and body[:1] in (b"\2", b"\3"):  # a restricted or any ICC profile
            return body[3:]
    return None


def _boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    """The boxes of an ISO file: (kind, body); what is malformed ends the list."""
    found, start = [], 0
    while start + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, start)
        head = 8
        if length == 1 and start + 16 <= len(data):
            length, head = struct.unpack_from(">Q", data, start + 8)[0], 16
        end = start + length if length else len(data)
        if end < start + head:
            break
        found.append((kind, data[start + head : end]))
        start = end
    return found
