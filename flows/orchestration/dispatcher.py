"""Attempts as flow runs of ``make-chunk``, and the parent run as people see it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Cancelling, Completed, Failed

from flows.coordination.dispatch import Delivery, DispatchError
from flows.coordination.ledger import AttemptName, Order
from flows.coordination.standing import Standing
from flows.execution.outcome import Ending
from flows.execution.outcome import State as StepState
from flows.orchestration.api import LIVING, PrefectApi
from flows.orchestration.artifacts import Artifacts, Sheet, markdown, progress, table
from flows.orchestration.names import MAKE_CHUNK, deployment, run_tag

log = logging.getLogger(__name__)

STATE_AGE = 2.0  # seconds that what is known of parents' states is good for
SHOWN_EVERY = 2.0  # seconds between two writings of a run's progress
ALIVE_EVERY = 30.0  # seconds after which it is written again though nothing has changed
FAILURES_SHOWN = 200
STOPPING = frozenset({StateType.CANCELLING, StateType.CANCELLED})

Labels = Callable[[str], Mapping[str, str]]  # a run's labels by key
Link = Callable[[Order, str], str]  # a run's report as people are to open it


@dataclass
class _Shown:
    """A parent's progress: what is to be seen, and when it was last written."""

    order: Order
    counts: Mapping[StepState, int]
    failures: Mapping[str, tuple[StepState, str]]
    attempts: int
    strikes: int
    at: float = float("-inf")
    fresh: bool = True


@dataclass
class _Ids:
    """What this process has learnt of the server; asked again when it turns out wrong."""

    make_chunk: UUID | None = None
    sent: dict[AttemptName, UUID] = field(default_factory=dict)
    recalled: set[AttemptName] = field(default_factory=set)


