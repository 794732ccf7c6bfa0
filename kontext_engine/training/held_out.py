"""Exporting the held-out cut-outs, so that benches and tests run without fetching the set.

Exported are the held-out subjects of every bench and the props that instructions name, in the
layout of ``cutouts.read_set``. The files are copied as they are: a picture made from the export
equals the one made from the whole set, and the originals are smaller than any lossless copy.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

from kontext_engine.training.cutouts import (
    DRAWN,
    OCCLUDERS,
    THINGS,
    held_out_order,
    plain_code,
    read_set,
)
from kontext_engine.training.fetch import INK, NAMES, PICTURES, new_set

ATTRIBUTION = f"""\
# Held-out cut-outs

The pictures in `assets/` are unchanged files of [Fluent Emoji 3D](https://github.com/microsoft/fluentui-emoji)
by Microsoft Corporation (MIT licence), as packaged in `{PICTURES.name}` {PICTURES.version}
(MIT licence, LobeHub). `names.json` is taken from `{NAMES.name}` {NAMES.version} (MIT licence).
`flat/` and `ink/` are drawn from the icons of the same subjects, one a subject, in that package
and in `{INK.name}` {INK.version} (MIT licence).

They are the subjects that kontext-mini is never trained on, for benches and tests, and the props
that instructions name ("add a cactus"), which are trained on. Written by
`kontext data --held-out tests/data/cutouts`.

    MIT License

    Copyright (c) Microsoft Corporation.

    Permission is hereby granted, free of charge, to any person obtaining a copy
    of this software and associated documentation files (the "Software"), to deal
    in the Software without restriction, including without limitation the rights
    to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
    copies of the Software, and to permit persons to whom the Software is
    furnished to do so, subject to the following conditions:

    The above copyright notice and this permission notice shall be included in all
    copies or substantial portions of the Software.

    THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
    IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
    FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
    AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
    LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
    OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
    SOFTWARE.
"""


def export_held_out(source: Path, folder: Path) -> int:
    """Copy the held-out cut-outs and the props of ``source`` into ``folder``; how many.

    Raises:
        FileNotFoundError: ``source`` holds no set.
        TrainingError: ``folder`` holds something else than a set.
    """
    every = read_set(source)
    chosen = held_out_order(every) + [c for c in every if c.name in (*OCCLUDERS, *THINGS)]
    listing = json.loads((source / "names.json").read_text("utf-8"))
    with new_set(folder) as draft:
        for cutout in chosen:
            shutil.copyfile(cutout.path, draft / "assets" / cutout.path.name)
        for style in DRAWN:
            (draft / style).mkdir()
            for cutout in {c.subject: c for c in reversed(chosen)}.values():
                drawing = cutout.drawn(style).path
                shutil.copyfile(drawing, draft / style / drawing.name)
        names = _narrowed(listing, {cutout.code for cutout in chosen})
        (draft / "names.json").write_text(json.dumps(names, indent=1) + "\n", "utf-8")
        (draft / "ATTRIBUTION.md").write_text(ATTRIBUTION, "utf-8")
    return len(chosen)


def _narrowed(listing: dict[str, Any], codes: Collection[str]) -> dict[str, Any]:
    """``names.json`` with these cut-outs alone."""
    chars = {code: name for code, name in listing["chars"].items() if plain_code(code) in codes}
    kept = set(chars.values())
    categories = {
        category: [name for name in members if name in kept]
        for category, members in listing["categories"].items()
    }
    return {"chars": chars, "categories": {k: v for k, v in categories.items() if v}}
