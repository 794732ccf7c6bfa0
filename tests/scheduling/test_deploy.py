"""``kontext deploy`` on a real server: what it makes, and what it leaves as people have set it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from prefect.client.schemas.actions import (
    DeploymentScheduleCreate,
    DeploymentUpdate,
    GlobalConcurrencyLimitCreate,
    WorkPoolCreate,
    WorkPoolUpdate,
)
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import Scheduled
from pydantic import TypeAdapter

from flows.recipe.parameters import Parameter
from flows.scheduling.forms import RunForm
from flows.scheduling.names import (
    CHUNKS_POOL,
    MAKE_CHUNK,
    NIGHTLY,
    PARENTS_POOL,
    PRIORITIES,
    RUN_RECIPE,
    WORKER_TYPE,
)
from flows.scheduling.pools import FORMER_POOL, JOB_TEMPLATE
from flows.scheduling.schedule import SLUG

from .board import MADE


def test_what_is_made_at_first(board):
    assert board.deploy("ten", "spring/looks").changes == MADE
    for name in (PARENTS_POOL, CHUNKS_POOL):
        pool = board.client.read_work_pool(name)
        assert (pool.type, pool.concurrency_limit) == (WORKER_TYPE, None)
        assert pool.base_job_template == JOB_TEMPLATE
    assert set(board.queues(PARENTS_POOL)) == {"default"}
    queues = board.queues(CHUNKS_POOL)
    assert {name: queues[name].priority for name in PRIORITIES} == PRIORITIES
    assert queues["default"].priority > max(PRIORITIES.values())
    assert {queue.concurrency_limit for queue in queues.values()} == {None}

    run, night, chunk = map(board.deployment, (RUN_RECIPE, NIGHTLY, MAKE_CHUNK))
    assert [(one.work_pool_name, one.work_queue_name, one.entrypoint) for one in (run, night)] == [
        (PARENTS_POOL, "default", "flows/scheduling/flows.py:run_recipe"),
        (PARENTS_POOL, "default", "flows/scheduling/flows.py:nightly"),
    ]
    assert (chunk.work_pool_name, chunk.work_queue_name) == (CHUNKS_POOL, "nightly")
    assert chunk.entrypoint == "flows/scheduling/flows.py:make_chunk"
    assert run.parameters["store"] == night.parameters["store"] == board.store
    assert night.parameters["concurrency"] == 4
    assert night.parameters["deadline_hours"] is None
    assert (night.schedules, night.paused) == ([], False)
    recipe = run.parameter_openapi_schema["properties"]["recipe"]
    assert recipe["anyOf"][0]["enum"] == ["ten", "spring/looks"]
    assert {one.global_concurrency_limit for one in (run, night, chunk)} == {None}


def test_done_again_it_changes_only_what_differs(board):
    night = {"recipes": "spring", "concurrency": 2}
    daily = {"cron": "0 22 * * *", "time_zone": "Europe/Berlin"}
    board.deploy("ten", **daily, **night)
    assert board.deploy("ten", **daily, **night).changes == ()
    assert board.deploy("ten").changes == ()
    assert board.deploy("other", "ten", cron="30 21 * * *", deadline=9.5).changes == (
        "deployment run-recipe/run-recipe changed: parameter_openapi_schema",
        "deployment nightly/nightly changed: parameters",
        "nightly/nightly is started 30 21 * * * (Europe/Berlin)",
    )
    assert board.deploy("other", "ten", cron="").changes == (
        "nightly/nightly is not started by itself any more",
    )
    assert board.deployment(NIGHTLY).schedules == []
    kept = {"recipes": "spring", "store": board.store, "concurrency": 2, "deadline_hours": 9.5}
    assert board.deployment(NIGHTLY).parameters == kept
    assert board.deploy("other", "ten", deadline=0, cron="0 1 * * *").changes == (
        "deployment nightly/nightly changed: parameters",
        "nightly/nightly is started 0 1 * * * (UTC)",
    )
    assert board.deployment(NIGHTLY).parameters == kept | {"deadline_hours": None}


def test_a_recipe_that_came_later_can_be_ordered_and_nonsense_cannot(board):
    """A night lists the folder anew, and must not fail at what nobody has deployed."""
    board.deploy("ten")
    run, client = board.deployment(RUN_RECIPE).id, board.client
    for recipe in ("ten", "spring/new looks", "s3://bucket/a/b.yaml", f"order:{'0' * 64}"):
        client.create_flow_run_from_deployment(run, parameters={"recipe": recipe})
    for wrong in (
        {"recipe": "ftp://bucket/a.yaml"},
        {"recipe": ""},
        {"recipe": "ten", "overrides": ["spring"]},
        {"recipe": "ten", "store": "/elsewhere"},
        {"recipe": "ten", "quue": "urgent"},
    ):
        with pytest.raises(httpx.HTTPStatusError, match="409"):
            client.create_flow_run_from_deployment(run, parameters=wrong)


# --- the schedule


def test_another_time_leaves_zone_and_pauses_as_they_were(board):
    board.deploy(cron="0 22 * * *", time_zone="Europe/Berlin")
    night, before = board.deployment(NIGHTLY), board.schedule()
    board.client.update_deployment_schedule(night.id, before.id, active=False)
    board.client.pause_deployment(night.id)
    assert board.deploy(cron="30 21 * * *", concurrency=9).changes == (
        "deployment nightly/nightly changed: parameters",
        "nightly/nightly is started 30 21 * * * (Europe/Berlin); it is paused and stays so",
    )
    after = board.schedule()
    assert after.schedule == CronSchedule(cron="30 21 * * *", timezone="Europe/Berlin")
    assert (after.id, after.active) == (before.id, False)
    assert board.deployment(NIGHTLY).paused


def test_another_zone_alone_moves_the_schedule(board):
    board.deploy(cron="0 22 * * *", time_zone="Europe/Berlin")
    assert board.deploy(time_zone="America/Lima").changes == (
        "nightly/nightly is started 0 22 * * * (America/Lima)",
    )
    assert board.schedule().slug == SLUG


def test_what_people_have_scheduled_stays(board):
    board.deploy(cron="0 22 * * *")
    hourly = IntervalSchedule(interval=timedelta(hours=1))
    night = board.deployment(NIGHTLY).id
    theirs = DeploymentScheduleCreate(schedule=hourly, slug="theirs")
    board.client.create_deployment_schedules(night, [theirs])
    board.deploy(cron="")
    assert board.schedule().slug == "theirs"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"cron": "61 * * * *"}, "'61 * * * *' cannot be used; expected minute hour day"),
        ({"cron": "0 1 * * *", "time_zone": "Berlin"}, "'Berlin' cannot be used; expected a name"),
        ({"time_zone": "UTC"}, "a time zone without a schedule; expected --cron beside"),
        ({"concurrency": 5000}, "concurrency of a night: 5000 cannot be used"),
        ({"deadline": 9999.0}, "deadline_hours of a night: 9999.0 cannot be used"),
    ],
)
def test_what_cannot_be_had_changes_nothing(board, given, told):
    with pytest.raises(Exception, match=r"cannot be used|without a schedule") as caught:
        board.deploy(**given)
    assert told in str(caught.value)
    with pytest.raises(ObjectNotFound):
        board.client.read_work_pool(PARENTS_POOL)


# --- limits, and what was there before


def test_limits_are_taken_away(board):
    board.deploy()
    client = board.client
    client.update_work_pool(CHUNKS_POOL, WorkPoolUpdate(concurrency_limit=3))
    client.update_work_queue(board.queues(CHUNKS_POOL)["nightly"].id, concurrency_limit=2)
    client.create_work_queue(name="theirs", work_pool_name=CHUNKS_POOL, concurrency_limit=1)
    own, shared = board.deployment(NIGHTLY).id, board.deployment(RUN_RECIPE).id
    client.update_deployment(own, DeploymentUpdate(concurrency_limit=5))
    common = client.create_global_concurrency_limit(
        GlobalConcurrencyLimitCreate(name="common", limit=1)
    )
    change = {"global_concurrency_limit_id": str(common)}
    client.request("PATCH", f"/deployments/{shared}", json=change)
    assert board.deployment(RUN_RECIPE).global_concurrency_limit.name == "common"
    assert sorted(board.deploy().changes) == [
        "deployment nightly/nightly changed: concurrency_limit",
        "deployment run-recipe/run-recipe changed: concurrency_limit",
        "queue kontext/nightly changed: concurrency_limit",
        "queue kontext/theirs changed: concurrency_limit",
        "work pool kontext changed: concurrency_limit",
    ]
    assert board.deploy().changes == ()
    # What others may be under is left to them.
    left = client.read_global_concurrency_limits()
    assert [limit.name for limit in left] == ["common"]
    client.delete_global_concurrency_limit_by_name("common")


def test_a_pool_of_another_type_is_not_ours(board):
    board.client.create_work_pool(WorkPoolCreate(name=CHUNKS_POOL, type="process"))
    with pytest.raises(Exception, match="is of type 'process'; expected 'kontext'; remove it"):
        board.deploy()
    with pytest.raises(ObjectNotFound):
        board.client.read_work_pool(PARENTS_POOL)


@pytest.fixture
def former(board):
    """The pool and the deployments of the version before this one."""
    client = board.client
    client.create_work_pool(WorkPoolCreate(name=FORMER_POOL, type="kontext-coordinator"))
    client.create_work_pool(WorkPoolCreate(name=CHUNKS_POOL, type=WORKER_TYPE))
    for flow in (RUN_RECIPE, NIGHTLY):
        for queue, priority in PRIORITIES.items():
            if queue not in board.queues(FORMER_POOL):
                client.create_work_queue(name=queue, priority=priority, work_pool_name=FORMER_POOL)
        client.create_deployment(
            client.create_flow_from_name(flow),
            flow,
            work_pool_name=FORMER_POOL,
            work_queue_name="urgent",
            parameters={"recipes": "", "store": "/old", "deadline_hours": 8.0},
            parameter_openapi_schema={"type": "object", "properties": {}},
        )
    return board


def test_the_former_version_makes_room(former):
    night = former.deployment(NIGHTLY)
    daily = DeploymentScheduleCreate(
        schedule=CronSchedule(cron="0 22 * * *", timezone="Europe/Berlin"), slug=SLUG
    )
    former.client.create_deployment_schedules(night.id, [daily])
    changes = former.deploy().changes
    assert "work pool kontext changed: description, base_job_template" in changes
    assert changes[-1] == "work pool kontext-runs of an earlier version removed"
    after = former.deployment(NIGHTLY)
    assert (after.id, after.work_pool_name, after.work_queue_name) == (
        night.id,
        PARENTS_POOL,
        "default",
    )
    assert after.parameters == {
        "recipes": "",
        "store": former.store,
        "concurrency": 4,
        "deadline_hours": 8.0,
    }
    assert former.schedule().schedule.timezone == "Europe/Berlin"
    assert former.deploy().changes == ()


def test_runs_of_the_former_version_are_not_thrown_away(former):
    client = former.client
    run = client.create_flow_run_from_deployment(
        former.deployment(RUN_RECIPE).id,
        state=Scheduled(scheduled_time=datetime.now(UTC) + timedelta(days=1)),
    )
    with pytest.raises(Exception, match="1 runs of an earlier version in the work pool 'kontext-r"):
        former.deploy()
    assert former.deployment(RUN_RECIPE).work_pool_name == FORMER_POOL
    client.delete_flow_run(run.id)
    assert "work pool kontext-runs of an earlier version removed" in former.deploy().changes


PARAMETERS = TypeAdapter(dict[str, Parameter]).validate_python(
    {
        "season": {"type": "choice", "choices": ["spring", "autumn"], "default": "spring"},
        "strength": {"type": "number", "min": 1.0, "max": 20.0, "default": "2"},
        "dark": {"type": "boolean"},
        "names": {"type": "list", "choices": ["a", "b"], "description": "Who is in it."},
    }
)


def test_a_recipe_with_parameters_has_a_form_of_real_fields(board):
    changes = board.deploy("spring/looks", parameters={"spring/looks": PARAMETERS}).changes
    assert changes[-1] == "deployment run-recipe/spring.looks created"
    found = board.client.read_deployment_by_name("run-recipe/spring.looks")
    form = found.parameter_openapi_schema["properties"]
    assert set(form) == {"recipe", "parameters", "store", "queue", "deadline"}
    fields = form["parameters"]["properties"]
    assert form["parameters"]["required"] == ["dark", "names"]
    assert (fields["season"]["enum"], fields["season"]["default"]) == (
        ["spring", "autumn"],
        "spring",
    )
    assert (fields["strength"]["minimum"], fields["strength"]["maximum"]) == (1, 20)
    assert fields["names"]["items"]["enum"] == ["a", "b"]

    good = {"recipe": "spring/looks", "store": board.store}
    asked = {"dark": True, "names": ["a"], "strength": 3}
    for parameters, name in (
        ({"strength": 30}, "strength"),
        ({"season": "winter"}, "season"),
        ({"dark": "maybe"}, "dark"),
        ({"names": []}, "names"),
        ({"names": ["c"]}, "names"),
        ({"mood": "calm"}, "mood"),
    ):
        with pytest.raises(PrefectHTTPStatusError) as error:
            board.client.create_flow_run_from_deployment(
                found.id, parameters={**good, "parameters": {**asked, **parameters}}
            )
        assert error.value.response.status_code == 409
        assert name in error.value.response.text
    run = board.client.create_flow_run_from_deployment(
        found.id, parameters={**good, "parameters": asked}
    )
    board.client.delete_flow_run(run.id)
    form = RunForm.model_validate(run.parameters)
    assert form.sets == ("dark=true", 'names=["a"]', "strength=3")

    assert board.deploy("spring/looks", parameters={"spring/looks": PARAMETERS}).changes == ()
    assert board.deploy("spring/looks").changes == ("deployment run-recipe/spring.looks removed",)
