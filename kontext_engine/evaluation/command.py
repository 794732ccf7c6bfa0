"""``kontext eval studio`` without its command line: load, measure, write."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kontext_engine.api import EngineOptions
from kontext_engine.catalogue import resolve_model
from kontext_engine.engine import KontextEngine
from kontext_engine.evaluation.answers import Asker
from kontext_engine.evaluation.codec import RoundTrip, load_round_trip
from kontext_engine.evaluation.errors import EvaluationError
from kontext_engine.evaluation.identity.net import WEIGHTS, Identity
from kontext_engine.evaluation.identity.retrieval import measure_retrieval
from kontext_engine.evaluation.identity.training import IdentityRun, train_identity
from kontext_engine.evaluation.items import Cast
from kontext_engine.evaluation.pages import write_pages
from kontext_engine.evaluation.studio import (
    Progress,
    StudioReport,
    StudioSettings,
    check_edge,
    find_cutouts,
    run_studio,
)
from kontext_engine.evaluation.summary import UNCOVER_NOTE, as_json
from kontext_engine.evaluation.tables import Table, report_tables, retrieval_line
from kontext_engine.files import write_whole
from kontext_engine.spec import Condition, NumericsProfile
from kontext_engine.training.cutouts import Cutout, read_set


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to measure and where to write it. ``steps`` None takes the model's own number."""

    model: str
    numerics: NumericsProfile
    cutouts: Path | None = None
    limit: int | None = None
    steps: int | None = None
    batch: int = 16
    seed: int = 0
    edge: int = 128
    true_cfg: float = 1.0
    json_file: Path | None = None
    html: Path | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """What to show: a headline, tables, notes, the files that were written, and what could not
    be, a line each: a disk that fills up costs the files, not the figures."""

    head: str
    tables: tuple[Table, ...]
    notes: tuple[str, ...]
    written: tuple[Path, ...]
    unwritten: tuple[str, ...]


def evaluate_studio(wanted: Wanted, progress: Progress) -> Measured:
    """Measure a model and write what is wanted.

    Raises:
        ModelError: the model cannot be used.
        EvaluationError: cut-outs or the identity net are missing, or an output's place cannot be
            written even before anything is measured.
    """
    ready = prepare(wanted)
    settings = StudioSettings(
        steps=ready.asker.steps, seed=wanted.seed, batch=wanted.batch,
        limit=wanted.limit, edge=wanted.edge, true_cfg=wanted.true_cfg,
        keep_pictures=wanted.html is not None,
    )  # fmt: skip
    report = run_studio(
        ready.asker.engine, ready.round_trip, ready.identity, ready.cutouts, settings, progress
    )
    notes = (f"{UNCOVER_NOTE}.", retrieval_line(report))
    return Measured(headline(report), report_tables(report), notes, *_write(report, wanted))


@dataclass(frozen=True, slots=True)
class Ready:
    """What every bench of a model asks and reads with."""

    cutouts: list[Cutout]
    identity: Identity
    asker: Asker
    round_trip: RoundTrip


def prepare(wanted: Wanted) -> Ready:
    """Find, load and try everything that is needed.

    Raises:
        ModelError: the model cannot be used.
        EvaluationError: cut-outs or the identity net are missing, the size is none, or an output's
            place cannot be written.
    """
    cutouts = find_cutouts(wanted.cutouts)
    identity = Identity.load(WEIGHTS)
    for path in (wanted.json_file, wanted.html / "index.html" if wanted.html else None):
        if path is not None:
            _writing(path, lambda path=path: _try(path))  # type: ignore[misc]
    spec = resolve_model(wanted.model)
    if spec.condition is not Condition.SEQUENCE:
        raise EvaluationError(f"{spec.name}: the studio bench is for models that edit in context")
    check_edge(wanted.edge, spec.multiple)
    engine = KontextEngine.load(spec, EngineOptions(wanted.numerics, wanted.batch))
    asker = Asker(
        engine, wanted.steps or spec.default_steps, wanted.seed, (wanted.edge, wanted.edge),
        wanted.true_cfg,
    )  # fmt: skip
    return Ready(cutouts, identity, asker, load_round_trip(spec, wanted.numerics))


def headline(report: StudioReport) -> str:
    """What was measured, in a line."""
    settings, spec = report.settings, report.engine.spec
    cut = f", cut to {settings.limit} a category" if settings.limit else ""
    return (
        f"{spec.name} ({spec.digest[:12]}), {settings.edge} px, {settings.steps} steps, "
        f"true_cfg {settings.true_cfg:g}, seed {settings.seed}{cut}: {settings.pictures} pictures "
        f"in {report.seconds:.0f} s"
    )


def _write(report: StudioReport, wanted: Wanted) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """The files that were written, and why others were not."""
    jobs: list[tuple[Path, Callable[[], object]]] = []
    if (path := wanted.json_file) is not None:
        jobs.append((path, lambda: write_figures(path, as_json(report))))
    if (folder := wanted.html) is not None:
        jobs.append((folder / "index.html", lambda: write_pages(report, folder)))
    return written_of(jobs)


def write_figures(path: Path, figures: dict[str, Any]) -> None:
    """A report's figures as JSON."""
    write_whole(path, json.dumps(figures, indent=2, allow_nan=False) + "\n")


def written_of(
    jobs: Sequence[tuple[Path, Callable[[], object]]],
) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """The files that these jobs wrote, and why others were not."""
    written, unwritten = [], []
    for place, write in jobs:
        try:
            _writing(place, write)
        except EvaluationError as error:
            unwritten.append(str(error))
        else:
            written.append(place)
    return tuple(written), tuple(unwritten)


def _try(path: Path) -> None:
    """Open the file as it will be opened, before minutes are spent on what goes into it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    existed = path.exists()
    with path.open("a"):
        pass
    if not existed:
        path.unlink()


def _writing(path: Path, write: Callable[[], object]) -> None:
    try:
        write()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise EvaluationError(
            f"{path}: cannot be written ({reason}); name a place that can be"
        ) from error


def train_identity_net(cutouts: Path, run: IdentityRun | None = None) -> Iterator[str]:
    """Train the identity net anew on one thread, over the shipped one; lines to show meanwhile.

    Raises:
        EvaluationError: ``cutouts`` is not the whole set, or the net cannot be written.
    """
    run = run or IdentityRun()
    _writing(WEIGHTS, lambda: _try(WEIGHTS))
    try:
        for step in train_identity(cutouts, run, WEIGHTS):
            right = f"{100 * step.right:.0f} % right"
            yield f"step {step.number}/{run.steps}: loss {step.loss:.3f}, {right}"
    except (FileNotFoundError, PermissionError) as error:
        raise EvaluationError(str(error)) from error
    identity, cast = Identity.load(WEIGHTS), Cast.of(read_set(cutouts))
    yield f"wrote {WEIGHTS.name}: {dict(identity.record)}"
    yield f"held out: {measure_retrieval(identity, cast, (128, 128)).as_json()}"
