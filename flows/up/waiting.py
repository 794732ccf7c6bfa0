"""Waiting for what is somewhere else: one line every ten seconds, until it is there."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx

from flows.settings.load import load_settings
from flows.settings.secrecy import masked
from flows.store.address import open_cells, open_store
from flows.store.base import StoreAway, StoreError
from flows.up import UpError

EVERY = 0.5  # seconds between two looks
TOLD_EVERY = 10.0  # seconds between two lines
ANSWER = 5.0  # seconds that one look may take

Ask = Callable[[], str]  # nothing: it is there; else what is still wrong, in a few words


def ask_for(what: str) -> Ask:
    """How one looks whether ``what`` is there: a web page, or whoever listens at host:port.

    Raises:
        UpError: it is neither.
    """
    try:
        parts = urlsplit(what if "://" in what else f"tcp://{what}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if parts.scheme in {"http", "https"} and host:
        return lambda: page(what)
    if parts.scheme == "tcp" and host and port:
        return lambda: _listens(host, port)
    raise UpError(
        f"'{masked(what)}' is nothing to wait for; expected host:port, an address http://… of a "
        "page, 'server' (Prefect) or 'store'; mend it"
    )


def page(url: str, auth: tuple[str, str] | None = None) -> str:
    """What is wrong with a page; nothing: it is there. ``auth`` is a user and a password."""
    try:
        code = httpx.get(url, timeout=ANSWER, auth=auth).status_code
    except httpx.HTTPError as error:
        return f"it does not answer ({type(error).__name__})"
    except httpx.InvalidURL as error:
        return f"it is no address ({error})"
    return "" if code < 400 else f"it answers {code}"


def _listens(host: str, port: int) -> str:
    try:
        with socket.create_connection((host, port), timeout=ANSWER):
            return ""
    except OSError as error:
        return f"nobody listens ({error.strerror or error})"


def store_lacks(*, whatever: bool = False) -> str:
    """What keeps this process's store from being used for now; nothing: it was tried, and works.

    Raises:
        UpError: what waiting does not mend, unless ``whatever`` is waited for.
        SettingsError: this process's settings are wrong.
    """
    settings = load_settings()
    quick = settings.s3.model_copy(update={"patience": 0.0, "attempts": 1})
    hasty = settings.model_copy(update={"s3": quick})
    try:
        open_cells(settings.store, hasty).prepare()  # knows "away" from "refused"
        open_store(settings.store, hasty).prepare()
    except StoreError as error:
        if whatever or isinstance(error, StoreAway):
            return str(error)
        raise UpError(str(error)) from None
    return ""


def wait_for(
    what: str,
    ask: Ask,
    say: Callable[[str], None],
    within: float | None = None,
    stopped: Callable[[], None] = lambda: None,
) -> None:
    """Ask until it is there. ``stopped`` is called at each look and may raise.

    Raises:
        UpError: it was not within so many seconds.
    """
    began, told = time.monotonic(), time.monotonic() - TOLD_EVERY + 1.0  # a moment is not told
    while wrong := ask():
        now = time.monotonic()
        if within is not None and now - began >= within:
            raise UpError(
                f"{masked(what)}: not there after {within:g} s: {wrong}; expected it by now; "
                "start it, or mend its address"
            )
        if now - told >= TOLD_EVERY:
            told = now
            say(f"waiting for {masked(what)}: {wrong}")
        stopped()
        time.sleep(EVERY)
