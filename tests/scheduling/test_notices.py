"""Who hears of a night: a real webhook on loopback, called by the server's own automations."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, Queue

import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.blocks.system import Secret
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Late, Running

from flows.scheduling.notices import ENDED, FAILED, NOT_BEGUN, OVERDUE, Notices, automations
from flows.scheduling.pools import DeployError
from tests.chaos.city import PATIENCE
from tests.servers.seaweed import ADMIN

pytestmark = pytest.mark.timeout(600)

SECRET = "hush-hush-hook"  # noqa: S105 - of a block of the tests
BLOCK = "custom-webhook/nights"


@pytest.fixture(scope="module")
def hook():
    """What a webhook on loopback was sent: subjects and texts, in a queue."""
    heard: Queue[tuple[str, str]] = Queue()

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self):
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.headers["X-Secret"] == SECRET
            heard.put((sent["subject"], sent["text"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        heard.port = server.server_port
        yield heard
        server.shutdown()


def make_block(api, port, name="nights"):
    """A block as people make it in the dashboard."""
    with temporary_settings({PREFECT_API_URL: api}):
        return CustomWebhookNotificationBlock(
            name="nights",
            url=f"http://127.0.0.1:{port}/hook",
            json_data={"subject": "{{subject}}", "text": "{{body}}"},
            headers={"X-Secret": "{{secret}}"},
            secrets={"secret": SECRET},
        ).save(name, overwrite=True)


@pytest.fixture
def told(quick, hook):
    """A city whose nights are told of, with the reports' links."""
    make_block(quick.prefect.api, hook.port)
    quick.deploy("--notify", BLOCK, "--notify-report", "--deadline", "1", *where(quick))
    yield hook
    quick.deploy("--notify", "", "--deadline", "0", *where(quick))


def where(city):
    return ("--recipes", str(city.folder.parent / "recipes"))


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

    quick.deploy("--notify", BLOCK, *where(quick))  # from now on without them
    failed = quick.night(recipes="four", deadline_hours=1e-6)
    text = next_of(told, FAILED)
    assert text.splitlines() == [
        "Failed: 4 not begun; the deadline has passed",
        f"{ui}/runs/flow-run/{failed}",
    ]
    with pytest.raises(Empty):
        told.get(timeout=1)


def test_what_has_not_happened_by_its_time_is_told_by_the_server_alone(board, prefect, hook):
    """No worker is there; with windows of ten seconds, the shortest that Prefect has."""
    board.deploy()
    block = make_block(prefect.api, hook.port)
    hours = 10 / 3600
    for one in automations(Notices(block), hours, begins=10):
        board.client.create_automation(one)

    def night(state):
        deployment = board.deployment("nightly").id
        run = board.client.create_flow_run_from_deployment(deployment)
        board.client.set_flow_run_state(run.id, state, force=True)
        return run

    idle, slow, well = night(Late()), night(Running()), night(Late())
    board.client.set_flow_run_state(well.id, Running(), force=True)
    told = dict(hook.get(timeout=60) for _ in range(3))
    assert set(told) == {
        f"{NOT_BEGUN} ({idle.name})",
        f"{OVERDUE} ({slow.name})",
        f"{OVERDUE} ({well.name})",
    }
    assert "no worker has begun it" in told[f"{NOT_BEGUN} ({idle.name})"]
    assert told[f"{OVERDUE} ({slow.name})"].splitlines()[-1].endswith(f"/runs/flow-run/{slow.id}")


def test_what_deploy_makes_of_it(board, prefect, hook):
    def known():
        return {one.name: one for one in board.client.read_automations()}

    make_block(prefect.api, hook.port)
    for one in known().values():
        board.client.delete_automation(one.id)
    assert not [line for line in board.deploy().changes if "automation" in line]
    made = board.deploy(notify=BLOCK, deadline=9).changes
    assert [f"automation '{name}' created" for name in known()] <= list(made)
    assert set(known()) == {ENDED, FAILED, OVERDUE, NOT_BEGUN}
    assert known()[OVERDUE].trigger.within == timedelta(hours=9)
    assert board.deploy().changes == board.deploy(notify=BLOCK).changes == ()
    board.client.pause_automation(known()[FAILED].id)
    assert board.deploy(deadline=8).changes[-1] == f"automation '{OVERDUE}' changed"
    assert board.deploy(notify=BLOCK, notify_report=True).changes == (
        f"automation '{ENDED}' changed",
        f"automation '{FAILED}' changed",
    )
    assert not known()[FAILED].enabled
    assert board.deploy(deadline=0).changes[-1] == f"automation '{OVERDUE}' removed"
    assert "kontext.reports" in known()[ENDED].actions[0].body
    assert len(board.deploy(notify="").changes) == 3
    assert known() == {}


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ("custom-webhook/nobody", "there is no such block; expected TYPE/NAME"),
        ("nights", "there is no such block"),
        ("secret/quiet", "that block sends no notifications"),
    ],
)
def test_a_block_that_cannot_tell_is_refused_before_anything_is_changed(
    board, prefect, block, told
):
    with temporary_settings({PREFECT_API_URL: prefect.api}):
        Secret(value="x").save("quiet", overwrite=True)
    with pytest.raises(DeployError, match=told):
        board.deploy(notify=block)
    assert board.client.read_work_pools() == []
