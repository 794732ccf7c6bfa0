"""The runs of a store: which there are, how they ended, and which one a person means."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from enum import StrEnum

from flows.recipe.naming import run_slug
from flows.run.manifest import FILE_NAME, Manifest, ManifestError, one_large, parse_manifest
from flows.run.outcome import Ending
from flows.settings.address import SCHEME, is_s3
from flows.store.address import parse_address
from flows.store.base import AddressError, StoreError
from flows.store.claims import ALIVE_FOR, Claim, read_claims
from flows.store.lanes import LANES, in_lanes
from flows.store.objects import Objects
from flows.store.runfolder import RUNS

PINS = "pins/"
RUN_NAME = re.compile(r"(?P<day>\d{4}-\d\d-\d\d)-(?P<recipe>.+)-(?P<id>[0-9a-f]{8})")
_SHOWN = 8  # names in a message
_LOOKED_AT = 10  # manifests read for a whole run


class RunNotFound(Exception):  # noqa: N818 - what a person sees
    """No run is called so, or several are; the message names those that there are."""


class RunState(StrEnum):
    """How it stands with a run."""

    RUNNING = "running"  # it says so, at least every minute
    COMPLETE = "complete"
    FAILED = "failed"  # some steps failed, or some outputs could not be written
    INTERRUPTED = "interrupted"  # stopped, or killed before it could write its manifest
    STOPPED = "stopped"  # nothing further could be done: no model, no space
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class RunLine:
    """One run in the list. ``counts`` by the names of a step's states; ``when`` in ISO 8601."""

    run: str
    recipe: str
    state: RunState
    counts: Mapping[str, int]
    outputs: int
    when: str
    pinned: bool
    why: str = ""
    sets: tuple[str, ...] = ()
    only: tuple[str, ...] = ()


def list_runs(objects: Objects, limit: int | None = None) -> list[RunLine]:
    """The runs of a store, newest first, at most ``limit``. Manifests are read several at once.

    Raises:
        StoreError: the store cannot be read.
    """
    now = time.time()
    claims = {held.run: held for held in read_claims(objects)[0] if now - held.renewed < ALIVE_FOR}
    pins = {entry.name.removeprefix(PINS) for entry in objects.list(PINS)}
    names = sorted({*objects.folders(f"{RUNS}/"), *claims}, reverse=True)
    if limit is not None and len(names) > limit:
        # Names tell the day only: all of the last one are read, then the latest are kept.
        last = names[limit - 1][:10]
        names = [name for name in names if name[:10] >= last]

    def line(run: str) -> RunLine | None:
        return _line(objects, run, claims.get(run), pinned=run in pins)

    lines = [found for _, found in in_lanes(line, names, LANES) if found is not None]
    lines.sort(key=lambda found: (found.when, found.run), reverse=True)
    return lines[:limit]


def _line(objects: Objects, run: str, claim: Claim | None, *, pinned: bool) -> RunLine | None:
    """One run; ``None`` where there is only an empty folder, or one that is not a run's."""
    named = RUN_NAME.fullmatch(run)
    recipe, day = (named["recipe"], named["day"]) if named else (run, "")

    def told(state: RunState, when: str, why: str = "") -> RunLine:
        return RunLine(run, recipe, state, {}, 0, when, pinned, why)

    try:
        entry = objects.stat(f"{RUNS}/{run}/{FILE_NAME}")
        with one_large(entry.size if entry is not None else 0):
            manifest = manifest_of(objects, run)
            if manifest is not None:
                # A run that was killed on its way out leaves a claim older than its manifest.
                written = entry.modified if entry is not None else 0.0
                running = claim is not None and claim.renewed > written
                return _ended(run, manifest, running=running, pinned=pinned)
    except (ManifestError, StoreError, ValueError) as why:
        return told(RunState.UNREADABLE, day, str(why))
    if claim is not None:
        return told(RunState.RUNNING, _utc(claim.renewed))
    newest = max((entry.modified for entry in objects.list(f"{RUNS}/{run}/")), default=None)
    if named is None or newest is None:
        return None
    return told(
        RunState.INTERRUPTED, _utc(newest), f"no {FILE_NAME}; run the recipe again to go on"
    )


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _ended(run: str, manifest: Manifest, *, running: bool, pinned: bool) -> RunLine:
    """A run as its manifest tells it."""
    counts = {state.value: count for state, count in manifest.counts.items() if count}
    written = sum(output.sha256 is not None for output in manifest.outputs)
    state = RunState(manifest.ending.value)
    if running:
        state = RunState.RUNNING
    elif manifest.ending is Ending.COMPLETE and not manifest.whole:
        state = RunState.FAILED
    return RunLine(
        run, manifest.recipe, state, counts, written, manifest.written, pinned, manifest.why,
        manifest.sets, manifest.only,
    )  # fmt: skip


def manifest_of(objects: Objects, run: str) -> Manifest | None:
    """The manifest of a run; ``None`` when it has none.

    Raises:
        ManifestError: this version cannot read it.
        StoreError: the store cannot be read.
    """
    name = f"{RUNS}/{run}/{FILE_NAME}"
    held = objects.get(name)
    return None if held is None else parse_manifest(held.data, f"{objects.where}/{name}")


