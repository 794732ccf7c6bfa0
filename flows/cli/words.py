"""Numbers of bytes, spans of time and tables, as people write and read them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|h|d|w)")
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


def size(count: int) -> str:
    """``0 bytes``, ``12.3 kB``, ``4.5 GB``: powers of 1,000."""
    if count < 1000:
        return f"{count} bytes"
    value = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if value < 999.5 or unit == "TB":
            break
    return f"{value:.1f} {unit}" if value < 99.95 else f"{value:.0f} {unit}"


def seconds(text: str) -> float:
    """``90min``, ``72h``, ``7d``, ``2w`` in seconds.

    Raises:
        ValueError: it is none of these.
    """
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"'{text}' is no span of time; expected such as 90min, 72h, 7d or 2w")
    return float(found[1]) * _SECONDS[found[2]]


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of a table; never wrapped or cut: names are there to be copied."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(map(str.ljust, row, widths)).rstrip()
