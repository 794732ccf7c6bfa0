"""``kontext plan``: what a run would do, without doing it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli import told
from flows.cli.options import (
    InDtype,
    Model,
    OnDevice,
    Only,
    RecipePath,
    Sets,
    Store,
    changes,
    effective,
)
from kontext_engine.numerics import choose_numerics

if TYPE_CHECKING:
    from flows.plan.step import Plan, Step
    from flows.settings import Settings


_FAILURES_SHOWN = 10


@dataclass(frozen=True, slots=True)
class PlanStatus:
    """How far a plan is: keys that are done, engine seconds left, what failed the last time."""

    done: frozenset[str]
    seconds: float | None
    failures: Mapping[str, str]


def plan(
    recipe: RecipePath,
    *,
    sets: Sets = None,
    only: Only = None,
    store: Store = None,
    model: Model = None,
    device: OnDevice = None,
    dtype: InDtype = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print every step, key and output as JSON.")
    ] = False,
    prompts: Annotated[
        bool, typer.Option("--prompts", help="Print every step's seed and prompt, filled in.")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print these as CSV.")] = False,
    resolved: Annotated[
        bool,
        typer.Option(
            "--resolved",
            help="Print the recipe with what it extends and its folder's defaults, each line with "
            "its origin.",
        ),
    ] = False,
) -> None:
    """Show what a run would make: per step, how many pictures are done and how many are left.

    Everything is keyed before any model loads, so this takes no GPU and changes nothing.
    """
    from flows.decisions.decided import read_decided
    from flows.plan.models import known_model
    from flows.plan.plan import make_plan
    from flows.plan.reading import read_recipe
    from flows.problems import few
    from flows.recipe.resolved import resolved as resolved_text
    from flows.store.address import open_store
    from flows.store.base import StoreError

    settings = effective(recipe, store=store, device=device)
    read = read_recipe(recipe, changes(sets, model), settings)
    if resolved:
        typer.echo(resolved_text(read.written), nl=False)
        return
    spec, missing = known_model(read)
    with told(StoreError):
        decided = read_decided(
            open_store(settings.store, settings), settings, read.name, read.path.name
        )
        planned = make_plan(
            read,
            model=spec,
            numerics=choose_numerics(dtype, settings.device),
            only=tuple(only or ()),
            settings=settings,
            decided=decided,
        )
    if prompts or as_csv:
        for note in few(planned.warnings):
            typer.echo(f"note: {note}", err=True)
        _print_prompts(planned, as_csv=as_csv)
        return
    progress = _progress(planned, settings, keyed=not missing)
    if as_json:
        typer.echo(json.dumps(_as_json(planned, progress), indent=2, ensure_ascii=False))
        return
    for note in (*few(planned.warnings), *missing, *_failure_notes(planned, progress.failures)):
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"store     {settings.store}")
    _print_table(planned, progress, keyed=not missing)


def _print_prompts(planned: Plan, *, as_csv: bool) -> None:
    """Every step's label, seed and prompt, one a line."""
    import csv
    import sys

    from flows.run.table import quoted

    rows = [
        (label, planned.steps[key].params.seed, planned.steps[key].params.prompt)
        for label, key in planned.labels.items()
    ]
    if not as_csv:
        for label, seed, prompt in rows:
            typer.echo(f"{label}  seed {seed}\n    {prompt}")
        return
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("step", "seed", "prompt"))
    writer.writerows((quoted(label), seed, quoted(prompt)) for label, seed, prompt in rows)


def _progress(planned: Plan, settings: Settings, *, keyed: bool) -> PlanStatus:
    from flows.plan.estimate import SAMPLE, StepTimes
    from flows.store.address import open_store
    from flows.store.base import StoreError

    if not keyed:
        return PlanStatus(frozenset(), None, {})
    with told(StoreError):
        store = open_store(settings.store, settings)
        done = frozenset(key for key, has in store.has_all(planned.steps) if has)
        todo = [step for key, step in planned.steps.items() if key not in done]
        seconds = StepTimes(planned, store.sample(SAMPLE)).total(todo)
        notes = store.failures([step.key for step in todo])
        failed = [note for _, note in notes if note is not None]
        return PlanStatus(done, seconds, {note.key: note.reason for note in failed})