def split_address(text: str) -> tuple[str | None, str]:
    """The store and what is asked of it, in ``s3://bucket/prefix/runs/<run>`` or a path to a run.

    ``None`` where the text names no store: then it is the name of a run in the one that is set.

    Raises:
        RunNotFound: an address in S3 that is not a run's.
    """
    clean = text.rstrip("/")
    home, rest = _parted(clean)
    if home and rest:
        return home, rest
    if is_s3(text):
        try:
            parse_address(text)
        except AddressError as error:  # told without what may be a password in it
            raise RunNotFound(str(error)) from None
        raise RunNotFound(f"{text}: not a run; expected s3://bucket/prefix/{RUNS}/<run>")
    if clean.startswith(f"{RUNS}/"):
        return ".", clean.removeprefix(f"{RUNS}/")
    return None, clean


def _parted(text: str) -> tuple[str, str]:
    """What is before and after ``/runs/``, if possible one that the name of a run follows.

    A store's own prefix may have such a part, and so may an output's path.
    """
    middle = f"/{RUNS}/"
    begin = text.find(middle, len(SCHEME) if is_s3(text) else 0)  # a bucket may be called so, too
    first = (text[:begin], text[begin + len(middle) :]) if begin >= 0 else ("", "")
    while begin >= 0:
        rest = text[begin + len(middle) :]
        if RUN_NAME.fullmatch(rest.partition("/")[0]):
            return text[:begin], rest
        begin = text.find(middle, begin + 1)
    return first


def find_run(objects: Objects, text: str) -> str:
    """The run that a person means: its name, or a part that tells it apart.

    Where all runs that fit are of one recipe, or the text is a recipe's name, the latest whole one
    is meant, which ``--only`` did not narrow; where there is none, the latest that has ended.

    Raises:
        RunNotFound: none fits, or runs of several recipes do.
        StoreError: the store cannot be read.
    """
    names = sorted(objects.folders(f"{RUNS}/"), reverse=True)
    if text in names:
        return text
    recipes = {name: _recipe(name) for name in names}
    fitting = (
        [name for name in names if recipes[name] in (text, run_slug(text))]
        or [name for name in names if name.startswith(text)]
        or [name for name in names if text in name]
    )
    if not fitting:
        raise RunNotFound(_nothing_fits(objects.where, text, names))
    if len(fitting) > 1 and len({recipes[name] for name in fitting}) > 1:
        raise RunNotFound(
            f"{objects.where}: '{text}' fits {len(fitting)} runs: {_some(fitting)}; expected one "
            "of them; say more of its name"
        )
    return fitting[0] if len(fitting) == 1 else _latest(objects, fitting)


def runs_beginning(objects: Objects, text: str) -> list[str]:
    """Every run whose name begins so, oldest first.

    Raises:
        RunNotFound: there is none.
        StoreError: the store cannot be read.
    """
    names = sorted(objects.folders(f"{RUNS}/"))
    found = [name for name in names if name.startswith(text)]
    if not found:
        raise RunNotFound(_nothing_fits(objects.where, text, names[::-1]))
    return found


def _latest(objects: Objects, names: Sequence[str]) -> str:
    """The latest that was whole and not narrowed, of the newest ``_LOOKED_AT``.

    Else the one of the last day whose manifest is the newest; without any manifest, the first.
    """
    latest = None
    looked = 0
    by_day: dict[str, list[str]] = {}
    for name in names:
        by_day.setdefault(name[:10], []).append(name)
    for day in sorted(by_day, reverse=True):
        found = in_lanes(
            lambda name: objects.stat(f"{RUNS}/{name}/{FILE_NAME}"), by_day[day], LANES
        )
        ended = [(entry.modified, name) for name, entry in found if entry is not None]
        for _, name in sorted(ended, reverse=True):
            latest, looked = latest or name, looked + 1
            if _is_whole(objects, name):
                return name
            if looked == _LOOKED_AT:
                return latest
    return latest or names[0]


def _is_whole(objects: Objects, run: str) -> bool:
    entry = objects.stat(f"{RUNS}/{run}/{FILE_NAME}")
    with contextlib.suppress(ManifestError), one_large(entry.size if entry else 0):
        manifest = manifest_of(objects, run)
        return manifest is not None and manifest.whole and not manifest.only
    return False


def _recipe(run: str) -> str:
    named = RUN_NAME.fullmatch(run)
    return named["recipe"] if named else run


def _nothing_fits(where: str, text: str, names: Sequence[str]) -> str:
    if not names:
        return f"{where}: there is no run here; expected one of a finished `kontext run`"
    recipes = sorted({_recipe(name) for name in names})
    close = get_close_matches(text, [*recipes, *names], n=1, cutoff=0.45)
    hint = f"did you mean '{close[0]}'?" if close else f"there are {_some(names)}"
    return f"{where}: no run is called '{text}'; {hint}"


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
