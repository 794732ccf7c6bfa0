"""Nightly runs: one parent for each recipe, watched until the last has ended.

Nothing is remembered but in Prefect: parents are created under idempotency keys and found by tag,
so a coordinator that was killed goes on where it was.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Cancelling, Completed, Failed, Running

from flows.coordination.dispatch import DispatchError
from flows.coordination.intake import NightlyForm, RunForm
from flows.orchestration.api import PrefectApi
from flows.orchestration.artifacts import Artifacts, table
from flows.orchestration.names import RUN_RECIPE, deployment, nightly_tag
from flows.recipe.errors import RecipeError

log = logging.getLogger(__name__)

WATCH_EVERY = 5.0  # seconds

ListRecipes = Callable[[str], "Future[list[str]]"]  # in another thread


@dataclass
class _Night:
    flow_run: FlowRun
    form: NightlyForm
    listing: Future[list[str]]
    created: int = 0
    watched: float = float("-inf")
    cancelled: bool = False


class Nights:
    """All nightly runs of one coordinator."""

    def __init__(
        self,
        api: PrefectApi,
        list_recipes: ListRecipes,
        store: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._list = list_recipes
        self._store = store
        self._clock = clock
        self._artifacts = Artifacts(api)
        self._nights: dict[UUID, _Night] = {}
        self._deployment: UUID | None = None

    def has(self, flow_run: UUID) -> bool:
        """Whether it is being looked after."""
        return flow_run in self._nights

    def begin(self, flow_run: FlowRun) -> None:
        """Look after a nightly run; one that was begun by another process, too.

        Raises:
            ValidationError: its parameters are wrong.
        """
        form = NightlyForm.model_validate(flow_run.parameters)
        self._nights[flow_run.id] = _Night(flow_run, form, self._list(form.recipes))

    def advance(self) -> None:
        """Go on with each.

        Raises:
            DispatchError: Prefect is away.
        """
        for night in list(self._nights.values()):
            if night.listing.done():
                self._advance(night)

    def _advance(self, night: _Night) -> None:
        try:
            recipes = night.listing.result()
        except RecipeError as error:
            self._end(night, Failed(message=str(error)))
            return
        except Exception as error:
            log.exception("the recipes of a nightly run could not be listed")
            self._end(night, Failed(message=f"{type(error).__name__}: {error}"))
            return
        if not recipes:
            self._end(night, Failed(message="there is no recipe to run; expected one at least"))
            return
        now = self._clock()
        if night.created < len(recipes):
            if self._is_asked_to_stop(night):
                night.created = len(recipes)  # those that there are, are stopped
                return
            for recipe in recipes[night.created :]:
                self._create(night, recipe)
                night.created += 1
            self._api.set_state(night.flow_run.id, Running(message=f"{len(recipes)} recipes"))
        elif now - night.watched >= WATCH_EVERY:
            night.watched = now
            self._watch(night)

    def _create(self, night: _Night, recipe: str) -> None:
        start = night.flow_run.expected_start_time or datetime.now(UTC)
        hours = night.form.deadline_hours
        form = RunForm(
            recipe=recipe,
            overrides=[],
            only=[],
            store=night.form.store or self._store,
            queue="nightly",
            deadline=start + timedelta(hours=hours) if hours is not None else None,
        )
        try:
            if self._deployment is None:
                with self._api.asked() as client:
                    self._deployment = client.read_deployment_by_name(deployment(RUN_RECIPE)).id
            with self._api.asked() as client:
                client.create_flow_run_from_deployment(
                    self._deployment,
                    parameters=form.model_dump(mode="json"),
                    name=f"{recipe} ({night.flow_run.name})",
                    tags=[nightly_tag(str(night.flow_run.id))],
                    idempotency_key=f"{night.flow_run.id}/{recipe}",
                    work_queue_name="nightly",
                )
        except (ObjectNotFound, DispatchError) as error:
            self._deployment = None
            if isinstance(error, DispatchError):
                raise
            text = f"Prefect has no deployment '{deployment(RUN_RECIPE)}'; run 'kontext deploy'"
            raise DispatchError(text) from error

    def _watch(self, night: _Night) -> None:
        parents = self._api.flow_runs_of(tag=nightly_tag(str(night.flow_run.id)))
        if self._is_asked_to_stop(night) and not night.cancelled:
            for parent in parents:
                if parent.state is not None and not parent.state.is_final():
                    self._api.set_state(parent.id, Cancelling())
            night.cancelled = True
        rows = [
            {
                "recipe": str(parent.parameters.get("recipe")),
                "state": parent.state_name or "",
                "message": (parent.state.message or "") if parent.state else "",
            }
            for parent in sorted(parents, key=lambda run: str(run.parameters.get("recipe")))
        ]
        try:
            self._artifacts.show(night.flow_run.id, table(rows, "Recipes of this night"))
        except ObjectNotFound:
            self._artifacts.forget(night.flow_run.id)
        if all(parent.state is not None and parent.state.is_final() for parent in parents):
            self._end(night, night_state(parents, night.cancelled))

    def _is_asked_to_stop(self, night: _Night) -> bool:
        known = self._api.flow_run(night.flow_run.id)
        stopping = (StateType.CANCELLING, StateType.CANCELLED)
        return known is not None and known.state_type in stopping

    def _end(self, night: _Night, state: State[None]) -> None:
        self._api.set_state(night.flow_run.id, state, force=True)
        self._artifacts.forget(night.flow_run.id)
        del self._nights[night.flow_run.id]


def night_state(parents: Sequence[FlowRun], cancelled: bool) -> State[None]:
    """How a nightly run ends, by how its recipes have."""
    if not parents:
        return Cancelled(message="interrupted before it began")
    counts = Counter(parent.state_name or "unknown" for parent in parents)
    text = ", ".join(f"{count} {name.lower()}" for name, count in sorted(counts.items()))
    message = f"{len(parents)} recipes: {text}"
    if all(parent.state_type is StateType.COMPLETED for parent in parents):
        return Completed(message=message)
    return Cancelled(message=message) if cancelled else Failed(message=message)
