"""``outputs.csv`` and ``outputs.json`` of a run: its files for spreadsheets and asset systems."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator

from flows.run.manifest import Manifest, OutputEntry, StepEntry
from kontext_engine.geometry import Fit, Size, place

FILE_NAME = "outputs.csv"
JSON_NAME = "outputs.json"
SHEET = "sheet"  # in the place of a step, of a contact sheet
_BEFORE = ("file", "bytes", "sha256", "width", "height", "step")
_AFTER = ("key", "kept")
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would compute


def outputs_csv(manifest: Manifest) -> str:
    """The table of the files that are there: UTF-8, with a header, a column for each axis.

    A cell that a spreadsheet would take for a formula begins with a quote.
    """
    axes = _axes(manifest)
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(map(quoted, _header(axes)))
    table.writerows([quoted(value) for value in row] for row in _rows(manifest, axes))
    return buffer.getvalue()


def outputs_json(manifest: Manifest) -> str:
    """The same rows as a list of objects, each cell as it is."""
    axes = _axes(manifest)
    names = _header(axes)
    rows = [dict(zip(names, row, strict=True)) for row in _rows(manifest, axes)]
    return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"


def quoted(value: object) -> object:
    """A CSV's cell that no spreadsheet takes for a formula: ``'=SUM(A1)``."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULAS) else value


def _axes(manifest: Manifest) -> list[str]:
    return list(dict.fromkeys(axis for variant in manifest.variants for axis in variant.values))


def _header(axes: list[str]) -> list[str]:
    taken = (*_BEFORE, *_AFTER)
    return [*_BEFORE, *(f"{axis}_" if axis in taken else axis for axis in axes), *_AFTER]


def _rows(manifest: Manifest, axes: list[str]) -> Iterator[list[object]]:
    steps = {step.key: step for step in manifest.steps}
    variants = {variant.id: variant.values for variant in manifest.variants}
    for entry in manifest.outputs:
        if entry.sha256 is None:
            continue
        if entry.key not in steps:
            sheet = [entry.path, entry.size, entry.sha256, "", "", SHEET]
            yield [*sheet, *("" for _ in axes), entry.key, entry.kept]
            continue
        step, values = steps[entry.key], variants.get(entry.variant, {})
        size = pixels_of(entry, step)
        own = [values.get(axis, "") for axis in axes]
        head = [entry.path, entry.size, entry.sha256, size.width, size.height, step.name]
        yield [*head, *own, entry.key, entry.kept]


def pixels_of(entry: OutputEntry, step: StepEntry) -> Size:
    """A file's pixels, by the picture's and what became of it."""
    own = Size(step.width or 0, step.height or 0)
    asked = entry.shape.get("size")
    if asked is None:
        return own
    size = Size(*asked)
    return place(own, size, Fit.PAD).scaled if entry.shape.get("fit") == "inside" else size
