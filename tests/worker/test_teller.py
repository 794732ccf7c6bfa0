"""What Prefect is told, however often it does not answer."""

from __future__ import annotations

from uuid import uuid4

import anyio
import httpx
from flows.workers.attempt import End, Verdict
from flows.workers.teller import Teller, state_of
from prefect.exceptions import ObjectNotFound
from prefect.states import Completed, Running


class Deaf:
    """A client whose server answers as told: an error, or nothing for an answer."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.heard = []

    async def set_flow_run_state(self, flow_run, state, force):
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        self.heard.append((flow_run, state.name, force))


def refusal(code):
    request = httpx.Request("POST", "http://127.0.0.1/api")
    return httpx.HTTPStatusError("no", request=request, response=httpx.Response(code))


def told(client, *states, between=None):
    async def tell():
        teller = Teller(lambda: None)
        async with anyio.create_task_group() as tasks:
            for flow_run, state in states:
                teller.tell(flow_run, state)
            tasks.start_soon(teller.work, client)
            with anyio.fail_after(30):
                await teller.settled()
            tasks.cancel_scope.cancel()

    anyio.run(tell)
    return client.heard


def test_it_is_told_again_until_there_is_an_answer():
    run = uuid4()
    client = Deaf(httpx.ConnectError("away"), refusal(503))
    assert told(client, (run, Completed())) == [(run, "Completed", True)]


def test_only_the_newest_state_is_told():
    run, other = uuid4(), uuid4()
    client = Deaf()
    heard = told(client, (run, Running()), (other, Running()), (run, Completed()))
    assert heard == [(run, "Completed", True), (other, "Running", False)]


def test_one_that_is_gone_or_refused_for_good_holds_up_no_other():
    gone, refused, good = uuid4(), uuid4(), uuid4()
    client = Deaf(ObjectNotFound(refusal(404)), refusal(422))
    states = [(run, Completed()) for run in (gone, refused, good)]
    assert told(client, *states) == [(good, "Completed", True)]


def test_every_end_is_a_state_that_ends():
    names = {end: state_of(Verdict(end, "why")) for end in End}
    assert all(state.is_final() and state.message == "why" for state in names.values())
    assert {end: state.name for end, state in names.items()} == {
        End.COMPLETED: "Completed",
        End.FAILED: "Failed",
        End.CANCELLED: "Cancelled",
        End.HANDED_BACK: "HandedBack",
        End.NOT_WANTED: "NotWanted",
    }
