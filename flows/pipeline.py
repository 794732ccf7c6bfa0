"""A run from plan to report, in plain functions: the command line and the Prefect flow call these.

plan -> execute (chunks, engine, store) -> publish (outputs, manifest, report).
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from flows.execution.engines import DEFAULT_BATCH, engine_factory
from flows.execution.events import Listener, ignore
from flows.execution.execute import CancelSignal, EngineFactory, never, run_plan
from flows.execution.outcome import Ending, Outcome
from flows.files import write_whole
from flows.manifest import FILE_NAME as MANIFEST_NAME
from flows.manifest import Manifest, ManifestError, build_manifest, read_manifest
from flows.outputs import OutputWriter
from flows.recipe.step import Plan, SourceImage
from flows.store.atomic import disk_errors
from flows.store.base import Store
from flows.store.local import LocalStore

DEFAULT_OUT = Path("out")


@dataclass(frozen=True, slots=True)
class Finished:
    """A run's end: its folder, what is in it, and the manifest that tells."""

    folder: Path
    manifest: Manifest
    report: Path

    @property
    def manifest_path(self) -> Path:
        """Where ``manifest.json`` is."""
        return self.folder / MANIFEST_NAME

    @property
    def ending(self) -> Ending:
        """How the run ended."""
        return self.manifest.ending


def run_recipe(
    plan: Plan,
    out: Path,
    *,
    batch: int = DEFAULT_BATCH,
    factory: EngineFactory | None = None,
    on_event: Listener = ignore,
    cancelled: CancelSignal = never,
) -> Finished:
    """Make what is missing of ``plan`` and publish it under ``out``.

    Raises:
        StoreError: ``out`` is full or cannot be written; what is stored stays.
    """
    store = open_store(out)
    load = factory or engine_factory(plan, out, batch)
    outcome = run_plan(plan, store, load, on_event=on_event, cancelled=cancelled)
    return publish(plan, outcome, store, out)


def open_store(out: Path) -> Store:
    """The store under ``out``."""
    return LocalStore(out)


def run_folder(plan: Plan, out: Path, day: date | None = None) -> Path:
    """``<out>/runs/<YYYY-MM-DD>-<recipe>-<id>``: the same plan on the same day is the same run."""
    name = re.sub(r"[^A-Za-z0-9._]+", "-", plan.recipe).strip("-.")[:60] or "recipe"
    return out / "runs" / f"{day or date.today()}-{name}-{plan.digest[:8]}"


def publish(plan: Plan, outcome: Outcome, store: Store, out: Path) -> Finished:
    """Write outputs, manifest and report of what has been made so far.

    Raises:
        StoreError: ``out`` is full or cannot be written.
    """
    from flows.report.write import source_problems, write_report

    folder = run_folder(plan, out)
    with disk_errors(out):
        problems = source_problems(folder, _sources(plan))
        manifest = build_manifest(plan, outcome)
        records = {key: end.record for key, end in outcome.steps.items() if end.record is not None}
        writer = OutputWriter(plan, store, folder, _before(folder))
        manifest = manifest.model_copy(
            update={
                "outputs": writer.write(records),
                "sources": tuple(
                    source.model_copy(update={"problem": problems.get(source.digest, "")})
                    for source in manifest.sources
                ),
            }
        )
        write_whole(folder / "recipe.yaml", plan.recipe_text)
        write_whole(folder / MANIFEST_NAME, manifest.to_json())
        return Finished(folder, manifest, write_report(folder, manifest, store))


def _before(folder: Path) -> Manifest | None:
    with contextlib.suppress(ManifestError):
        return read_manifest(folder)
    return None


def _sources(plan: Plan) -> list[SourceImage]:
    return [
        ref for step in plan.steps.values() for ref in step.contexts if isinstance(ref, SourceImage)
    ]
