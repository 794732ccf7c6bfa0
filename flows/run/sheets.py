"""Contact sheets drawn: PNG, PDF and HTML. The same tiles give the same bytes, whenever drawn."""

from __future__ import annotations

import base64
import hashlib
import io
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from flows.plan.fonts import SHIPPED
from flows.plan.step import AS_IT_IS, PlannedSheet
from flows.run.encoders import encoded
from flows.run.page import templates
from flows.run.telling import sheet_xmp

if TYPE_CHECKING:
    from reportlab.pdfgen.canvas import Canvas

Fits = Callable[[str], bool]
PIXELS = {"png": 320, "html": 480, "pdf": 640}  # of a tile's longer side
_LINES = 3  # of a caption
_MISSING = "missing"
_GREY, _LINE, _INK, _QUIET = "#e9e9ec", "#b9b9c0", "#1c1c22", "#6b6b75"
_QUALITY = 88
_ONE_PDF = threading.Lock()  # fonts are registered for the whole process
_MARGIN, _GAP, _TEXT, _HEADING = 32, 20, 15, 24  # pixels of a PNG
_EDGE, _SPACE, _SMALL, _LARGE = 36.0, 12.0, 8.0, 13.0  # points of a PDF
_PAPERS = {"a4": (595.28, 841.89), "letter": (612.0, 792.0)}


@dataclass(frozen=True, slots=True)
class Frame:
    """A tile with its picture (RGB, ``PIXELS`` at most), or without."""

    caption: str
    picture: Image.Image | None


def reduced(picture: Image.Image, sheet: PlannedSheet) -> Image.Image:
    """A picture as large as a tile of this sheet, on white."""
    from kontext_engine.region import on_white

    scale = min(1.0, PIXELS[sheet.format] / max(picture.size))
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    flat = on_white(picture)
    return flat if flat.size == size else flat.resize(size, Image.Resampling.LANCZOS)


def draw(
    sheet: PlannedSheet,
    frames: Sequence[Frame],
    font: bytes | None,
    facts: Mapping[str, str] = MappingProxyType({}),
) -> bytes:
    """The bytes of a sheet; ``font`` is one's own, a TrueType file; ``facts`` it tells of itself,
    as XMP or as a page's ``meta``.
    """
    if sheet.format == "html":
        return _html(sheet, frames, facts)
    data, xmp = SHIPPED.read_bytes() if font is None else font, sheet_xmp(facts, _creator(sheet))
    if sheet.format == "png":
        return _png(sheet, frames, data, xmp)
    with _ONE_PDF:
        return _pdf(sheet, frames, data, xmp)


def _creator(sheet: PlannedSheet) -> str:
    return sheet.credit.creator if sheet.credit.metadata != "none" else ""


def _aspect(frames: Sequence[Frame]) -> float:
    """Height by width of the tiles' boxes: that of the tallest picture, a square at most."""
    shown = [frame.picture.height / frame.picture.width for frame in frames if frame.picture]
    return min(1.0, max(shown, default=1.0))


# --- PNG


