"""Who hears of a night that went: with counts and links, by the server's own automations."""

from __future__ import annotations

from queue import Empty

import pytest

from flows.scheduling.notices import ENDED, FAILED
from tests.chaos.city import PATIENCE
from tests.servers.seaweed import ADMIN

from .hook import BLOCK, SECRET, make_block
from .quick import kontext


def deploy(city, *options):
    folder = city.folder.parent
    done = kontext(city, "deploy", "--recipes", folder / "recipes", *options, cwd=folder)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def told(quick, hook):
    """A city whose nights are told of, with the reports' links."""
    make_block(quick.prefect.api, hook.port)
    deploy(quick, "--notify", BLOCK, "--notify-report", "--deadline", "1")
    yield hook
    deploy(quick, "--notify", "", "--deadline", "0")


def next_of(hook, subject):
    """The next text that is sent under a subject; there is nothing else before it."""
    found, text = hook.get(timeout=PATIENCE)
    assert found.startswith(subject), (found, text)
    return text


def test_a_night_that_ended_and_one_that_failed_are_told_with_counts_and_links(quick, told):
    night = quick.night(concurrency=2, recipes="four")
    text = next_of(told, ENDED)
    lines = text.splitlines()
    assert lines[0] == "Completed: 4 Completed"
    assert lines[1] in {"pictures: 16 done", "pictures: 16 cached"}
    ui = quick.prefect.api.removesuffix("/api")
    assert lines[2] == f"{ui}/runs/flow-run/{night}"
    assert len(lines[3:]) == 4
    assert all("shared.html?X-Amz-" in line and ADMIN.key in line for line in lines[3:])
    assert SECRET not in text
    assert ADMIN.secret not in text

    deploy(quick, "--notify", BLOCK)  # from now on without them
    failed = quick.night(recipes="four", deadline_hours=1e-6)
    text = next_of(told, FAILED)
    assert text.splitlines() == [
        "Failed: 4 not begun; the deadline has passed",
        f"{ui}/runs/flow-run/{failed}",
    ]
    with pytest.raises(Empty):
        told.get(timeout=1)
