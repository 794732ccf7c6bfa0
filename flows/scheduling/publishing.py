"""A recipe's run published: outputs, manifest, report; and its end in the dashboard."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from flows.run.outcome import Outcome
from flows.run.pipeline import links_for, publish
from flows.run.report.links import PAGE, RELATIVE, SHARED, Links
from flows.run.stages import Stage
from flows.scheduling.parent import Parent, in_counts
from flows.scheduling.shown import FAILURES, Shown
from flows.settings import Settings
from flows.settings.address import is_s3
from flows.store.base import StoreError
from flows.store.runfolder import RunFolder

log = logging.getLogger(__name__)

PUBLISH_TRIES = 3


def publish_run(
    parent: Parent[Any, Any], stage: Stage, outcome: Outcome, shown: Shown
) -> Mapping[str, Any]:
    """Publish what was made; the verdict's words. What cannot be published is said there.

    Raises:
        Stop: it is somebody else's by now.
        StoreError: the store fails for good.
    """
    run = RunFolder(parent.objects, stage.sheet.folder)
    settings = parent.site.settings.given(store=parent.form.store)
    signed, seconds = is_s3(run.where), settings.presign_seconds
    links, shared, page = _links(parent, run, settings)
    for attempt in range(1, PUBLISH_TRIES + 1):
        parent.attempt.be_sure()
        try:
            finished = publish(
                stage.plan, outcome, parent.store, run, settings, links=links, shared=shared
            )
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
    if manifest.waiting:
        counts["waiting"] = len(manifest.waiting)
    link = run.link(page, seconds) if page else finished.report
    told = in_counts(counts)
    shown.end(manifest, told, link, seconds if page and signed else 0, finished.report)
    bad = counts.get("failed", 0) + counts.get("blocked", 0)
    if bad:
        parent.say(logging.WARNING, f"{bad} steps without a picture: see {FAILURES}")
    parent.say(logging.INFO, f"{run.name}: {told}; report: {finished.report}")
    return {
        "ending": manifest.ending.value,
        "whole": manifest.whole,
        "why": manifest.why,
        "counts": counts,
        "run": run.name,
        "report": finished.report,
        "page": page,
    }


def _links(
    parent: Parent[Any, Any], run: RunFolder, settings: Settings
) -> tuple[Links, Links | None, str]:
    """The report's links, those of a second page, and the page that a link may lead to, or ""."""
    links, shared, page = links_for(run, settings), None, PAGE
    if links is RELATIVE and is_s3(run.where):
        # Whoever clicks on a link to a page in S3 is to see its pictures, too.
        shared, page = Links(run, settings.presign_seconds), SHARED
    try:
        run.link(page, settings.presign_seconds)
    except StoreError as error:
        if is_s3(run.where):
            parent.say(logging.WARNING, f"nobody can be given a link to the report: {error}")
        return RELATIVE, None, ""
    return links, shared, page
