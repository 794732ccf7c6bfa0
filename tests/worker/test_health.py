"""A worker's page: when it wants a restart, and when it merely takes no work."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest

from flows.engines.options import EngineState
from flows.scheduling.workers.health import (
    STANDSTILL_SECONDS,
    Health,
    HealthPage,
    ailment_of,
    unready_of,
)

from .engines_told import stats


def asked(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.fixture
def page():
    """A page, and what it is to say of the worker."""
    now = {}
    health = lambda: Health("w", "idle", 1, 2.5, **now)  # noqa: E731
    with HealthPage("127.0.0.1", 0, health, lambda: b"m 1\n") as page:
        yield page.url, now


def told(page, path):
    code, body = asked(f"{page[0]}{path}")
    return code, json.loads(body)


def test_all_is_well(page):
    assert page[0].startswith("http://127.0.0.1:")
    for path in ("/health/live", "/health/ready", "/health/ready?now"):
        assert told(page, path) == (200, {
            "worker": "w", "state": "idle", "in_hand": 1, "scheduler_silence_seconds": 2.5,
            "ailment": "", "unready": "",
        })  # fmt: skip
    assert asked(f"{page[0]}/metrics?now") == (200, b"m 1\n")


@pytest.mark.parametrize("host", ["0.0.0.0", "::1"])  # noqa: S104 - that is the test
def test_it_can_be_served_on_another_address(host):
    with HealthPage(host, 0, lambda: Health("w", "idle", 0, None), lambda: b"m 1\n") as page:
        port = page.url.rpartition(":")[2]
        assert page.url == f"http://{'[::1]' if host == '::1' else host}:{port}"
        reached = "[::1]" if host == "::1" else "127.0.0.2"  # not only the one usual address
        assert asked(f"http://{reached}:{port}/health/live")[0] == 200


@pytest.mark.parametrize(
    ("kind", "why", "live"),
    [
        ("unready", "quarantined: three chunks in a row came to nothing", 200),
        ("ailment", "the worker's own loop has stood still for 61 s", 503),
    ],
)
def test_who_takes_no_work_need_not_be_restarted_but_the_other_way_round(page, kind, why, live):
    page[1][kind] = why
    for path, expected in (("/health/live", live), ("/health/ready", 503)):
        code, body = told(page, path)
        assert (code, body[kind]) == (expected, why)


@pytest.mark.parametrize("path", ["/", "/health", "/health/", "/metrics/x"])
def test_other_paths_are_told_which_there_are(page, path):
    code, body = asked(f"{page[0]}{path}")
    assert code == 404
    assert body == b"/health/live, /health/ready or /metrics\n"


def test_only_a_loop_that_stands_still_is_an_ailment():
    assert ailment_of(STANDSTILL_SECONDS) == ""
    assert ailment_of(61.4) == "the worker's own loop has stood still for 61 s"


DEAD = {"state": EngineState.DEAD, "last_death": "engine 1 died of signal 9", "restarts": 7}


@pytest.mark.parametrize(
    ("engines", "given", "why"),
    [
        ([{}], {}, ""),
        ([{}], {"draining": True}, "draining: what is in hand is handed back"),
        ([{}], {"quarantine": "its GPU is lost"}, "quarantined: its GPU is lost"),
        ([{**DEAD, "failures": 3}], {}, "no engine can be started: engine 1 died of signal 9"),
        # They merely start again.
        ([{**DEAD, "failures": 0}], {}, ""),
        ([{**DEAD, "failures": 2}] * 2, {}, ""),
        ([{**DEAD, "failures": 9}, {}], {}, ""),
        # A worker of parents has none.
        ([], {}, ""),
    ],
)
def test_why_it_takes_no_work(engines, given, why):
    told = [stats(number, **one) for number, one in enumerate(engines, 1)]
    assert unready_of(told, **{"draining": False, **given}) == why
