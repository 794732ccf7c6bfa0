"""How a parent ends: its verdict, once for each round; and a recipe's run published before it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from flows.execution.outcome import Outcome
from flows.execution.stages import Stage
from flows.execution.verdicts import give, verdict, words_of
from flows.pipeline import Finished, links_for, publish
from flows.scheduling.hand import Hand, Stop, Why, pause
from flows.scheduling.site import Site
from flows.store.base import StoreError
from flows.store.objects import Objects
from flows.store.runfolder import RunFolder

log = logging.getLogger(__name__)

CANCELLED = "it was cancelled"  # why a parent ended, when people said so
LATE = "the deadline has passed"
PUBLISH_TRIES = 3
SHOWN = 200  # rows of a table of failures
TOLD = 20  # of them in the log
LINK_SECONDS = 24 * 3600

Say = Callable[[int, str], None]


@dataclass(frozen=True, slots=True)
class Closing:
    """A parent's verdict of this round. Said again it says the same."""

    objects: Objects
    hand: Hand
    round: int

    def known(self) -> Mapping[str, Any] | None:
        """The verdict that an earlier execution has given."""
        words = verdict(self.objects, self.hand.name, self.round)
        return None if words is None else words_of(words, self.hand.name)

    def give(self, words: Mapping[str, Any]) -> Mapping[str, Any]:
        """End with these words; those that count.

        Raises:
            Stop: it is somebody else's by now.
        """
        if not self.hand.lease.sure(pause):
            raise Stop(Why.LOST)
        give(self.objects, self.hand.name, self.round, json.dumps(words, indent=1).encode())
        return self.known() or words


def publish_run(
    site: Site, closing: Closing, store: str, stage: Stage, outcome: Outcome, say: Say
) -> Mapping[str, Any]:
    """Publish what was made; the verdict's words. What cannot be published is said there.

    Raises:
        Stop: it is somebody else's by now.
        StoreError: the store fails for good.
    """
    run = RunFolder(closing.objects, stage.sheet.folder)
    settings = site.settings.given(store=store)
    for attempt in range(1, PUBLISH_TRIES + 1):
        if not closing.hand.lease.sure(pause):
            raise Stop(Why.LOST)
        try:
            keyed = site.store(store)
            finished = publish(stage.plan, outcome, keyed, run, links_for(run, settings))
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
    _show(site, closing.hand, finished, say)
    manifest = finished.manifest
    return {
        "ending": manifest.ending.value,
        "whole": manifest.whole,
        "why": manifest.why,
        "counts": {state.value: n for state, n in manifest.counts.items() if n},
        "run": run.name,
        "report": finished.report,
    }


def _show(site: Site, hand: Hand, finished: Finished, say: Say) -> None:
    manifest = finished.manifest
    rows = [
        {"step": step.label, "ended": step.state.value, "why": step.reason}
        for step in manifest.steps
        if step.state.value in {"failed", "blocked"}
    ]
    if rows:
        words = f"{len(rows)} steps without a picture"
        site.progress.table(hand.run, "kontext-failures", rows[:SHOWN], words)
    for row in rows[:TOLD]:
        say(logging.WARNING, f"{row['step']}: {row['ended']}: {row['why']}")
    text = f"[The report]({_link(finished)}) of `{finished.run.name}`"
    site.progress.text(hand.run, "kontext-report", text, "the report")
    counts = ", ".join(f"{n} {state.value}" for state, n in manifest.counts.items() if n)
    say(logging.INFO, f"{finished.run.name}: {counts}; report: {finished.report}")


def _link(finished: Finished) -> str:
    """A link that the dashboard can open, where the store gives one."""
    try:
        return finished.run.link("report.html", LINK_SECONDS)
    except StoreError:
        return finished.report


def state_of_run(words: Mapping[str, Any]) -> State[Any]:
    """The state of a run-recipe by its verdict."""
    counts = ", ".join(f"{n} {state}" for state, n in dict(words.get("counts") or {}).items())
    why = str(words.get("why") or "")
    if words.get("whole"):
        return Completed(message=counts or "nothing to make", data="made")
    told = "; ".join(part for part in (counts, why) if part) or "not all was made"
    return Cancelled(message=told) if why == CANCELLED else Failed(message=told)
