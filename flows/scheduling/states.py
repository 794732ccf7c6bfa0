"""Setting a flow run's state: back to Scheduled, to Cancelled; and what its history tells.

Always unforced: the server then refuses to set a Completed run back (its result is persisted).
Cancelled and Paused are people's words and would be overwritten, so the history is read after the
answer, and what they said a moment before is set again.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.states import Cancelled, Running, Scheduled, Suspended

from flows.scheduling.attempt import Why
from flows.scheduling.server import at, history, read

log = logging.getLogger(__name__)

DISTINCT = 3  # workers on which a chunk may come to nothing
SUSPENDED_FOR = 10**7  # seconds; a suspended run waits for a person, not for a clock
PUT_OFF = 60.0  # seconds; what is scheduled later than this waits for a resumed parent
_CANCELS = {StateType.CANCELLED, StateType.CANCELLING}
_ENDS = (StateType.FAILED, StateType.CANCELLED)  # for people


def set_back(client: SyncPrefectClient, flow_run: UUID, why: str, *, after: float = 0.0) -> bool:
    """Have a run begun again in ``after`` seconds; whether the server has agreed.

    Raises:
        ObjectNotFound: it was deleted.
    """
    scheduled: State[Any] = Scheduled(scheduled_time=at(after), message=why)
    answer = client.set_flow_run_state(flow_run, scheduled)
    if answer.status is not SetStateStatus.ACCEPT or answer.state is None:
        return False
    states = history(client, flow_run)
    place = next((n for n, state in enumerate(states) if state.id == answer.state.id), 0)
    before = states[place - 1].type if place else None
    if before in {StateType.CANCELLED, StateType.CANCELLING}:
        cancelled(client, flow_run, "cancelled while it was set back")
    elif before is StateType.PAUSED:
        suspended: State[Any] = Suspended(timeout_seconds=SUSPENDED_FOR)
        client.set_flow_run_state(flow_run, suspended, force=True)
    else:
        return True
    return False


def put_on(client: SyncPrefectClient, flow_run: UUID, state: State[Any]) -> None:
    """Have a run begin now that was put off while its parent was suspended."""
    due = state.state_details.scheduled_time
    if state.is_scheduled() and due is not None and due > at(PUT_OFF):
        set_back(client, flow_run, "its parent goes on")


def cancelled(client: SyncPrefectClient, flow_run: UUID, why: str) -> None:
    """A run ends as Cancelled, unless it has ended otherwise."""
    client.set_flow_run_state(flow_run, Cancelled(message=why))


def heal(client: SyncPrefectClient, flow_run: UUID) -> None:
    """Where a mistaken judge has set back a living body's run, it is Running again.

    Refused where people have meanwhile cancelled or suspended it.
    """
    run = read(client, flow_run)
    found = run.state if run is not None else None
    if found is not None and (found.is_scheduled() or found.is_pending()):
        log.info("flow run %s was set back though it lives", flow_run)
        client.set_flow_run_state(flow_run, Running(message="its holder is alive"))


def people_say(runs: Mapping[UUID, FlowRun], run: UUID, above: Sequence[UUID] = ()) -> Why | None:
    """What somebody has made of a run, or of what stands above it, by the states of ``runs``.

    That any of them is cancelled goes before that another is suspended.
    """
    states = {one: runs[one].state for one in (run, *above) if one in runs}
    types = {one: state.type for one, state in states.items() if state is not None}
    if _CANCELS.intersection(types.values()):
        return Why.CANCEL
    if types.get(run) is StateType.PAUSED:
        return Why.SUSPEND
    return Why.WAIT if StateType.PAUSED in types.values() else None


def round_of(states: Sequence[State[object]]) -> int:
    """How often a parent was begun anew after it had ended: by Retry, in most cases.

    Each Failed or Cancelled before now ended a round. Crashed did not: nobody said so but a
    server that heard nothing.
    """
    return sum(state.type in _ENDS for state in states)


def round_began(states: Sequence[State[object]]) -> datetime | None:
    """When this round was to begin: its first state's time, whoever set the run back since."""
    last = max((n for n, state in enumerate(states) if state.type in _ENDS), default=-1)
    for first in states[last + 1 :]:
        return first.state_details.scheduled_time or first.timestamp
    return None


# --- attempts that came to nothing, in the history of a chunk's run

_TRY = re.compile(r"worker '(?P<worker>[^']*)' ended with (?P<made>\d+) of \d+ made")


@dataclass(frozen=True, slots=True)
class Try:
    """An attempt at a chunk that ended without a verdict; ``made`` pictures were there then."""

    worker: str
    made: int


def try_words(worker: str, made: int, total: int, why: str) -> str:
    """What the state says that sets a chunk back after such an attempt."""
    return f"worker '{worker}' ended with {made} of {total} made: {why}"


def tries_in(states: Sequence[State[object]]) -> list[Try]:
    """The attempts in a row, up to now, that added no picture; the last one is the newest."""
    row: list[Try] = []
    known = 0
    for state in states:
        found = _TRY.search(state.message or "") if state.type is StateType.SCHEDULED else None
        if found is None:
            continue
        one = Try(found["worker"], int(found["made"]))
        if one.made > known:  # it was of use, and so is whatever comes after it
            row, known = [], one.made
        else:
            row.append(one)
    return row


def is_hopeless(row: Sequence[Try], workers: int) -> bool:
    """Whether a chunk has failed: on ``DISTINCT`` workers, or as often where there are fewer.

    ``workers`` is how many live now.
    """
    distinct = len({one.worker for one in row if one.worker})
    return distinct >= DISTINCT or (len(row) >= DISTINCT and workers < DISTINCT)
