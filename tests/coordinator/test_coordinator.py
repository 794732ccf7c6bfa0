"""The coordinator as processes that are killed, on a real Prefect server."""

from __future__ import annotations

import os
import random
import re
import signal
from zoneinfo import ZoneInfo

import pytest
from prefect.client.schemas.objects import StateType
from prefect.states import Cancelling

import flows.recipe.plan
from flows.coordination.ledger import AttemptName, Ledger, Order, Result, StepSheet
from flows.execution.outcome import Ending, State
from flows.manifest import read_manifest
from flows.orchestration.names import NIGHTLY, RUNS_POOL, deployment, nightly_tag, run_tag
from flows.pipeline import RunRequest, plan_recipe, run_folder
from flows.store.address import open_objects
from flows.store.runfolder import RunFolder
from kontext_engine.fake import FAKE_SPEC

WRONG = """\
version: 1
name: wrong
steps:
  a: {op: edit, image: nothing, prompt: "make it snow"}
"""


def manifest(town, run: str):
    return read_manifest(RunFolder(open_objects(town.store), run))


def names_in(town, folder: str) -> list[str]:
    return [entry.name for entry in open_objects(town.store).list(folder)]


def artifacts(town, flow_run) -> dict[str, object]:
    asked = {"artifacts": {"flow_run_id": {"any_": [str(flow_run)]}}}
    found = town.client.request("POST", "/artifacts/filter", json=asked).json()
    return {one["type"]: one["data"] for one in found}


def chunks_of(town, parent):
    return town.api.flow_runs_of(tag=run_tag(parent.name))


def test_a_run_from_the_form_to_the_report(town):
    recipe = town.recipe()
    text = recipe.read_text().replace('"make it {what}"', '"make it {what} on {product}"')
    recipe.write_text(text.replace("  weather:", "  fail: {op: edit, image: product, "
                                   'prompt: "FAIL at {product}"}\n  weather:'))  # fmt: skip
    (town.folder / "recipes/in/p3.png").rename(town.folder / "recipes/in/boot.png")
    town.deploy()
    town.start()
    town.hire()
    parent = town.ended(town.order(overrides=["what=fog"], only=["weather", "fail[product=boot]"]))
    found = manifest(town, parent.name)
    assert parent.state.name == "Failed"
    assert (
        parent.state.message
        == f"20 done, 1 failed; see {town.store}/runs/{parent.name}/report.html"
    )
    assert found.ending is Ending.FAILED
    assert found.sets == ("what=fog",)
    assert found.counts[State.DONE] == 20
    assert {count for key, count in town.made.items()} == {1}
    shown = artifacts(town, parent.id)
    assert shown["progress"] == 100
    assert "fail[product=boot]" in shown["table"]
    assert "failed on purpose" in shown["table"]
    assert f"runs/{parent.name}/report.html" in shown["markdown"]
    # Nothing is left behind: neither in the store nor in the queue.
    town.until(lambda: not names_in(town, "claims/"))
    assert names_in(town, "active/") == []
    assert all(run.state.is_final() for run in chunks_of(town, parent))

    # The same plan on the same day is the same run; what is there is not made again.
    before = sum(town.made.values())
    again = town.ended(town.order(overrides=["what=fog"], only=["weather"]))
    assert (again.state.name, again.state.message) == ("Completed", "20 cached")
    assert sum(town.made.values()) == before
    assert town.kill("first", signal.SIGTERM) == 0
    assert names_in(town, "coordinator.json") == []


@pytest.mark.parametrize("seed", [1, 2])
def test_kills_at_any_moment_lose_nothing(town, seed):
    town.recipe()
    town.deploy()
    town.hire()
    chance = random.Random(seed)
    one, other = town.order(overrides=["what=fog"]), town.order(overrides=["what=rain"])
    for _ in range(4):
        town.start("mortal", die=chance.randint(10, 70))
        assert town.wait("mortal") == -signal.SIGKILL
        if all(town.flow_run(run).state.is_final() for run in (one, other)):
            break
    town.start("last")
    for run in (one, other):
        parent = town.ended(run)
        assert parent.state.name == "Completed"
        found = manifest(town, parent.name)
        assert found.counts[State.DONE] + found.counts[State.CACHED] == 20
        assert all(output.sha256 for output in found.outputs)
    # The worker was never killed, so nothing was made twice; the two share their first ten steps.
    assert set(town.made.values()) == {1}
    assert len(town.made) == 30
    town.until(lambda: not names_in(town, "active/"))


