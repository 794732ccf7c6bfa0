"""Tables as people keep them: CSV, TSV, YAML, JSON and JSON Lines, into rows that know their lines.

Every cell stays the text that was written: ``007``, ``1.50`` and ``=SUM(A1)`` are what they look
like. Whatever is wrong with a table is one line with the table's own name and line.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.problems import Mark, Problem, did_you_mean, one_of
from flows.recipe.errors import RecipeError
from flows.recipe.fields import IDENTIFIER_PATTERN
from flows.recipe.node import short
from flows.recipe.source import parse_list

MAX_BYTES = 16 * 1024 * 1024
MAX_ROWS = 10_000
ENDINGS = (".csv", ".tsv", ".yaml", ".yml", ".json", ".jsonl", ".ndjson")

_NAME = re.compile(IDENTIFIER_PATTERN)
_ODD = re.compile(r"[^A-Za-z0-9_]+")


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its line in the table, from 1, and its cells by the columns' variables."""

    line: int
    cells: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Table:
    """A table: what messages call it, its rows, and its columns' variables by their headers.

    A header that is no name becomes one, ``Product name`` for one ``Product_name``.
    """

    shown: str
    rows: tuple[Row, ...]
    columns: Mapping[str, str]

    def column(self, asked: str) -> str | None:
        """The variable of a column, by its header or by itself."""
        return self.columns.get(asked, asked if asked in self.columns.values() else None)

    def lacks(self, asked: str) -> str:
        """That there is no such column, with the nearest that there is."""
        if hint := did_you_mean(asked, self.columns):
            return f"no column '{asked}' in {self.shown}: {hint}"
        return f"no column '{asked}' in {self.shown}; expected {one_of(list(self.columns))}"


def read_table(path: Path, shown: str) -> Table:
    """Read a table.

    Raises:
        RecipeError: too large, not UTF-8, not of its kind, empty, ragged, or with two columns of
            a name; at its line.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        text = f"cannot be read ({reason}); expected a readable table; check its permissions"
        raise _wrong(shown, None, text) from None
    if len(data) > MAX_BYTES:
        raise _wrong(shown, None, f"larger than {MAX_BYTES >> 20} MiB; expected less; split it")
    text = _text(data, shown)
    header, rows = _KINDS[path.suffix.lower()](text, shown)
    if not rows:
        raise _wrong(shown, 1, "the table has no rows; expected at least one; add it")
    if len(rows) > MAX_ROWS:
        what = f"{len(rows)} rows; expected at most {MAX_ROWS}; split the table"
        raise _wrong(shown, rows[MAX_ROWS][0], what)
    columns = _columns(header, shown)
    named = [columns[name] for name in header]
    return Table(
        shown,
        tuple([Row(line, dict(zip(named, cells, strict=True))) for line, cells in rows]),
        columns,
    )


_Parsed = tuple[list[str], list[tuple[int, list[str]]]]  # the header; each row's line and cells


def _delimited(sign: str) -> Callable[[str, str], _Parsed]:
    def parse(text: str, shown: str) -> _Parsed:
        first = text.split("\n", 1)[0]
        # Where the comma is the decimal sign, spreadsheets write semicolons.
        delimiter = ";" if sign == "," and "," not in first and ";" in first else sign
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        rows: list[tuple[int, list[str]]] = []
        header: list[str] | None = None
        begins = 1
        try:
            for cells in reader:
                stripped = [cell.strip() for cell in cells]
                if header is None and any(stripped):
                    header = stripped
                elif header is not None and cells:
                    _check_ragged(shown, begins, stripped, header)
                    rows.append((begins, stripped))
                begins = reader.line_num + 1
        except csv.Error as error:
            what = f"not valid CSV ({error}); expected cells between '{delimiter}'; mend the quotes"
            raise _wrong(shown, reader.line_num or 1, what) from None
        return header or [], rows

    return parse


def _check_ragged(shown: str, line: int, cells: Sequence[str], header: Sequence[str]) -> None:
    if len(cells) != len(header):
        text = (
            f"this row has {len(cells)} {'cell' if len(cells) == 1 else 'cells'}; expected "
            f"{len(header)}, as the header has; "
            "mend the row, or quote what holds the separator"
        )
        raise _wrong(shown, line, text)


def _json(text: str, shown: str) -> _Parsed:
    decoder = _decoder()
    at = _skip(text, 0)
    if text[at : at + 1] != "[":
        what = "the table is no list; expected a list of rows; write [{...}, {...}]"
        raise _wrong(shown, text.count("\n", 0, at) + 1, what)
    found: list[tuple[int, Any]] = []
    at = _skip(text, at + 1)
    try:
        while text[at : at + 1] != "]":
            line = text.count("\n", 0, at) + 1
            row, at = decoder.raw_decode(text, at)
            found.append((line, row))
            at = _skip(text, at)
            if text[at : at + 1] == ",":
                at = _skip(text, at + 1)
            elif text[at : at + 1] != "]":
                raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
    except (ValueError, RecursionError) as error:
        raise _no_json(shown, error, 0) from None
    return _mappings(found, shown)


def _json_lines(text: str, shown: str) -> _Parsed:
    decoder = _decoder()
    found: list[tuple[int, Any]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                found.append((number, decoder.decode(line)))
            except (ValueError, RecursionError) as error:
                raise _no_json(shown, error, number - 1) from None
    return _mappings(found, shown)


def _decoder() -> json.JSONDecoder:
    # Numbers as they are written: 1.50 stays 1.50.
    return json.JSONDecoder(
        object_pairs_hook=_Pairs, parse_float=_Written, parse_int=_Written, parse_constant=_Written
    )


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with all its names, the repeated ones too."""


