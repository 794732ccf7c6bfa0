"""``kontext gc``: take out of a store what nobody needs any more."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli import ExitCode, told
from flows.cli.options import Store, effective

if TYPE_CHECKING:
    from flows.gc.kinds import Policy
    from flows.gc.mark import Marks
    from flows.gc.sweep import Swept
    from flows.settings import Settings
    from flows.store.objects import Objects

LEAST_GRACE = 2 * 3600.0  # seconds; twice the store's touch_after, see flows/gc/sweep.py


def gc(
    *,
    store: Store = None,
    delete: Annotated[
        bool, typer.Option("--delete", help="Really delete; without it only told what would go.")
    ] = False,
    grace: Annotated[
        str | None,
        typer.Option(
            metavar="SPAN",
            help="Nothing younger goes: 72h, 7d; 2h at least. Default: the setting gc.grace_hours.",
        ),
    ] = None,
    runs_older: Annotated[
        str | None,
        typer.Option(
            metavar="SPAN",
            help="Whole runs older than this go too, unless pinned: 90d. Default: none.",
        ),
    ] = None,
    pin: Annotated[
        list[str] | None,
        typer.Option(metavar="RUN", help="Keep this run for good; nothing else is done."),
    ] = None,
    unpin: Annotated[
        list[str] | None,
        typer.Option(metavar="RUN", help="Keep it no longer; nothing else is done."),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Read everything and set aside what is damaged, so that the next run makes it "
            "again; nothing else is done.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Show what nobody needs any more in a store; with --delete, delete it.

    What a run's manifest names stays, and what a running run needs: it is safe beside batches.
    """
    from flows.gc.kinds import Policy
    from flows.pull.listing import RunNotFound
    from flows.store.address import open_objects
    from flows.store.base import StoreError

    settings = effective(store=store)
    policy = Policy(_grace(grace, settings), _span(runs_older, "--runs-older"))
    stopped = "stopped; the same command goes on from there"
    with told(StoreError, wrong=(RunNotFound,), stopped=stopped):
        objects = open_objects(settings.store, settings)
        if pin or unpin:
            _pins(objects, pin or [], unpin or [])
        elif verify:
            _verify(settings, as_json=as_json)
        else:
            _clean(objects, policy, delete=delete, as_json=as_json)


def _grace(text: str | None, settings: Settings) -> float:
    found = _span(text, "--grace")
    if found is None:
        return settings.gc.grace_hours * 3600
    if found < LEAST_GRACE:
        raise typer.BadParameter(
            f"'{text}' is too short to be safe; expected 2h at least", param_hint="--grace"
        )
    return found


def _span(text: str | None, option: str) -> float | None:
    from flows.cli.words import seconds

    try:
        return None if text is None else seconds(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def _pins(objects: Objects, pins: list[str], unpins: list[str]) -> None:
    from flows.gc.pins import pin, unpin
    from flows.pull.listing import find_run

    for text in pins:
        run = find_run(objects, text)
        pin(objects, run, say=lambda told: typer.echo(told, err=True))
        typer.echo(f"{run}: pinned")
    for text in unpins:
        run = find_run(objects, text)
        typer.echo(f"{run}: {'no longer pinned' if unpin(objects, run) else 'was not pinned'}")


@contextmanager
def _looking() -> Iterator[Callable[[str, int, int], None]]:
    """A bar that is told what is done, how many, of how many."""
    from flows.cli.bars import bar

    with bar("looking") as move:
        yield lambda what, done, total: move(description=what, completed=done, total=total)


def _verify(settings: Settings, *, as_json: bool) -> None:
    from flows.store.address import open_store
    from flows.store.verify import verify

    with _looking() as tell:
        found = verify(open_store(settings.store, settings), tell)
    if as_json:
        typer.echo(json.dumps({"read": found.read, "damaged": found.damaged}, indent=1))
    else:
        for line in found.damaged:
            typer.echo(f"set aside {line}")
        typer.echo(f"{found.read} objects read, {len(found.damaged)} of them damaged")
    if found.damaged:
        raise typer.Exit(ExitCode.FAILED)


def _clean(objects: Objects, policy: Policy, *, delete: bool, as_json: bool) -> None:
    from flows.gc.sweep import Sweep, mark

    sweep = found = None
    try:
        with _looking() as tell:
            if delete:
                sweep = Sweep(objects, policy, tell=tell)
                found = sweep.run()
            else:
                found = mark(objects, policy, time.time(), tell)
    finally:
        if found or sweep:
            _report(found, sweep.swept if sweep else None, as_json=as_json)


def _report(found: Marks | None, swept: Swept | None, *, as_json: bool) -> None:
    rows = _rows(found, swept)
    if as_json:
        whole: dict[str, Any] = {
            "deleted": swept is not None,
            "finished": found is not None,
            "goes": {kind: {"count": count, "bytes": total} for kind, count, total in rows},
            "runs": list(found.runs) if found else [],
            "stays": {
                why: {"count": count, "bytes": total}
                for why, (count, total) in (found.stays if found else {}).items()
            },
            "unreadable": list(found.blind) if found else [],
        }
        typer.echo(json.dumps(whole, indent=1))
    else:
        _print(rows, found, swept)
    for line in found.notes if found else ():
        typer.echo(line, err=True)
    if found and found.blind:
        for line in found.blind:
            typer.echo(line, err=True)
        typer.echo(
            "what these name cannot be known, so no picture, file, failure note or run goes; run "
            "their recipes again, or remove them",
            err=True,
        )


def _rows(found: Marks | None, swept: Swept | None) -> list[tuple[str, int, int]]:
    from flows.gc.kinds import Kind

    if swept is not None:
        return [(k.value, swept.counts[k], swept.bytes[k]) for k in Kind if swept.counts[k]]
    if found is None:
        return []
    rows = []
    for kind in Kind:
        entries = found.entries(kind)
        count = len(found.uploads) if kind is Kind.UPLOADS else len(entries)
        if count:
            rows.append((kind.value, count, sum(entry.size for entry in entries)))
    return rows


def _print(rows: list[tuple[str, int, int]], found: Marks | None, swept: Swept | None) -> None:
    from flows.cli.words import size

    if not rows:
        typer.echo("nothing went" if swept is not None else "nothing would go")
    for name, count, total in rows:
        typer.echo(f"{'went' if swept is not None else 'would go'}  {count} {name}, {size(total)}")
    for run in found.runs if found else ():
        typer.echo(f"          {run}")
    for why, (count, total) in sorted((found.stays if found else {}).items()):
        typer.echo(f"stays     {count} {why}" + (f", {size(total)}" if total else ""))
    if swept is None and rows:
        typer.echo("nothing was deleted; --delete does it")
    if swept is not None and swept.kept.total():
        typer.echo(f"{swept.kept.total()} more came to be needed, or changed, meanwhile: they stay")
