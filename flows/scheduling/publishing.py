"""A recipe's run published: outputs, manifest, report; and what the dashboard shows of it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from typing import Any

from flows.run.outcome import Outcome
from flows.run.pipeline import Finished, publish
from flows.run.stages import Stage
from flows.scheduling.parent import Parent, in_counts
from flows.store.base import StoreError
from flows.store.runfolder import RunFolder

log = logging.getLogger(__name__)

PUBLISH_TRIES = 3
SHOWN = 200  # rows of a table of failures
TOLD = 20  # of them in the log
LINK_SECONDS = 24 * 3600


def publish_run(parent: Parent[Any, Any], stage: Stage, outcome: Outcome) -> Mapping[str, Any]:
    """Publish what was made; the verdict's words. What cannot be published is said there.

    Raises:
        Stop: it is somebody else's by now.
        StoreError: the store fails for good.
    """
    run = RunFolder(parent.objects, stage.sheet.folder)
    settings = parent.site.settings.given(store=parent.form.store)
    for attempt in range(1, PUBLISH_TRIES + 1):
        parent.attempt.be_sure()
        try:
            finished = publish(stage.plan, outcome, parent.store, run, settings)
        except StoreError:
            raise
        except Exception as error:
            log.exception("%s cannot be published", run.name)
            if attempt == PUBLISH_TRIES:
                what = f"{type(error).__name__}: {error}"
                why = f"{run.name} cannot be published: {what}; what was made is stored"
                return {"ending": "refused", "why": why, "run": run.name}
            continue
        break
    manifest = finished.manifest
    counts = {state.value: n for state, n in manifest.counts.items() if n}
    _show(parent, finished, in_counts(counts))
    return {
        "ending": manifest.ending.value,
        "whole": manifest.whole,
        "why": manifest.why,
        "counts": counts,
        "run": run.name,
        "report": finished.report,
    }


def _show(parent: Parent[Any, Any], finished: Finished, counts: str) -> None:
    progress, flow_run = parent.site.progress, parent.attempt.run
    rows = [
        {"step": step.label, "ended": step.state.value, "why": step.reason}
        for step in finished.manifest.steps
        if step.state.value in {"failed", "blocked"}
    ]
    if rows:
        words = f"{len(rows)} steps without a picture"
        progress.table(flow_run, "kontext-failures", rows[:SHOWN], words)
    for row in rows[:TOLD]:
        parent.say(logging.WARNING, f"{row['step']}: {row['ended']}: {row['why']}")
    link = finished.report
    with contextlib.suppress(StoreError):  # one that the dashboard can open, where there is one
        link = finished.run.link("report.html", LINK_SECONDS)
    text = f"[The report]({link}) of `{finished.run.name}`"
    progress.add(flow_run, "kontext-report", "markdown", text, "the report")
    parent.say(logging.INFO, f"{finished.run.name}: {counts}; report: {finished.report}")
