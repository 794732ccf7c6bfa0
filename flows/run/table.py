"""``outputs.csv`` and ``outputs.json`` of a run: its files for spreadsheets and asset systems."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from flows.run.manifest import Manifest, OutputEntry, StepEntry
from kontext_engine.geometry import Fit, Size, place

FILE_NAME = "outputs.csv"
JSON_NAME = "outputs.json"
SHEET = "sheet"  # in the place of a step, of a contact sheet
_BEFORE = ("file", "bytes", "sha256", "width", "height", "step")
_AFTER = ("key", "kept", "take", "picked", "approved", "approved_by", "approved_at")
_TAKE = re.compile(r"[\[,]take=(\d+)\]$")
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would compute


Approvals = Mapping[str, tuple[str, str]]  # by key: who approved, and when


def outputs_csv(manifest: Manifest, approvals: Approvals = MappingProxyType({})) -> str:
    """The table of the files that are there: UTF-8, with a header, a column for each axis
    and for each of its variables, a table's columns among them.

    ``take`` is the number of several, ``picked`` who picked it, ``approved`` yes or nothing.
    A cell that a spreadsheet would take for a formula begins with a quote.
    """
    axes = _axes(manifest)
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(map(quoted, _header(axes)))
    rows = _rows(manifest, axes, approvals)
    table.writerows([quoted(value) for value in row] for row in rows)
    return buffer.getvalue()


def outputs_json(manifest: Manifest, approvals: Approvals = MappingProxyType({})) -> str:
    """The same rows as a list of objects, each cell as it is."""
    axes = _axes(manifest)
    names = _header(axes)
    rows = [dict(zip(names, row, strict=True)) for row in _rows(manifest, axes, approvals)]
    return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"


def quoted(value: object) -> object:
    """A CSV's cell that no spreadsheet takes for a formula: ``'=SUM(A1)``."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULAS) else value


def _axes(manifest: Manifest) -> list[str]:
    """The axes, and after them their variables, as ``axis.variable``."""
    names = dict.fromkeys(axis for one in manifest.variants for axis in one.values)
    more = dict.fromkeys(name for one in manifest.variants for name in one.details)
    return [*names, *more]


def _header(axes: list[str]) -> list[str]:
    taken = (*_BEFORE, *_AFTER)
    return [*_BEFORE, *(f"{axis}_" if axis in taken else axis for axis in axes), *_AFTER]


def _rows(manifest: Manifest, axes: list[str], approvals: Approvals) -> Iterator[list[object]]:
    picked = {pick.chosen: pick.by for pick in manifest.picks if pick.chosen is not None}
    steps = {step.key: step for step in manifest.steps}
    several = {step.name for step in manifest.steps if _TAKE.search(step.label)}
    variants = {one.id: {**one.values, **one.details} for one in manifest.variants}
    for entry in manifest.outputs:
        if entry.sha256 is None:
            continue
        if entry.key not in steps:
            sheet = [entry.path, entry.size, entry.sha256, "", "", SHEET]
            yield [*sheet, *("" for _ in axes), entry.key, entry.kept, *("" for _ in _AFTER[2:])]
            continue
        step, values = steps[entry.key], variants.get(entry.variant, {})
        size = pixels_of(entry, step)
        own = [values.get(axis, "") for axis in axes]
        head = [entry.path, entry.size, entry.sha256, size.width, size.height, step.name]
        who, when = approvals.get(entry.key, ("", ""))
        take = _TAKE.search(step.label)
        number = take[1] if take else "1" if step.name in several else ""
        approved = ["yes" if who else "", who, when]
        yield [*head, *own, entry.key, entry.kept, number, picked.get(entry.key, ""), *approved]


def pixels_of(entry: OutputEntry, step: StepEntry) -> Size:
    """A file's pixels, by the picture's and what became of it."""
    own = Size(step.width or 0, step.height or 0)
    asked = entry.shape.get("size")
    if asked is None:
        return own
    size = Size(*asked)
    return place(own, size, Fit.PAD).scaled if entry.shape.get("fit") == "inside" else size
