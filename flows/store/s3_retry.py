"""Trying a request again while its trouble may pass: exponential backoff with full jitter.

boto3's own retries are off. They end with the answer's header, so that a body cut in the middle
is the caller's, and their budget of tokens, shared by all threads, is spent in the first seconds
of an outage; a server that restarts takes longer.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from flows.settings import S3Settings
from flows.store import boto
from flows.store.s3_errors import Refused, Trouble, server_of

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

FIRST_PAUSE = 0.1  # seconds, at most; doubles with every try
LONGEST_PAUSE = 8.0  # so that a server that is back is noticed soon
LONGEST_ASKED = 60.0  # of what a server may ask for by Retry-After
CONFLICTS = 8  # how often a name may change hands under one call
SILENCE = 5.0  # seconds of trying before a person is told

log = logging.getLogger(__name__)
T = TypeVar("T")

_told = 0.0  # when a person was last told, by time.monotonic


def attempt(settings: S3Settings, act: Callable[[S3Client], T], patience: float | None = None) -> T:
    """What ``act`` returns, tried ``settings.attempts`` times and for ``patience`` seconds.

    Both limits must be passed before it is given up. ``act`` may be called again after any
    failure, so it must be harmless twice. ``patience`` defaults to the settings'.

    Raises:
        Refused: the trouble does not pass, or did not in time.
    """
    seconds = settings.patience if patience is None else patience
    attempts = settings.attempts if patience is None else 1
    started = time.monotonic()
    tries, doubtful = 0, False
    while True:
        tries += 1
        try:
            return act(boto.client(settings))
        except Exception as error:
            trouble = boto.trouble_of(error)
            if trouble is None:
                raise
        spent = time.monotonic() - started
        if not trouble.passing or (tries >= attempts and spent >= seconds):
            raise Refused(trouble, tries, spent, doubtful=doubtful)
        doubtful = doubtful or trouble.code != "Unreachable"
        if spent > SILENCE:
            _tell(trouble, settings)
        time.sleep(_pause(tries, trouble))


def wait_a_turn(turn: int) -> None:
    """Whoever was in the way of a write may be through by then; ``turn`` from 0."""
    time.sleep(random.uniform(0.0, 0.05 * 2**turn))


def _pause(tries: int, trouble: Trouble) -> float:
    most = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(tries, 20))
    return min(trouble.wait, LONGEST_ASKED) + random.uniform(0.0, most)


def _tell(trouble: Trouble, settings: S3Settings) -> None:
    global _told  # noqa: PLW0603
    now = time.monotonic()
    if now - _told > 10.0:  # many threads wait for the same server
        _told = now
        log.warning("%s does not answer well (%s): trying on", server_of(settings), trouble.code)