def _failure_notes(planned: Plan, failures: Mapping[str, str]) -> list[str]:
    """What failed the last time with exactly these pictures and settings, and so may again."""
    notes = [f"{planned.steps[key].label} failed last time: {why}" for key, why in failures.items()]
    more = len(notes) - _FAILURES_SHOWN
    return notes if more <= 0 else [*notes[:_FAILURES_SHOWN], f"{more} more failed last time"]


def _print_table(planned: Plan, progress: PlanStatus, *, keyed: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    title = f"{planned.recipe} with {planned.model.name}"
    table = Table("step", "does", title=title, title_justify="left")
    for name in ("variants", "pictures", "done", "to do"):
        table.add_column(name, justify="right")
    groups: dict[str, list[Step]] = {}
    for step in planned.steps.values():
        groups.setdefault(step.name, []).append(step)
    for name, steps in groups.items():
        variants = {variant for step in steps for variant in step.variants}
        ready = sum(step.key in progress.done for step in steps)
        counts = (len(variants), len(steps), ready, len(steps) - ready)
        table.add_row(name, steps[0].operation, *map(str, counts))
    total, ready = len(planned.steps), len(progress.done)
    table.add_section()
    counts = (len(planned.variants), total, ready, total - ready)
    table.add_row("all", "", *map(str, counts), style="bold")
    Console().print(table)
    typer.echo(
        _sentence(total, ready, progress.seconds)
        if keyed
        else f"{total} steps; none has a key without the model's weights: what is done is unknown."
    )
    if planned.waiting:
        picks = [one for one in planned.picks.values() if one.chosen is None]
        hands = sum(not pick.judge for pick in picks)
        typer.echo(
            f"{len(planned.waiting)} wait for {len(picks)} picks ({hands} by hand, "
            f"{len(picks) - hands} by judges); they have no key yet."
        )


def _sentence(total: int, ready: int, seconds: float | None) -> str:
    if ready == total:
        return f"{total} steps, all done; a run makes nothing."
    left = (
        "no estimate yet" if seconds is None else f"about {duration(seconds)} of engine time left"
    )
    return f"{total} steps, {ready} done, {total - ready} to do; {left}."


def duration(seconds: float) -> str:
    """``40 s``, ``12 min`` or ``3.5 h``, in round figures."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _as_json(planned: Plan, progress: PlanStatus) -> dict[str, Any]:
    labels: dict[str, list[str]] = {}
    for label, key in planned.labels.items():
        labels.setdefault(key, []).append(label)
    return {
        "recipe": planned.recipe,
        "digest": planned.digest,
        "model": {"name": planned.model.name, "digest": planned.model.digest},
        "total": len(planned.steps),
        "done": len(progress.done),
        "seconds_left": progress.seconds,
        "steps": [
            {
                "key": key,
                "labels": labels.get(key, []),
                "operation": step.operation,
                "prompt": step.params.prompt,
                "seed": step.params.seed,
                "parents": list(step.parents),
                "variants": list(step.variants),
                "done": key in progress.done,
                "last_failure": progress.failures.get(key),
            }
            for key, step in planned.steps.items()
        ],
        "variants": [
            {"id": item.id, "values": dict(item.values), "keys": list(item.keys)}
            for item in planned.variants
        ],
        "outputs": [
            {"path": item.path, "key": item.key, "variant": item.variant}
            for item in planned.outputs
        ],
        "picks": [
            {
                "label": pick.label,
                "candidates": {one.key: one.label for one in pick.candidates},
                "judge": pick.judge or None,
                "chosen": pick.chosen,
                "by": pick.by or None,
            }
            for pick in planned.picks.values()
        ],
        "waiting": {label: list(one.picks) for label, one in planned.waiting.items()},
        "warnings": list(planned.warnings),
    }
