"""The body of ``nightly``: its recipes' runs, a few at once, to their ends; a table at the end.

It takes no care of the dead: the sweep revives its children as any parent.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, StateType

from flows.recipe.catalog import Catalog
from flows.run.stages import STAGES
from flows.scheduling.attempt import pause
from flows.scheduling.forms import NightlyForm
from flows.scheduling.names import NIGHTLY, RUN_RECIPE
from flows.scheduling.notices import PICTURES, REPORTS
from flows.scheduling.parent import CANCELLED, Child, Parent, in_counts, last_words
from flows.scheduling.server import LIVING, pages, read, those
from flows.scheduling.shown import REPORT, about_links, plain
from flows.scheduling.states import cancelled, put_on
from flows.settings.address import is_s3
from flows.store.base import StoreError
from flows.store.objects import checked
from flows.store.runfolder import RunFolder

MOST_REPORTS = 20  # that a notice has links to
CRASHED_FOR = 180.0  # seconds; whoever is not revived by then has ended


@dataclass(kw_only=True)
class Recipe(Child):
    """One of a night's recipes; ``crashed`` since then (``time.monotonic``).

    ``words`` are its verdict's, when it has ended.
    """

    now: str = "waiting"
    crashed: float | None = None
    words: Mapping[str, Any] = field(default_factory=dict)

    def end(self, why: str) -> None:
        """It has ended, with nothing of its own to say."""
        super().end(why)
        self.now = "cancelled" if why == CANCELLED else "not begun"


class Night(Parent[NightlyForm, Recipe]):
    """One execution of it."""

    flow = RUN_RECIPE

    def __init__(self, client: SyncPrefectClient, form: NightlyForm) -> None:
        super().__init__(client, form)
        hours = form.deadline_hours
        self.deadline = None if hours is None else self.start + timedelta(hours=hours)
        self.window = form.concurrency
        self.shown: list[dict[str, str]] = []

    def make(self) -> Mapping[str, Any]:
        """All of it; the words of its verdict."""
        self._wait_for_the_one_before()
        self.children = {name: Recipe(name=name) for name in self._names()}
        self.say(logging.INFO, f"{len(self.children)} recipes, {self.window} at once")
        self.tend()
        self.show()
        self._label()
        ended = Counter(child.now for child in self.children.values())
        why = self.why or ("" if ended else "there is no recipe to run")
        whole = not why and set(ended) == {"Completed"}
        return self.give({"whole": whole, "why": why, "counts": ended})

    # --- before it begins

    def _wait_for_the_one_before(self) -> None:
        """A night whose predecessor lives waits for it, and names it."""
        told = ""
        while (other := self._before()) is not None:
            if other.name != told:
                told = other.name
                self.say(logging.INFO, f"the night before, '{told}', is under way; this one waits")
            pause(self.site.tempo.look)

    def _before(self) -> FlowRun | None:
        own = (self.start, str(self.attempt.run))
        found = [
            (run.expected_start_time or self.start, str(run.id), run)
            for run in pages(self.client, **those(flows=[NIGHTLY], states=LIVING))
            if run.parameters.get("store") == self.form.store and run.id != self.attempt.run
            # Of those that are Scheduled only one that has been begun before: it was set back.
            if run.state_type is not StateType.SCHEDULED or run.start_time is not None
        ]
        begins, id_, first = min(found, key=lambda one: one[:2], default=(*own, None))
        return first if (begins, id_) < own else None

    def _names(self) -> list[str]:
        """The recipes, listed once for a night, whoever goes on with it.

        Raises:
            RecipeError: there is none, or the place cannot be read.
        """
        name = checked(f"{STAGES}{self.attempt.run}/{self.round}-night.json")
        held = self.objects.get(name)
        if held is None:
            settings = self.site.settings.given(store=self.form.store)
            if is_s3(self.form.recipes):
                names = Catalog(self.form.recipes, settings).addresses()
            else:
                names = Catalog(self.site.recipes, settings).names(self.form.recipes)
            if names:
                self.objects.create(name, json.dumps({"recipes": names}).encode())
                held = self.objects.get(name)
        return list(json.loads(held.data)["recipes"]) if held is not None else []

    # --- while it goes on

    def terms(self, child: Recipe) -> tuple[str, str, Mapping[str, Any], str | None]:
        """How a recipe is ordered."""
        parameters: dict[str, Any] = {
            "recipe": child.name,
            "overrides": [],
            "only": [],
            "store": self.form.store,
            "queue": "nightly",
            "deadline": self.deadline.isoformat() if self.deadline is not None else None,
        }
        key = f"night/{self.attempt.run}/{self.round}/{child.name}"
        return child.name, key, parameters, None

    def see(self, runs: Mapping[UUID, FlowRun]) -> None:
        """How those that were ordered stand."""
        for child in self.open:
            if child.run is None:
                continue
            run = runs.get(child.run)
            if run is None:
                self.say(logging.WARNING, f"{child.name} was deleted: it is ordered again")
                child.order, child.run = child.order + 1, None
            elif (state := run.state) is not None:
                child.now, child.why = state.name or "", state.message or ""
                if state.is_crashed():
                    child.crashed = child.crashed or time.monotonic()
                    child.over = time.monotonic() - child.crashed > CRASHED_FOR
                elif state.is_final():
                    child.over = True
                    child.words = last_words(self.client, self.objects, child.run)
                    self.say(logging.INFO, f"{child.name}: {child.now}: {child.why}")
                else:
                    child.crashed = None
                    put_on(self.client, child.run, state)

    def order(self) -> None:
        """Order what may begin; nothing more after the deadline."""
        self.is_late(self.deadline, "what was not ordered stays undone")
        if not self.why:
            super().order()
            return
        for child in self.open:
            if child.run is None:
                child.end(self.why)

    def cancel(self, child: Recipe) -> None:
        """It stops by itself, unless it has not begun."""
        run = read(self.client, child.run) if child.run is not None else None
        if run is not None and run.state is not None and run.state.is_scheduled():
            cancelled(self.client, run.id, self.why)

    def show(self) -> None:
        """The bar, and the table whenever a row has changed."""
        children, open_ = list(self.children.values()), len(self.open)
        words = f"{len(children) - open_} of {len(children)} recipes"
        self.site.progress.tell(self.attempt.run, 1 - open_ / max(1, len(children)), words)
        rows = [{"recipe": one.name, "now": one.now, "why": one.why[:300]} for one in children]
        if rows != self.shown:
            self.shown = rows
            self.site.progress.table(self.attempt.run, "kontext-night", rows[:500], words)
            self._page(words)

    def _page(self, words: str) -> None:
        """The reports of those that have ended, to be opened by a click."""
        parts = [f"## {words}"]
        for child in self.children.values():
            if child.words.get("run"):
                name, link = plain(child.name), self._report(child)
                named = f"[{name}](<{link}>)" if link.startswith("http") else f"{name} (`{link}`)"
                told = in_counts(child.words.get("counts") or {})
                parts.append(f"- {named}: {plain(told)}")
        if is_s3(self.objects.where) and len(parts) > 1:
            parts.append(f"\n{about_links(self._seconds)}")
        self.site.progress.page(self.attempt.run, REPORT, "\n".join(parts), "the reports")

    @property
    def _seconds(self) -> int:
        return self.site.settings.presign_seconds

    def _report(self, child: Recipe) -> str:
        """What opens a recipe's report."""
        page = str(child.words.get("page") or "")
        if page:
            with contextlib.suppress(StoreError):
                return RunFolder(self.objects, str(child.words["run"])).link(page, self._seconds)
        return str(child.words.get("report") or "")

    def _label(self) -> None:
        """What ``notices`` tell of it, as labels of its flow run."""
        made: Counter[str] = Counter()
        for child in self.children.values():
            made.update(child.words.get("counts") or {})
        ended = [one for one in self.children.values() if one.words.get("run")]
        reports = [f"{one.name}: {self._report(one)}" for one in ended[:MOST_REPORTS]]
        if len(ended) > MOST_REPORTS:
            reports.append(f"and {len(ended) - MOST_REPORTS} more")
        labels: dict[str, bool | int | float | str]
        labels = {PICTURES: in_counts(made), REPORTS: "\n".join(reports)}
        self.client.update_flow_run_labels(self.attempt.run, labels)