def _png(sheet: PlannedSheet, frames: Sequence[Frame], data: bytes, xmp: bytes) -> bytes:
    text, heading = (ImageFont.truetype(io.BytesIO(data), size) for size in (_TEXT, _HEADING))
    side = PIXELS["png"]
    box, columns = round(side * _aspect(frames)), min(sheet.columns, len(frames))
    captions = [_wrapped(frame.caption, text, side) for frame in frames]
    line = round(_TEXT * 1.35)
    lines = max(map(len, captions), default=0)
    cell = box + 8 + lines * line
    rows = -(-len(frames) // columns)
    top = _MARGIN + round(_HEADING * 1.8)
    canvas = Image.new(
        "RGB",
        (2 * _MARGIN + columns * side + (columns - 1) * _GAP,
         top + rows * cell + (rows - 1) * _GAP + _MARGIN),
        "white",
    )  # fmt: skip
    pen = ImageDraw.Draw(canvas)
    title = _wrapped(sheet.heading, heading, canvas.width - 2 * _MARGIN)[:1]
    pen.text((_MARGIN, _MARGIN), "".join(title), _INK, heading)
    for number, (frame, caption) in enumerate(zip(frames, captions, strict=True)):
        left = _MARGIN + number % columns * (side + _GAP)
        above = top + number // columns * (cell + _GAP)
        if frame.picture is None:
            _mark(pen, (left, above, left + side, above + box), text)
        else:
            small = _fitted(frame.picture, side, box)
            canvas.paste(small, (left, above + box - small.height))
        for place, words in enumerate(caption):
            pen.text((left, above + box + 8 + place * line), words, _INK, text)
    return encoded(canvas, "png", 0, AS_IT_IS, xmp)


def _fitted(picture: Image.Image, width: int, height: int) -> Image.Image:
    scale = min(width / picture.width, height / picture.height)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture if size == picture.size else picture.resize(size, Image.Resampling.LANCZOS)


def _mark(
    pen: ImageDraw.ImageDraw, box: tuple[int, int, int, int], font: ImageFont.FreeTypeFont
) -> None:
    left, top, right, bottom = box
    pen.rectangle((left, top, right - 1, bottom - 1), _GREY, _LINE)
    pen.line((left, top, right - 1, bottom - 1), _LINE)
    pen.line((left, bottom - 1, right - 1, top), _LINE)
    middle = (left + right) / 2, (top + bottom) / 2
    pen.text(middle, _MISSING, _QUIET, font, anchor="mm", stroke_width=4, stroke_fill=_GREY)


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width: float) -> list[str]:
    return _lines(text, lambda words: font.getlength(words) <= width)


def _lines(text: str, fits: Fits) -> list[str]:
    """A text in lines that fit, ``_LINES`` at most; what is left is told by an ellipsis."""
    lines: list[str] = []
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and fits(joined):
            lines[-1] = joined
            continue
        while not fits(word) and len(word) > 1:  # longer than a line
            cut = next(n for n in range(len(word) - 1, 0, -1) if n == 1 or fits(word[:n]))
            lines.append(word[:cut])
            word = word[cut:]  # noqa: PLW2901
        lines.append(word)
    if len(lines) <= _LINES:
        return lines
    last = lines[_LINES - 1]
    while last and not fits(f"{last}…"):
        last = last[:-1]
    return [*lines[: _LINES - 1], f"{last.rstrip()}…"]


# --- PDF


def _pdf(sheet: PlannedSheet, frames: Sequence[Frame], data: bytes, xmp: bytes) -> bytes:
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.pdfdoc import PDFDictionary, PDFName, PDFStream
    from reportlab.pdfbase.ttfonts import TTFont
    from reportlab.pdfgen.canvas import Canvas

    name = f"sheet-{hashlib.sha256(data).hexdigest()[:16]}"
    pdfmetrics.registerFont(TTFont(name, io.BytesIO(data)))
    short, long = _PAPERS[sheet.page.partition("-")[0]]
    width, height = (long, short) if sheet.page.endswith("landscape") else (short, long)
    buffer = io.BytesIO()
    # Invariant: neither the time nor a random id is in it.
    canvas = Canvas(buffer, pagesize=(width, height), invariant=1)
    canvas.setTitle(sheet.heading)
    canvas.setAuthor(_creator(sheet))  # rather nothing than the library's "anonymous"
    canvas.setCreator("")
    canvas.setSubject("")
    if xmp:
        kind = PDFDictionary({"Type": PDFName("Metadata"), "Subtype": PDFName("XML")})
        document = canvas._doc  # the library has no other way to its catalogue
        document.Catalog.Metadata = document.Reference(PDFStream(kind, xmp, filters=None))
    layout = _Layout.of(sheet, frames, width, height)
    pages = [frames[at : at + layout.on_page] for at in range(0, len(frames), layout.on_page)]
    for number, shown in enumerate(pages, 1):
        _page(canvas, sheet, layout, shown, name, f"{number} / {len(pages)}")
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


