"""A server that somebody waits for: how long any of its answers may take."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import httpx
import pytest

from flows.scheduling import server, spoken
from flows.scheduling.server import ServerError


def test_the_next_answers_are_waited_for_as_long_as_the_first(monkeypatch):
    """A server that has just come up is healthy, and then busy for longer than one answer gets."""
    now, asked = [0.0], []

    class JustUp:
        def request(self, *_):
            return httpx.Response(200, json=True)

        def read_work_pool(self, name):
            now[0] += spoken.ANSWER_SECONDS
            asked.append(name)
            if len(asked) < 4:
                raise httpx.ReadTimeout("")
            return name

    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=lambda _: None)
    monkeypatch.setattr(spoken, "connected", lambda: nullcontext(JustUp()))
    for module in (server, spoken):
        monkeypatch.setattr(module, "time", clock)
    with spoken.spoken(90.0, print) as client:
        assert client.read_work_pool("kontext") == "kontext"
    asked.clear()
    with (
        pytest.raises(ServerError, match="does not answer \\(ReadTimeout\\)"),
        spoken.spoken(10.0, print) as client,
    ):
        client.read_work_pool("kontext")
    assert len(asked) == 1
