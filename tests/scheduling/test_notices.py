"""Automations that tell of nights: what a server does by itself, and what ``deploy`` makes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from prefect.blocks.system import Secret
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Late, Running

from flows.scheduling.notices import ENDED, FAILED, NOT_BEGUN, OVERDUE, Notices, automations
from flows.scheduling.pools import DeployError

from .hook import BLOCK, make_block


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