@dataclass(frozen=True, slots=True)
class _Layout:
    """A page's grid in points: the sides of a picture's box, the rows, how many tiles."""

    width: float
    height: float
    side: float
    box: float
    columns: int
    rows: int

    @classmethod
    def of(
        cls, sheet: PlannedSheet, frames: Sequence[Frame], width: float, height: float
    ) -> _Layout:
        columns = sheet.columns
        side = (width - 2 * _EDGE - (columns - 1) * _SPACE) / columns
        room = height - 2 * _EDGE - 2 * _LARGE
        box = side * _aspect(frames)
        # Rather one row more of smaller pictures than half a page of nothing.
        rows = max(1, round((room + _SPACE) / (box + cls.words() + _SPACE)))
        box = min(box, (room + _SPACE) / rows - cls.words() - _SPACE)
        return cls(width, height, side, box, columns, rows)

    @staticmethod
    def words() -> float:
        """The height of a caption."""
        return 4 + _LINES * _SMALL * 1.25

    @property
    def on_page(self) -> int:
        return self.columns * self.rows


def _page(
    canvas: Canvas,
    sheet: PlannedSheet,
    layout: _Layout,
    frames: Sequence[Frame],
    font: str,
    number: str,
) -> None:
    from reportlab.pdfbase.pdfmetrics import stringWidth

    def fits(size: float, width: float) -> Fits:
        return lambda words: stringWidth(words, font, size) <= width

    canvas.setFillColor(_INK)
    canvas.setFont(font, _LARGE)
    room = layout.width - 2 * _EDGE - 60
    title = _lines(sheet.heading, fits(_LARGE, room))[:1]
    canvas.drawString(_EDGE, layout.height - _EDGE - _LARGE, "".join(title))
    canvas.setFont(font, _SMALL)
    canvas.drawRightString(layout.width - _EDGE, layout.height - _EDGE - _LARGE, number)
    top = layout.height - _EDGE - 2 * _LARGE
    for place, frame in enumerate(frames):
        left = _EDGE + place % layout.columns * (layout.side + _SPACE)
        above = top - place // layout.columns * (layout.box + layout.words() + _SPACE)
        _tile(canvas, layout, frame, left, above)
        canvas.setFillColor(_INK)
        for row, words in enumerate(_lines(frame.caption, fits(_SMALL, layout.side)), 1):
            canvas.drawString(left, above - layout.box - 2 - row * _SMALL * 1.25, words)


def _tile(canvas: Canvas, layout: _Layout, frame: Frame, left: float, above: float) -> None:
    from reportlab.lib.utils import ImageReader

    side, box = layout.side, layout.box
    if frame.picture is None:
        canvas.setFillColor(_GREY)
        canvas.setStrokeColor(_LINE)
        canvas.rect(left, above - box, side, box, fill=1)
        canvas.line(left, above, left + side, above - box)
        canvas.line(left, above - box, left + side, above)
        canvas.setFillColor(_QUIET)
        canvas.drawCentredString(left + side / 2, above - box / 2 - _SMALL / 3, _MISSING)
        return
    scale = min(side / frame.picture.width, box / frame.picture.height)
    width, height = frame.picture.width * scale, frame.picture.height * scale
    picture = ImageReader(io.BytesIO(_jpeg(frame.picture)))
    canvas.drawImage(picture, left, above - box, width, height)


def _jpeg(picture: Image.Image) -> bytes:
    return encoded(picture, "jpeg", _QUALITY, AS_IT_IS, b"")


# --- HTML


def _html(sheet: PlannedSheet, frames: Sequence[Frame], facts: Mapping[str, str]) -> bytes:
    environment = templates("flows.run")
    tiles = [
        (frame.caption, frame.picture and base64.b64encode(_jpeg(frame.picture)).decode("ascii"))
        for frame in frames
    ]
    page = environment.get_template("sheet.html.j2")
    box = f"1 / {_aspect(frames):.4f}"
    creator = _creator(sheet)
    facts = {**facts, **({"author": creator} if creator else {})}
    words = {"sheet": sheet, "tiles": tiles, "missing": _MISSING, "box": box, "facts": facts}
    return page.render(**words).encode()
