"""The set's other styles: icons that an iconify package holds as SVG, drawn once as pictures.

Fluent Emoji flat and high contrast (MIT, Microsoft) draw the subjects that the 3D renders show.
Skin tones that a style does not know are drawn as their subject without one.
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Iterator, Mapping

from PIL import Image

from kontext_engine.training.cutouts import TONES, plain_code
from kontext_engine.training.errors import TrainingError

EDGE = 160  # pixels: more than any subject is shown with


def draw_icons(files: Mapping[str, bytes], stems: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """(stem, WebP) of every asset ``stems``, from a package's ``icons.json`` and ``chars.json``.

    Raises:
        TrainingError: a subject has no icon, or there is nothing to draw with.
    """
    listing = json.loads(files["package/icons.json"])
    chars = json.loads(files["package/chars.json"])
    width, height = listing["width"], listing["height"]
    name_of = {plain_code(code): name for code, name in chars.items()}
    for stem in stems:
        code = plain_code(stem)
        subject = "-".join(part for part in code.split("-") if part not in TONES)
        name = next((name_of[c] for c in (code, subject) if c in name_of), None)
        if name not in listing["icons"]:
            raise TrainingError(
                f"{listing['prefix']}: no icon of {stem}; expected one of every named cut-out; "
                "please report this with `npm --version`"
            )
        svg = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'color="#1b1a1f">{listing["icons"][name]["body"]}</svg>'
        )
        picture = Image.open(io.BytesIO(resvg(svg))).convert("RGBA")
        with io.BytesIO() as out:
            picture.save(out, "WEBP", lossless=True, quality=80, method=4)
            yield stem, out.getvalue()


def resvg(svg: str) -> bytes:
    """An SVG document as a PNG of ``EDGE`` pixels; no font and no file is read.

    Raises:
        TrainingError: the library is not installed.
    """
    try:
        import resvg_py
    except ImportError:
        raise TrainingError(
            "resvg-py: not installed; the flat and ink drawings come as SVG: install it "
            "(`pip install kontext-pipeline[drawings]`), then run this again"
        ) from None
    return bytes(resvg_py.svg_to_bytes(svg, width=EDGE, height=EDGE, skip_system_fonts=True))
