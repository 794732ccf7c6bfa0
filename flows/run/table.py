"""``outputs.csv`` of a run: its files for spreadsheets and asset systems, one a line."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from flows.run.manifest import Manifest, OutputEntry, StepEntry
from kontext_engine.geometry import Fit, Size, place

FILE_NAME = "outputs.csv"
_BEFORE = ("file", "bytes", "sha256", "width", "height", "step")
_AFTER = ("key", "kept", "take", "picked", "approved", "approved_by", "approved_at")
_TAKE = re.compile(r"[\[,]take=(\d+)\]$")
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would compute


Approvals = Mapping[str, tuple[str, str]]  # by key: who approved, and when


def outputs_csv(manifest: Manifest, approvals: Approvals = MappingProxyType({})) -> str:
    """The table of the files that are there: UTF-8, with a header, a column for each axis.

    ``take`` is the number of several, ``picked`` who picked it, ``approved`` yes or nothing.
    A cell that a spreadsheet would take for a formula begins with a quote.
    """
    axes = list(dict.fromkeys(axis for variant in manifest.variants for axis in variant.values))
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    taken = (*_BEFORE, *_AFTER)
    named = [f"{axis}_" if axis in taken else axis for axis in axes]
    table.writerow([*_BEFORE, *named, *_AFTER])
    rows = _rows(manifest, axes, approvals)
    table.writerows([_cell(value) for value in row] for row in rows)
    return buffer.getvalue()


def _rows(manifest: Manifest, axes: list[str], approvals: Approvals) -> Iterator[list[object]]:
    picked = {pick.chosen: pick.by for pick in manifest.picks if pick.chosen is not None}
    steps = {step.key: step for step in manifest.steps}
    several = {step.name for step in manifest.steps if _TAKE.search(step.label)}
    variants = {variant.id: variant.values for variant in manifest.variants}
    for entry in manifest.outputs:
        if entry.sha256 is None or entry.key not in steps:
            continue
        step, values = steps[entry.key], variants.get(entry.variant, {})
        size = _size(entry, step)
        own = [values.get(axis, "") for axis in axes]
        head = [entry.path, entry.size, entry.sha256, size.width, size.height, step.name]
        who, when = approvals.get(entry.key, ("", ""))
        take = _TAKE.search(step.label)
        number = take[1] if take else "1" if step.name in several else ""
        approved = ["yes" if who else "", who, when]
        yield [*head, *own, entry.key, entry.kept, number, picked.get(entry.key, ""), *approved]


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
