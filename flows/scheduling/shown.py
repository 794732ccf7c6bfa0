"""What the dashboard shows of a recipe's run: a page that moves while it works, and its failures.

For people who look, not for machines: nothing hangs on it. The newest pictures are in the page
itself, small: whoever sees the dashboard sees them, wherever the store is.
"""

from __future__ import annotations

import base64
import contextlib
import html
import io
import time
from collections.abc import Iterable
from typing import Final

from prefect.logging.loggers import LoggingAdapter, get_logger

from flows.plan.step import Plan
from flows.run.ends import ChunkEnds
from flows.run.manifest import Manifest
from flows.run.outcome import State
from flows.run.report.links import ends
from flows.run.thumbs import Thumbnail
from flows.scheduling.attempt import Attempt
from flows.store.base import StoreError
from flows.store.objects import Objects

REPORT: Final = "kontext-report"
FAILURES: Final = "kontext-failures"
LOOKS = 2  # of a parent at its children, for one change of the page
NEWEST = 8  # pictures on it
SIDE = 144  # pixels of the longer side of each: all together some 30 kB in Prefect's database
ROWS = 200  # of the table of failures

_MADE = (State.DONE, State.CACHED)
_BAD = (State.FAILED, State.BLOCKED)
_MARKS = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_[]<>|#"})


def plain(text: str) -> str:
    """Words as Markdown that shows them as they are."""
    return text.translate(_MARKS)


def about_links(seconds: int) -> str:
    """What people should know of signed links that are made now."""
    return (
        f"Whoever has such a link can open the report and its pictures, until {ends(seconds)} at "
        "the latest. It holds the id of the access key that signed it, and no secret."
    )


def log_of(flow_run: str) -> LoggingAdapter:
    """The log of another flow run in Prefect, from any thread and process."""
    names = {"flow_run_id": flow_run, "flow_run_name": flow_run, "flow_name": "run-recipe"}
    return LoggingAdapter(get_logger("prefect.flow_runs"), extra=names)


class Shown:
    """What is shown of one run. ``taken``: how many pictures each ended chunk has made."""

    def __init__(self, attempt: Attempt, objects: Objects) -> None:
        self._progress = attempt.site.progress
        self._every = LOOKS * attempt.site.tempo.look
        self._run = attempt.run
        self._objects = objects
        self.taken: dict[str, int] = {}
        self._rows: dict[str, dict[str, str]] = {}  # by the keys of steps
        self._newest: dict[str, str] = {}  # names of thumbnails, the newest last; as HTML
        self._next = 0.0

    def take(self, chunk: str, ends: ChunkEnds | None, plan: Plan) -> None:
        """A chunk has ended: its failures are in the table from now on."""
        ended = ends.steps if ends is not None else {}
        self.taken[chunk] = sum(end.state in _MADE for end in ended.values())
        bad = {key: end for key, end in ended.items() if end.state in _BAD and key in plan.steps}
        for key, end in bad.items():
            self._rows[key] = _row(plan.steps[key].label, end.state, end.reason)
        if bad:
            self._table()

    def look(self, words: str, newest: Iterable[str]) -> None:
        """How far it is; these are names of thumbnails, of which some may be new."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self._every
        self._bring(newest)
        self._progress.page(self._run, REPORT, self._text(f"## {words}"), "the newest pictures")

    def end(self, manifest: Manifest, counts: str, link: str, seconds: int, where: str) -> None:
        """How it ended; ``link`` opens the report for so many seconds, 0: for ever."""
        steps = [one for one in manifest.steps if one.state in _BAD]
        self._rows = {one.key: _row(one.label, one.state, one.reason) for one in steps}
        if self._rows:
            self._table()
        made = sorted(
            (one for one in manifest.steps if one.blob), key=lambda one: one.created or ""
        )
        self._bring(
            Thumbnail.of(one.blob, one.width, one.height).name
            for one in made[-NEWEST:]
            if one.blob and one.width and one.height
        )
        lines = [f"## {plain(counts)}"]
        if link.startswith("http"):
            lines.append(f"### [Open the report](<{link}>)")
        if seconds:
            lines.append(about_links(seconds))
        lines.append(f"The report is at `{where}`.")
        self._progress.page(self._run, REPORT, self._text("\n\n".join(lines)), "the report")

    def _table(self) -> None:
        rows = list(self._rows.values())
        words = f"{len(rows)} steps without a picture"
        if len(rows) > ROWS:
            words += f"; the first {ROWS} are here, all are in the report"
        self._progress.table(self._run, FAILURES, rows[:ROWS], words)

    def _text(self, head: str) -> str:
        parts = [head]
        if self._rows:
            parts.append(f"{len(self._rows)} steps without a picture: see *{FAILURES}*.")
        if pictures := list(reversed(self._newest.values())):
            # The dashboard puts each picture on a line of its own, except in cells.
            cells = [pictures[n : n + 4] for n in range(0, len(pictures), 4)]
            rows = (f"<tr>{''.join(f'<td>{one}</td>' for one in row)}</tr>" for row in cells)
            parts.append(f"<table>{''.join(rows)}</table>")
        return "\n\n".join(parts)

    def _bring(self, names: Iterable[str]) -> None:
        for name in names:
            if name and name not in self._newest:
                with contextlib.suppress(StoreError, OSError, ValueError):
                    self._newest[name] = _picture(self._objects, name)
        for old in list(self._newest)[:-NEWEST]:
            del self._newest[old]


def _row(label: str, state: State, why: str) -> dict[str, str]:
    return {"step": label, "ended": state.value, "why": why}


def _picture(objects: Objects, name: str) -> str:
    """A thumbnail of the store as HTML that needs nothing else.

    Raises:
        ValueError: it is not there.
        StoreError: the store fails.
    """
    from PIL import Image

    held = objects.get(name)
    if held is None:
        raise ValueError(name)
    with Image.open(io.BytesIO(held.data), formats=["WEBP"]) as picture:
        picture.thumbnail((SIDE, SIDE))
        buffer = io.BytesIO()
        picture.save(buffer, "WEBP", quality=80)
        width, height = picture.size
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    source = html.escape(f"data:image/webp;base64,{data}")
    return f'<img src="{source}" width="{width}" height="{height}" alt="a new picture">'