def test_a_second_coordinator_waits_until_the_first_is_gone(town):
    town.recipe()
    town.deploy()
    town.seconds = 0.1
    town.hire()
    town.start("first")
    town.until(lambda: "first conducts" in town.said())
    town.start("second")
    town.until(lambda: "standing by: first conducts" in town.said())
    order = town.order()
    town.until(lambda: names_in(town, "active/"))
    assert "second conducts" not in town.said()
    town.kill("first")
    town.until(lambda: "second conducts" in town.said())
    assert town.ended(order).state.name == "Completed"
    assert set(town.made.values()) == {1}


def test_a_coordinator_that_slept_gives_way(town):
    town.deploy()
    first = town.start("first", lease=1.0)
    town.until(lambda: "first conducts" in town.said())
    town.start("second", lease=1.0)
    town.until(lambda: "standing by: first conducts" in town.said())
    os.kill(first, signal.SIGSTOP)
    town.until(lambda: "second conducts" in town.said())
    os.kill(first, signal.SIGCONT)
    town.until(lambda: "first lost its seat" in town.said())
    town.until(lambda: "standing by: second conducts" in town.said())


def test_cancelling_a_parent_interrupts_its_run(town):
    town.recipe()
    town.deploy()
    town.seconds = 0.4
    town.hire()
    town.start()
    order = town.order()
    town.until(lambda: town.made)
    town.client.set_flow_run_state(order, Cancelling())
    parent = town.ended(order)
    assert parent.state.name == "Cancelled"
    assert re.match(r"interrupted: (\d+ done, )?\d+ pending; see ", parent.state.message)
    found = manifest(town, parent.name)
    assert found.ending is Ending.INTERRUPTED
    assert found.counts[State.PENDING] > 0
    order_sheet = f"active/{parent.name}/order.json"
    town.until(lambda: order_sheet not in names_in(town, "active/"))
    town.until(lambda: all(run.state.is_final() for run in chunks_of(town, parent)))

    # Whatever the stopped attempts have left behind, the same run can be ordered again.
    town.seconds = 0.0
    again = town.ended(town.order())
    assert (again.name, again.state.name) == (parent.name, "Completed")
    assert manifest(town, parent.name).ending is Ending.COMPLETE


def test_a_closing_that_was_cut_short_is_ended(town, monkeypatch):
    monkeypatch.setattr(flows.recipe.plan, "resolve_model", lambda name: FAKE_SPEC)
    plan = plan_recipe(RunRequest(town.recipe(), town.store))
    town.deploy()
    ledger = Ledger(open_objects(town.store))
    order = Order(run="2026-11-23-ten-half", recipe="ten", plan=plan.digest, created="now")
    ledger.open(order, plan)
    ledger.objects.remove(f"active/{order.run}/plan")
    town.start()
    town.until(lambda: not names_in(town, "active/"))


def test_what_an_earlier_run_of_the_name_left_is_not_believed(town, monkeypatch):
    monkeypatch.setattr(flows.recipe.plan, "resolve_model", lambda name: FAKE_SPEC)
    plan = plan_recipe(RunRequest(town.recipe(), town.store))
    town.deploy()
    ledger = Ledger(open_objects(town.store))
    run = run_folder(plan, ledger.objects).name
    lie = StepSheet(state=State.FAILED, reason="long ago")
    result = Result(holder="ghost", steps=dict.fromkeys(plan.steps, lie), seconds=1.0)
    for number in range(1, 30):
        ledger.settle(AttemptName(run, f"c{number}", 1), result)
    ledger.cancel(run)
    town.hire()
    town.start()
    assert town.ended(town.order()).state.message == "20 done"


