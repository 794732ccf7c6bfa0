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
) -> None:
    """Show what a run would make: per step, how many pictures are done and how many are left.

    Everything is keyed before any model loads, so this takes no GPU and changes nothing.
    """
    from flows.plan.plan import make_plan
    from flows.problems import few
    from flows.recipe.recipe import load_recipe

    settings = effective(store=store, device=device)
    planned = make_plan(
        load_recipe(recipe, changes(sets, model), settings),
        numerics=choose_numerics(dtype, settings.device),
        only=tuple(only or ()),
        settings=settings,
    )
    progress = _progress(planned, settings)
    if as_json:
        typer.echo(json.dumps(_as_json(planned, progress), indent=2, ensure_ascii=False))
        return
    for note in (*few(planned.warnings), *_failure_notes(planned, progress.failures)):
        typer.echo(f"note: {note}", err=True)
    _print_table(planned, progress)


def _progress(planned: Plan, settings: Settings) -> PlanStatus:
    from flows.plan.estimate import SAMPLE, StepTimes
    from flows.store.address import open_store
    from flows.store.base import StoreError

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


def _print_table(planned: Plan, progress: PlanStatus) -> None:
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
    typer.echo(_sentence(total, ready, progress.seconds))


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
        "warnings": list(planned.warnings),
    }
