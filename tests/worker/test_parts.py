"""A worker's parts by themselves: its name, its page, what it counts, how it judges a result."""

from __future__ import annotations

import json
import logging
import socket
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError

from flows.coordination.ledger import AttemptName, Result, StepSheet
from flows.execution.events import Settled
from flows.execution.outcome import State, StepOutcome
from flows.metrics import Counts, Metrics, Recent, Scheduler
from flows.resident.options import EngineState
from flows.resident.stats import EngineStats
from flows.workers.attempt import Attempt, End, Ticket, judge
from flows.workers.gpus import visible_gpus
from flows.workers.health import Health, HealthPage
from flows.workers.name import NameTakenError, claim_name
from flows.workers.options import WorkerOptions
from flows.workers.workshop import priority_of


def test_the_first_worker_of_a_machine_has_its_name_and_the_second_another(tmp_path):
    host = socket.gethostname()
    first = claim_name(folder=tmp_path)
    assert first.holder.startswith(f"{host} (")
    with first.lock, claim_name(folder=tmp_path).lock as second:
        assert second.name == str(tmp_path / f"{host}-2.lock")
    again = claim_name(folder=tmp_path)  # its next life has the same
    again.lock.close()
    assert (first.text, again.text) == (host, host)


def test_a_name_that_is_taken_is_refused(tmp_path):
    kept = claim_name("gpu/box", folder=tmp_path)
    assert kept.text == "gpu-box"  # Prefect takes no slash
    with kept.lock, pytest.raises(NameTakenError, match="a worker 'gpu/box' runs on this machine"):
        claim_name("gpu/box", folder=tmp_path)


@pytest.mark.parametrize(
    ("visible", "found"),
    [("0,1", ("0", "1")), ("", ()), ("-1", ()), ("2,-1,3", ("2",)), ("GPU-ab", ("GPU-ab",))],
)
def test_gpus_are_those_that_this_process_may_use(monkeypatch, visible, found):
    visible_gpus.cache_clear()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    try:
        assert visible_gpus() == found
        assert WorkerOptions().count == max(1, len(found))
        assert WorkerOptions().slots == 2 * max(1, len(found))
        assert WorkerOptions(engines=3, prefetch=1).slots == 4
    finally:
        visible_gpus.cache_clear()


@pytest.mark.parametrize(
    ("states", "given", "end", "why"),
    [
        ("dd", {}, End.COMPLETED, "2 of 2 steps are made, 3.0 s"),
        ("dc", {"handed_back": True}, End.HANDED_BACK, "2 of 2 steps are made; the rest"),
        ("dp", {"handed_back": True}, End.HANDED_BACK, "1 of 2 steps are made; the rest"),
        ("df", {}, End.FAILED, "1 of 2 steps are made: no such hat"),
        ("dp", {"why": "no model"}, End.FAILED, "1 of 2 steps are made: no model"),
        ("dp", {"cancelled": True}, End.CANCELLED, "1 of 2 steps are made; stopped"),
        ("df", {"cancelled": True}, End.FAILED, "no such hat"),
        ("dd", {"cancelled": True}, End.COMPLETED, "2 of 2"),
    ],
)
def test_a_result_is_judged_by_what_was_made(states, given, end, why):
    kinds = {"d": State.DONE, "c": State.CACHED, "f": State.FAILED, "p": State.PENDING}
    steps = {
        f"k{n}": StepSheet(state=kinds[one], reason="no such hat" if one == "f" else "")
        for n, one in enumerate(states)
    }
    cancelled = given.pop("cancelled", False)
    result = Result(holder="w", steps=steps, seconds=3.0, **given)
    verdict = judge(result, cancelled=cancelled)
    assert verdict.end is end
    assert why in verdict.why


def test_no_result_is_an_attempt_that_nobody_wants():
    assert judge(None, cancelled=False).end is End.NOT_WANTED


def test_parameters_of_a_flow_run_are_checked():
    good = {"store": "out", "run": "r", "chunk": "c1", "attempt": 2}
    assert Ticket.model_validate(good).name == AttemptName("r", "c1", 2)
    for wrong in ({"attempt": 0}, {"run": ""}, {"more": 1}):
        with pytest.raises(ValidationError):
            Ticket.model_validate({**good, **wrong})


def test_urgent_goes_before_nightly_before_what_nobody_knows():
    assert priority_of("urgent") < priority_of("nightly") < priority_of("default")
    assert priority_of(None) == priority_of("default")


