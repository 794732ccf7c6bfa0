"""Attempts as flow runs of a real Prefect server, whatever it forgets."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Cancelling, Completed, Pending, Running

from flows.coordination.dispatch import Delivery, DispatchError
from flows.coordination.ledger import AttemptName, Order, StepSheet
from flows.coordination.standing import Standing
from flows.execution.outcome import Ending, State
from flows.orchestration.api import PrefectApi
from flows.orchestration.dispatcher import PrefectDispatcher
from flows.orchestration.names import run_tag


@pytest.fixture
def order(town):
    town.recipe()
    town.deploy()
    parent = town.order()
    return Order(
        run=f"2026-11-23-ten-{str(parent)[:8]}",
        recipe="ten",
        plan="0" * 64,
        queue="urgent",
        flow_run=str(parent),
        created=datetime.now(UTC).isoformat(),
    )


def dispatcher(town, **changes) -> PrefectDispatcher:
    given = {
        "labels": lambda run: {"k1": "place[product=boot]"},
        "link": lambda order, report: f"Report: `{report}`",
    }
    return PrefectDispatcher(town.api, town.store, **(given | changes))


def attempts(order, *numbers) -> list[AttemptName]:
    return [AttemptName(order.run, f"c{number}", 1) for number in numbers]


def chunks(town, order):
    return {run.parameters["chunk"]: run for run in town.api.flow_runs_of(tag=run_tag(order.run))}


def test_an_attempt_is_sent_once_by_whichever_process(town, order):
    first, sent = dispatcher(town), attempts(order, 1, 2)
    first.send(order, sent)
    first.send(order, sent)
    dispatcher(town).send(order, sent)
    found = chunks(town, order)
    assert sorted(found) == ["c1", "c2"]
    one = found["c1"]
    assert one.parameters == {"store": town.store, "run": order.run, "chunk": "c1", "attempt": 1}
    assert (one.name, one.work_queue_name) == (f"{order.run} c1 #1", "urgent")
    # The same plan ordered again, on the same day: other flow runs.
    again = order.model_copy(update={"created": datetime.now(UTC).isoformat()})
    dispatcher(town).send(again, sent)
    assert len(town.api.flow_runs_of(tag=run_tag(order.run))) == 4


def test_where_an_attempt_is(town, order):
    one, sent = dispatcher(town), attempts(order, 1, 2, 3, 4)
    one.send(order, sent)
    found = chunks(town, order)
    town.client.set_flow_run_state(found["c2"].id, Pending())
    town.client.set_flow_run_state(found["c3"].id, Running())
    town.client.set_flow_run_state(found["c4"].id, Completed())
    expected = [Delivery.WAITING, Delivery.RUNNING, Delivery.RUNNING, Delivery.GONE]
    assert list(one.where(order, sent).values()) == expected
    # What Prefect has forgotten is sent anew.
    town.client.delete_flow_run(found["c1"].id)
    assert one.where(order, sent)[sent[0]] is Delivery.GONE
    one.send(order, sent)
    assert one.where(order, sent)[sent[0]] is Delivery.WAITING
    assert chunks(town, order)["c1"].id != found["c1"].id


def test_what_is_recalled_never_begins(town, order):
    sent = attempts(order, 1, 2)
    dispatcher(town).send(order, sent)
    town.client.set_flow_run_state(chunks(town, order)["c2"].id, Running())
    later = dispatcher(town)  # another process, which has sent nothing
    later.recall(order, sent)
    later.recall(order, sent)
    found = chunks(town, order)
    assert found["c1"].state_type is StateType.CANCELLED
    assert found["c2"].state_type is StateType.CANCELLING
    assert list(later.where(order, sent).values()) == [Delivery.GONE, Delivery.RUNNING]


def test_a_parent_is_watched_and_told(town, order):
    now = [0.0]
    one = dispatcher(town, clock=lambda: now[0])
    sent = attempts(order, 1)
    one.send(order, sent)
    town.client.set_flow_run_state(order.flow_run, Running())
    assert not one.wants_to_stop(order)
    town.client.set_flow_run_state(order.flow_run, Cancelling())
    assert not one.wants_to_stop(order)  # what is known is two seconds old at most
    now[0] = 2.1
    assert one.wants_to_stop(order)

    standing = Standing(3)
    standing.settle("k1", StepSheet(state=State.FAILED, reason="too dark"))
    standing.settle("k2", StepSheet(state=State.DONE))
    one.tell(order, standing)
    later = dispatcher(town)  # another process finds what the first one has written
    standing.settle("k3", StepSheet(state=State.CACHED))
    standing.ending = Ending.FAILED
    later.finished(order, standing, "runs/x/report.html")
    later.finished(order, standing, "runs/x/report.html")
    parent = town.client.read_flow_run(order.flow_run)
    assert parent.state_type is StateType.FAILED
    assert parent.state.message == "1 done, 1 cached, 1 failed; see runs/x/report.html"
    asked = {"artifacts": {"flow_run_id": {"any_": [order.flow_run]}}}
    found = town.client.request("POST", "/artifacts/filter", json=asked).json()
    kinds = {item["type"]: item for item in found}
    assert len(found) == len(kinds) == 3
    assert kinds["progress"]["data"] == 100
    assert "place[product=boot]" in kinds["table"]["data"]
    assert kinds["markdown"]["key"] == "report-ten"
    assert chunks(town, order)["c1"].state_type is StateType.CANCELLED


def test_a_parent_that_is_gone_stops_nothing(town, order):
    town.client.delete_flow_run(order.flow_run)
    one, standing = dispatcher(town), Standing(1)
    assert not one.wants_to_stop(order)
    standing.ending = Ending.COMPLETE
    one.tell(order, standing)
    one.finished(order, standing, "runs/x/report.html")


def test_a_server_that_is_away_is_left_alone_for_a_moment(town, order):
    now, asked = [0.0], []
    nobody = SyncPrefectClient("http://127.0.0.1:9/api")
    read = nobody.read_flow_runs
    nobody.read_flow_runs = lambda **wanted: asked.append(1) or read(**wanted)
    with nobody as client, temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
        api = PrefectApi(client, clock=lambda: now[0])
        one = PrefectDispatcher(api, town.store, lambda run: {}, lambda order, report: report)
        for now[0] in (0.0, 0.5, 1.9, 2.1):
            with pytest.raises(DispatchError, match="does not answer"):
                one.wants_to_stop(order)
    assert len(asked) == 2


def test_a_run_s_end_leaves_another_store_s_run_of_the_same_name_alone(town, order):
    here, elsewhere = dispatcher(town), dispatcher(town)
    elsewhere._store = "s3://elsewhere/out"
    later = order.model_copy(update={"created": datetime.now(UTC).isoformat()})
    here.send(order, attempts(order, 1))
    elsewhere.send(later, attempts(order, 2))
    standing = Standing(1)
    standing.ending = Ending.COMPLETE
    here.finished(order, standing, "runs/x/report.html")
    found = chunks(town, order)
    assert found["c1"].state_type is StateType.CANCELLED
    assert found["c2"].state_type is StateType.SCHEDULED


def test_a_run_that_cannot_be_read_fails_unless_it_has_ended(town, order):
    one = dispatcher(town)
    one.send(order, attempts(order, 1))
    one.refuse(order, "its plan is another release's")
    one.refuse(order, "again")
    parent = town.client.read_flow_run(order.flow_run)
    assert parent.state_type is StateType.FAILED
    assert parent.state.message == "its plan is another release's"
    assert chunks(town, order)["c1"].state_type is StateType.CANCELLED
    one.refuse(order.model_copy(update={"flow_run": None}), "of nobody")
