"""Tells Prefect how attempts stand, until it has been told: however long it is away meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any
from uuid import UUID

import anyio
import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Completed, Failed

from flows.workers.attempt import End, Verdict

log = logging.getLogger(__name__)

LONGEST = 5.0  # seconds between two tries
_TRY_AGAIN = frozenset({408, 409, 425, 429})


class Teller:
    """Holds the newest state of each flow run that Prefect does not know yet.

    Only what is shown to people waits here; what counts is in the store.
    """

    def __init__(self, heard: Callable[[], None]) -> None:
        self._heard = heard
        self._open: dict[UUID, State[Any]] = {}
        self._news = anyio.Event()
        self._empty = anyio.Event()

    def tell(self, flow_run: UUID, state: State[Any]) -> None:
        """Have it told soon; it replaces what was not told yet. Returns at once."""
        self._open[flow_run] = state
        if self._empty.is_set():
            self._empty = anyio.Event()
        self._news.set()

    async def settled(self) -> None:
        """Wait until everything is told."""
        if self._open:
            await self._empty.wait()

    async def work(self, client: PrefectClient) -> None:
        """Tell, for ever."""
        failures = 0
        while True:
            if not self._open:
                self._empty.set()
                self._news = anyio.Event()
                await self._news.wait()
            if await self._tell_all(client):
                failures = 0
            else:
                failures += 1
                await anyio.sleep(min(LONGEST, 0.25 * 2 ** min(failures, 10)))

    async def _tell_all(self, client: PrefectClient) -> bool:
        """Whether Prefect answered."""
        for flow_run, state in list(self._open.items()):
            try:
                # Forced when final: that it has ended is a fact, whatever others thought of it.
                await client.set_flow_run_state(flow_run, state, force=state.is_final())
            except ObjectNotFound:
                log.debug("flow run %s is gone", flow_run)
            except httpx.HTTPStatusError as error:
                code = error.response.status_code
                if code >= 500 or code in _TRY_AGAIN:
                    return False
                log.warning("flow run %s cannot be %s: %s", flow_run, state.name, error)
            except httpx.HTTPError:
                return False
            self._heard()
            if self._open.get(flow_run) is state:
                del self._open[flow_run]
        return True


def state_of(verdict: Verdict) -> State[Any]:
    """What a verdict is in Prefect. Handed back is no failure: the next attempt is on its way."""
    match verdict.end:
        case End.COMPLETED:
            return Completed(message=verdict.why)
        case End.FAILED:
            return Failed(message=verdict.why)
        case End.HANDED_BACK:
            return Cancelled(name="HandedBack", message=verdict.why)
        case End.NOT_WANTED:
            return Cancelled(name="NotWanted", message=verdict.why)
        case _:
            return Cancelled(message=verdict.why)