class _Written(str):
    """A JSON number as it stands."""

    __slots__ = ()


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _no_json(shown: str, error: Exception, lines: int) -> RecipeError:
    line = lines + (error.lineno if isinstance(error, json.JSONDecodeError) else 1)
    why = error.msg.lower() if isinstance(error, json.JSONDecodeError) else "nested too deeply"
    return _wrong(shown, line, f"not valid JSON ({why}); expected a row {{...}}; mend it")


def _yaml(text: str, shown: str) -> _Parsed:
    found: list[tuple[int, Any]] = []
    for item in parse_list(text, shown):
        row: Any = None
        if item.fields is not None:
            row = _Pairs(
                (name, None if entry.node.kind in ("a mapping", "a list") else entry.node.text)
                for name, entry in item.fields.items()
            )
        found.append((item.mark.line, row))
    return _mappings(found, shown)


def _mappings(found: Sequence[tuple[int, Any]], shown: str) -> _Parsed:
    """Rows that are mappings, which must all have the columns of the first."""
    header: list[str] = []
    rows: list[tuple[int, list[str]]] = []
    for line, row in found:
        if not isinstance(row, _Pairs):
            what = "this row is no mapping; expected {column: value, ...}; write one"
            raise _wrong(shown, line, what)
        cells: dict[str, str] = {}
        for name, value in row:
            if name in cells:
                raise _twice(shown, line, name)
            cells[name] = _cell(value, name, shown, line)
        header = header or list(cells)
        odd = [name for name in cells if name not in header]
        lacking = [name for name in header if name not in cells]
        if odd or lacking:
            which = f"lacks {one_of(lacking)}" if lacking else f"has {one_of(odd)}"
            what = (
                f"this row {which}; expected the columns of the first row; give all rows the same"
            )
            raise _wrong(shown, line, what)
        rows.append((line, [cells[name] for name in header]))
    return header, rows


def _cell(value: Any, name: str, shown: str, line: int) -> str:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return str(value).lower()
    if value is None and shown.lower().endswith((".json", ".jsonl", ".ndjson")):
        return ""
    text = f"'{name}' holds more than one value; expected a text or a number; write one"
    raise _wrong(shown, line, text)


_KINDS: Mapping[str, Callable[[str, str], _Parsed]] = {
    ".csv": _delimited(","),
    ".tsv": _delimited("\t"),
    ".yaml": _yaml,
    ".yml": _yaml,
    ".json": _json,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
}


def _columns(header: Sequence[str], shown: str) -> dict[str, str]:
    """The variable that each header becomes."""
    columns: dict[str, str] = {}
    for number, name in enumerate(header, 1):
        if not name:
            text = f"column {number} has no name; expected one for each; write it"
            raise _wrong(shown, 1, text)
        made = name if _NAME.match(name) else _ODD.sub("_", name).strip("_")[:40]
        if name in columns or (_NAME.match(made) and made in columns.values()):
            raise _twice(shown, 1, name)
        # A name of other letters than these still chooses its column, but no template can say it.
        columns[name] = made if _NAME.match(made) else name
    return columns


def _twice(shown: str, line: int, name: str) -> RecipeError:
    return _wrong(shown, line, f"two columns are named '{short(name)}'; expected one; rename one")


def _text(data: bytes, shown: str) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _wrong(shown, 1, "the table is UTF-16; expected UTF-8; save it again as UTF-8")
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _wrong(shown, line, "not UTF-8; expected UTF-8; save it again as UTF-8") from None
    if (at := text.find("\x00")) >= 0:
        line = text.count("\n", 0, at) + 1
        raise _wrong(shown, line, "the table is binary; expected text; name another file")
    return text


def _wrong(shown: str, line: int | None, text: str) -> RecipeError:
    return RecipeError([Problem(shown, None if line is None else Mark(line, 1), text)])


def some_lines(lines: Sequence[int], limit: int = 8) -> str:
    """``line 4``, or ``lines 4, 7 and 9``: where rows are, for a message."""
    shown = [str(line) for line in lines[:limit]]
    if len(lines) > limit:
        return f"lines {', '.join(shown)} and {len(lines) - limit} more"
    if len(shown) == 1:
        return f"line {shown[0]}"
    return f"lines {', '.join(shown[:-1])} and {shown[-1]}"