def test_a_stopped_attempt_stops_the_engine_that_it_gets_later():
    class Engine:
        cancelled = False

        def cancel(self):
            self.cancelled = True

    ticket = Ticket(store="out", run="r", chunk="c1", attempt=1)
    attempt = Attempt(ticket, 1, lambda level, text: None)
    early = attempt.hire(Engine(), draining=lambda: False)
    assert not early.cancelled
    attempt.cancel()
    assert early.cancelled
    assert attempt.hire(Engine(), draining=lambda: False).cancelled
    fresh = Attempt(ticket, 1, lambda level, text: None)
    assert fresh.hire(Engine(), draining=lambda: True).cancelled
    assert not fresh.cancelled()


def test_people_hear_of_what_was_made_and_what_failed_but_not_of_what_was_there():
    said = []
    ticket = Ticket(store="out", run="r", chunk="c1", attempt=1)
    attempt = Attempt(ticket, 1, lambda level, text: said.append((level, text)))
    for state, reason in ((State.DONE, ""), (State.CACHED, ""), (State.FAILED, "no hat")):
        attempt.hear(Settled(StepOutcome("k", state, reason=reason), "hat[red]"))
    assert said == [
        (logging.INFO, "hat[red]: done"),
        (logging.WARNING, "hat[red]: failed: no hat"),
    ]


def test_a_rate_is_over_the_last_minute():
    now = [0.0]
    recent = Recent(clock=lambda: now[0])
    for second in range(1, 121):
        now[0] = float(second)
        # Ten in each of the first sixty seconds, none since.
        found = recent.rate(min(second, 60) * 10.0)
        if second == 60:
            assert found == pytest.approx(10.0)
    assert found == pytest.approx(0.0, abs=1.0)
    now[0] = 1000.0
    assert recent.rate(600.0) == 0.0


def stats(number, **changes):
    values = {
        "number": number, "pid": None, "state": EngineState.IDLE, "model": "mini",
        "process_loads": 1, "loads": 1, "restarts": 0, "busy_seconds": 2.0, "batches": 3,
        "edits": 8, "since": 0.0, "memory": 100, "last_death": "",
    }  # fmt: skip
    return EngineStats(**(values | changes))


def page_of(counts, engines):
    scheduler = Scheduler(queued={"urgent": 4}, in_hand=2, slots=3)
    metrics = Metrics(
        'gpu "1"', counts, scheduler, lambda: engines, lambda: 1, lambda: 2, lambda: {"0": 7}
    )
    found = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        assert family.documentation, family.name
        for sample in family.samples:
            found[sample.name, *sorted(sample.labels.values())] = sample.value
    return found


def test_the_metrics_page_tells_all_in_prometheus_text():
    counts = Counts()
    for state in (State.DONE, State.DONE, State.CACHED, State.FAILED):
        counts.hear(Settled(StepOutcome("k", state), "hat"))
    counts.ended(End.HANDED_BACK)
    engines = (stats(1), stats(2, restarts=5, edits=2, loads=6, memory=50))
    page = page_of(counts, engines)
    assert page["kontext_worker_info", 'gpu "1"'] == 1
    assert page["kontext_queue_depth", "urgent"] == 4
    assert (page["kontext_chunks_in_hand",], page["kontext_chunk_slots",]) == (2, 3)
    assert (page["kontext_leases_held",], page["kontext_engine_waiters",]) == (2, 1)
    assert page["kontext_chunks_total", "handed_back"] == 1
    assert page["kontext_steps_total", "done"] == 2
    assert page["kontext_cache_hits_total",] == 1
    assert [page["kontext_edits_total", n] for n in "12"] == [8, 2]
    assert page["kontext_engine_restarts_total", "2"] == 5
    assert page["kontext_model_loads_total", "2"] == 6
    assert page["kontext_engine_memory_bytes", "1"] == 100
    assert page["kontext_gpu_memory_bytes", "0"] == 7
    assert page["kontext_worker_memory_bytes",] > 2**20
    assert 0 <= page["kontext_engine_busy_ratio", "1"] <= 1
    assert page["kontext_edits_per_second",] > 0


def asked(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_the_health_page_says_503_only_when_something_ails():
    ailments = ["", "no engine runs: engine 1 died of signal 9"]
    page = HealthPage(0, lambda: Health("w", "idle", 0, None, ailments.pop(0)), lambda: b"m 1\n")
    with page:
        assert page.url.startswith("http://127.0.0.1:")
        code, body = asked(f"{page.url}/health")
        assert (code, json.loads(body)["state"]) == (200, "idle")
        code, body = asked(f"{page.url}/health")
        assert code == 503
        assert b"died of signal 9" in body
        assert asked(f"{page.url}/metrics?now") == (200, b"m 1\n")
        assert asked(f"{page.url}/")[0] == 404