def test_what_is_wrong_is_told_and_stops_nothing(town):
    path = town.recipe("wrong", WRONG)
    town.recipe("ten")
    town.deploy()
    town.hire()
    town.start()
    wrong = town.ended(town.order("wrong"))
    assert wrong.state.name == "Failed"
    assert wrong.state.message.startswith(f"{path}:4:")
    assert "Traceback" not in wrong.state.message
    no_variable = town.ended(town.order("ten", overrides=["whta=snow"]))
    assert "did you mean 'what'?" in no_variable.state.message
    with pytest.raises(Exception, match="overrides"):
        town.order("ten", overrides=["what"])
    with pytest.raises(Exception, match="recipe"):
        town.order("tne")
    elsewhere = town.ended(town.order("s3://elsewhere/looks/ten.yaml"))
    assert "may not read" in elsewhere.state.message


def test_deploying_again_changes_nothing_but_what_differs(town):
    town.recipe("ten")
    town.deploy(cron="0 22 * * *", time_zone="Europe/Berlin", concurrency=2)
    again = town.deploy(cron="0 22 * * *", time_zone="Europe/Berlin", concurrency=2)
    assert again.changes == ()
    assert again.dashboard.startswith("http://127.0.0.1:")
    assert town.deploy().changes == ()
    town.recipe("other")
    changed = town.deploy(cron="30 21 * * *", concurrency=0)
    assert changed.changes == (
        "queue kontext-runs/nightly changed: concurrency_limit",
        "deployment run-recipe/run-recipe changed: parameter_openapi_schema",
        "nightly/nightly is started 30 21 * * * (UTC)",
    )
    assert town.deploy(cron="").changes == ("nightly/nightly is not started by itself any more",)
    form = town.client.read_deployment_by_name("run-recipe/run-recipe").parameter_openapi_schema
    assert form["properties"]["recipe"]["anyOf"][0]["enum"] == ["other", "ten"]
    assert form["properties"]["store"]["enum"] == [town.store]


def test_a_schedule_is_kept_by_the_server(town):
    town.recipe()
    town.deploy(cron="30 21 * * *", time_zone="Europe/Berlin", deadline_hours=9.0)

    def planned():
        found = town.api.flow_runs_of(pool=RUNS_POOL, types=[StateType.SCHEDULED])
        return [run for run in found if run.parameters["store"] == town.store]

    first = min(town.until(planned), key=lambda run: run.expected_start_time)
    local = first.expected_start_time.astimezone(ZoneInfo("Europe/Berlin"))
    assert (local.hour, local.minute) == (21, 30)
    assert first.parameters["deadline_hours"] == 9.0
    town.deploy(cron="")
    town.until(lambda: not planned())


def test_a_night_starts_every_recipe_once(town):
    for name in ("one", "two", "three"):
        town.recipe(name)
    town.recipe("bad", WRONG)
    town.deploy(deadline_hours=12.0)
    found = town.client.read_deployment_by_name(deployment(NIGHTLY))
    night = town.client.create_flow_run_from_deployment(found.id).id
    town.hire()
    # Killed among its first acts: what was begun is begun only once.
    town.start("mortal", die=30)
    town.wait("mortal")
    town.start("last")
    ended = town.ended(night)
    assert (ended.state.name, ended.state.message) == ("Failed", "4 recipes: 3 completed, 1 failed")
    parents = town.api.flow_runs_of(tag=nightly_tag(str(night)))
    assert sorted(run.parameters["recipe"] for run in parents) == ["bad", "one", "three", "two"]
    assert {run.work_queue_name for run in parents} == {"nightly"}
    assert {run.parameters["deadline"] is not None for run in parents} == {True}
    assert "unknown step or input 'nothing'" in artifacts(town, night)["table"]
    assert max(town.made.values()) == 1  # the recipes have the same pictures
