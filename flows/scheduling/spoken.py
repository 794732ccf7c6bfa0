"""Prefect's server for somebody who stands there and waits: greeted first, each answer in time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import PrefectException
from prefect.settings import (
    PREFECT_API_REQUEST_TIMEOUT,
    PREFECT_CLIENT_MAX_RETRIES,
    temporary_settings,
)
from pydantic import ValidationError

from flows.scheduling.server import (
    NoServerError,
    ServerError,
    connected,
    in_words,
    insist,
    insisting,
    server_name,
)

ANSWER_SECONDS = 15.0  # how long an answer is waited for
PATIENCE = 10.0  # seconds that a server which answers badly is asked again
NOT_FOUND = 404


@contextmanager
def spoken(wait: float, say: Callable[[str], None]) -> Iterator[SyncPrefectClient]:
    """A client of a server that is there; whatever goes wrong with it in one line.

    ``wait``: seconds that it may be away before each answer; ``say`` hears of that.

    Raises:
        NoServerError: none is named, or something else is there.
        ServerError: it does not answer, or refuses.
    """
    quick = {PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_API_REQUEST_TIMEOUT: ANSWER_SECONDS}
    try:
        with temporary_settings(quick), connected() as client:
            insist(lambda: _greet(client), "it is there", pause=time.sleep, within=wait, say=say)
            # As patient as with the first answer: one that has only just come up may take longer
            # for the next than it is given for any.
            yield insisting(client, pause=time.sleep, within=max(wait, PATIENCE))
    except (
        httpx.HTTPError,
        httpx.InvalidURL,
        PrefectException,
        ValidationError,
        ValueError,
    ) as error:
        # Without the cause: httpx' own words hold the address as it was given.
        raise ServerError(in_words(error)) from None


def _greet(client: SyncPrefectClient) -> None:
    """Whether a Prefect server is there at all: others answer 404 to everything, or with a page."""
    try:
        is_prefect = client.request("GET", "/health").json() is True
    except (httpx.HTTPStatusError, ValueError) as error:
        if isinstance(error, httpx.HTTPStatusError) and error.response.status_code != NOT_FOUND:
            raise
        is_prefect = False
    if not is_prefect:
        raise NoServerError(
            f"what answers at {server_name()} is no Prefect server; expected the address of its "
            "API, such as http://127.0.0.1:4200/api; mend PREFECT_API_URL"
        )