class PrefectDispatcher:
    """``flows.coordination.dispatch.Dispatcher`` over Prefect's API.

    Everything may be repeated, by this process or the next: a flow run is created under the
    attempt's own idempotency key, and what was sent once costs nothing again.
    """

    def __init__(
        self,
        api: PrefectApi,
        store: str,
        labels: Labels,
        link: Link,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._store = store
        self._labels = labels
        self._link = link
        self._clock = clock
        self._artifacts = Artifacts(api)
        self._ids = _Ids()
        self._shown: dict[str, _Shown] = {}
        self._parents: dict[UUID, StateType | None] = {}
        self._parents_at = float("-inf")

    def send(self, order: Order, attempts: Sequence[AttemptName]) -> None:
        """Create a flow run for each that has none."""
        for attempt in attempts:
            if attempt not in self._ids.sent:
                self._ids.sent[attempt] = self._create(order, attempt)

    def where(
        self,
        order: Order,  # noqa: ARG002 - the protocol's
        attempts: Sequence[AttemptName],
    ) -> Mapping[AttemptName, Delivery]:
        """Ask for all at once. One that the server has forgotten is sent anew the next time."""
        sent = self._ids.sent
        known = {attempt: sent[attempt] for attempt in attempts if attempt in sent}
        found = self._api.flow_runs(list(known.values()))
        for attempt, flow_run in known.items():
            if flow_run not in found:
                del sent[attempt]
        return {
            attempt: _delivery(found[known[attempt]].state)
            if attempt in known and known[attempt] in found
            else Delivery.GONE
            for attempt in attempts
        }

    def recall(self, order: Order, attempts: Sequence[AttemptName]) -> None:
        """Cancel them: what no worker has is cancelled at once."""
        for attempt in attempts:
            flow_run = self._ids.sent.get(attempt)
            if attempt in self._ids.recalled:
                continue
            if flow_run is None:  # sent by an earlier process
                self.send(order, [attempt])
                flow_run = self._ids.sent[attempt]
            self._api.set_state(flow_run, Cancelling())
            self._ids.recalled.add(attempt)

    def wants_to_stop(self, order: Order) -> bool:
        """Whether its parent is cancelled; one question for all parents every two seconds.

        A parent that Prefect has forgotten stops nothing.
        """
        if order.flow_run is None:
            return False
        parent = UUID(order.flow_run)
        now = self._clock()
        if parent not in self._parents or now - self._parents_at > STATE_AGE:
            ids = [*self._parents, parent]
            found = self._api.flow_runs(list(dict.fromkeys(ids)))
            self._parents = {
                flow_run: found[flow_run].state_type if flow_run in found else None
                for flow_run in ids
            }
            self._parents_at = now
        return self._parents[parent] in STOPPING

    def tell(self, order: Order, standing: Standing) -> None:
        """Take note; ``show`` writes it."""
        failures = {
            key: (end.state, end.reason)
            for key, end in standing.ends.items()
            if end.state in (StepState.FAILED, StepState.BLOCKED)
        }
        last = self._shown.get(order.run)
        at = last.at if last is not None else float("-inf")
        counts = dict(standing.counts)
        self._shown[order.run] = _Shown(
            order, counts, failures, standing.attempts, standing.strikes, at
        )
        self.show()

    def show(self) -> None:
        """Write what has changed, or is so old that people would take the run for dead."""
        now = self._clock()
        for shown in self._shown.values():
            age = now - shown.at
            if age >= (SHOWN_EVERY if shown.fresh else ALIVE_EVERY):
                self._write(shown)
                shown.at, shown.fresh = now, False

    def refuse(self, order: Order, why: str) -> None:
        """Its parent's end, unless that has ended otherwise, and that of its chunks."""
        if order.flow_run is not None:
            parent = UUID(order.flow_run)
            known = self._api.flow_run(parent)
            if known is not None and (known.state is None or not known.state.is_final()):
                self._api.set_state(parent, Failed(message=why), force=True)
            self._parents.pop(parent, None)
            self._artifacts.forget(parent)
        self._clear(order)
        self._shown.pop(order.run, None)

    def finished(self, order: Order, standing: Standing, report: str) -> None:
        """Progress, failures and report as artifacts, and the parent's last state."""
        self.tell(order, standing)
        if order.flow_run is not None:
            parent = UUID(order.flow_run)
            self._write(self._shown[order.run])
            text = self._link(order, report)
            key = "".join(c if c.isalnum() else "-" for c in order.recipe.lower()).strip("-")
            sheet = markdown(text, f"Report of {order.run}")
            self._try(parent, sheet, key=f"report-{key}" if key.isascii() and key else None)
            self._api.set_state(parent, final_state(standing, report), force=True)
            self._parents.pop(parent, None)
            self._artifacts.forget(parent)
        self._clear(order)
        self._shown.pop(order.run, None)

    def _create(self, order: Order, attempt: AttemptName) -> UUID:
        if self._ids.make_chunk is None:
            self._ids.make_chunk = self._deployment()
        try:
            with self._api.asked() as client:
                run = client.create_flow_run_from_deployment(
                    self._ids.make_chunk,
                    parameters={
                        "store": self._store,
                        "run": attempt.run,
                        "chunk": attempt.chunk,
                        "attempt": attempt.number,
                    },
                    name=f"{attempt.run} {attempt.chunk} #{attempt.number}",
                    tags=[run_tag(attempt.run)],
                    # The same plan may be ordered again on the same day, under the same name.
                    idempotency_key=f"{attempt}@{order.created}",
                    work_queue_name=order.queue,
                )
        except ObjectNotFound as error:
            self._ids.make_chunk = None
            raise DispatchError(_UNDEPLOYED) from error
        except DispatchError as error:
            if "Deployment not found" in str(error):
                self._ids.make_chunk = None
                raise DispatchError(_UNDEPLOYED) from error
            raise
        return run.id

    def _deployment(self) -> UUID:
        try:
            with self._api.asked() as client:
                return client.read_deployment_by_name(deployment(MAKE_CHUNK)).id
        except ObjectNotFound as error:
            raise DispatchError(_UNDEPLOYED) from error

    def _write(self, shown: _Shown) -> None:
        if shown.order.flow_run is None:
            return
        parent = UUID(shown.order.flow_run)
        total = sum(shown.counts.values())
        pending = shown.counts[StepState.PENDING]
        share = (total - pending) / total if total else 1.0
        text = f"{words(shown.counts)} of {total} steps; {shown.attempts} chunks sent"
        if shown.strikes:
            text += f", {shown.strikes} lost and sent again"
        text += time.strftime("; as of %H:%M:%S UTC", time.gmtime())
        self._try(parent, progress(share, text))
        if shown.failures:
            self._try(parent, self._failures(shown))

    def _failures(self, shown: _Shown) -> Sheet:
        labels = self._labels(shown.order.run)
        some = sorted(shown.failures.items(), key=lambda item: item[1][0] != StepState.FAILED)
        rows = [
            {"step": labels.get(key, key[:12]), "state": state.value, "reason": reason}
            for key, (state, reason) in some[:FAILURES_SHOWN]
        ]
        more = len(shown.failures) - len(rows)
        text = f"{len(shown.failures)} failed or blocked"
        return table(rows, f"{text}; the first {len(rows)}" if more else text)

    def _try(self, parent: UUID, sheet: Sheet, key: str | None = None) -> None:
        """Show it if that can be done now: no run waits for what people look at."""
        try:
            self._artifacts.show(parent, sheet, key)
        except ObjectNotFound:
            self._artifacts.forget(parent)  # somebody has removed it, or the whole flow run
        except DispatchError as error:
            log.warning("%s is not shown: %s", sheet.description, error)

    def _clear(self, order: Order) -> None:
        """Chunks that no worker will end any more, and what is remembered of the run."""
        for run in self._api.flow_runs_of(tag=run_tag(order.run), types=LIVING):
            if (
                run.id != (UUID(order.flow_run) if order.flow_run else None)
                and run.parameters.get("run") == order.run
                # Another store's coordinator may have a run of this name on the same server.
                and run.parameters.get("store") == self._store
            ):
                self._api.set_state(run.id, Cancelled(message="its run has ended"), force=True)
        ids = self._ids
        for attempt in [attempt for attempt in ids.sent if attempt.run == order.run]:
            del ids.sent[attempt]
        ids.recalled = {attempt for attempt in ids.recalled if attempt.run != order.run}


_UNDEPLOYED = f"Prefect has no deployment '{deployment(MAKE_CHUNK)}'; run 'kontext deploy'"


def words(counts: Mapping[StepState, int]) -> str:
    """``290 cached, 20 done, 2 failed``."""
    return ", ".join(f"{n} {state.value}" for state, n in counts.items() if n) or "nothing to do"


def final_state(standing: Standing, report: str) -> State[None]:
    """How a parent ends, with its counts as message."""
    counts = words(standing.counts)
    if standing.ending is Ending.COMPLETE:
        return Completed(message=counts)
    why = f"; {standing.why}" if standing.why else ""
    if standing.ending is Ending.INTERRUPTED:
        return Cancelled(message=f"interrupted: {counts}{why}; see {report}")
    return Failed(message=f"{counts}{why}; see {report}")


def _delivery(state: State[object] | None) -> Delivery:
    if state is None or state.type in (StateType.SCHEDULED, StateType.PAUSED):
        return Delivery.WAITING
    return Delivery.GONE if state.is_final() else Delivery.RUNNING


def labels_of(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Labels by key, from a plan's labels; the first of several for one key."""
    found: dict[str, str] = {}
    for label, key in pairs:
        found.setdefault(key, label)
    return found
