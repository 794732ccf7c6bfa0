"""``outputs.csv`` of a run: its files for spreadsheets and asset systems, one a line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from flows.run.manifest import Manifest, OutputEntry, StepEntry
from kontext_engine.geometry import Fit, Size, place

FILE_NAME = "outputs.csv"
_BEFORE = ("file", "bytes", "sha256", "width", "height", "step")
_AFTER = ("key", "kept")
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would compute


def outputs_csv(manifest: Manifest) -> str:
    """The table of the files that are there: UTF-8, with a header, a column for each axis.

    A cell that a spreadsheet would take for a formula begins with a quote.
    """
    axes = list(dict.fromkeys(axis for variant in manifest.variants for axis in variant.values))
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    taken = (*_BEFORE, *_AFTER)
    named = [f"{axis}_" if axis in taken else axis for axis in axes]
    table.writerow([*_BEFORE, *named, *_AFTER])
    table.writerows([_cell(value) for value in row] for row in _rows(manifest, axes))
    return buffer.getvalue()


def _rows(manifest: Manifest, axes: list[str]) -> Iterator[list[object]]:
    steps = {step.key: step for step in manifest.steps}
    variants = {variant.id: variant.values for variant in manifest.variants}
    for entry in manifest.outputs:
        if entry.sha256 is None or entry.key not in steps:
            continue
        step, values = steps[entry.key], variants.get(entry.variant, {})
        size = _size(entry, step)
        own = [values.get(axis, "") for axis in axes]
        head = [entry.path, entry.size, entry.sha256, size.width, size.height, step.name]
        yield [*head, *own, entry.key, entry.kept]


def _size(entry: OutputEntry, step: StepEntry) -> Size:
    """A file's pixels, by the picture's and what became of it."""
    own = Size(step.width or 0, step.height or 0)
    asked = entry.shape.get("size")
    if asked is None:
        return own
    size = Size(*asked)
    return place(own, size, Fit.PAD).scaled if entry.shape.get("fit") == "inside" else size


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULAS) else value
