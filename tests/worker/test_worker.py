"""``kontext worker`` on a real Prefect server, with real engine processes and the fake engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid

import pytest

from flows.execution.outcome import State

from .yard import ROOT, Bench, Board, WorkerProcess, is_alive, until

# Servers and processes start within; on a machine at its limit each takes minutes.
pytestmark = pytest.mark.timeout(1500)

SECONDS = 0.1  # an edit; in 20 denoise steps


@pytest.fixture(scope="module")
def board(prefect_server):
    board = Board(prefect_server.api, f"kontext-{uuid.uuid4().hex[:6]}")
    yield board
    board.close()


def worker_on(board, server, folder, *options, **changes):
    given = ("--pool", board.pool, "--engines", "1", "--prefetch", "1", "--batch", "2")
    return WorkerProcess(
        folder, server.environment, *given, *options, **{"seconds_per_edit": SECONDS, **changes}
    )


@pytest.fixture(scope="module")
def crew(board, prefect_server, tmp_path_factory):
    worker = worker_on(board, prefect_server, tmp_path_factory.mktemp("crew"), "--no-supervised")
    yield worker
    worker.end()


def test_chunks_are_picked_up_and_made(crew, board, tmp_path):
    bench = Bench(tmp_path, steps=6, size=3, fail=[5])
    attempts = [bench.issue(1), bench.issue(2)]
    good, bad = [
        board.send(bench.parameters(attempt), queue)
        for attempt, queue in zip(attempts, ("urgent", "nightly"), strict=True)
    ]
    assert board.ended(good).name == "Completed"
    state = board.ended(bad)
    assert (state.name, state.message) == ("Failed", "2 of 3 steps are made: failed on purpose")
    assert bench.made() == 5
    results = [bench.result(attempt) for attempt in attempts]
    assert [step.state for step in results[0].steps.values()] == [State.DONE] * 3
    assert results[0].holder.startswith("w-")
    until(lambda: "hat[v5]: failed: failed on purpose" in board.logs(bad))
    queues = board.queues()
    assert queues["urgent"] < queues["nightly"]


def test_what_it_does_is_on_its_page(crew, board):
    page = crew.metrics()
    assert page["kontext_edits_total{engine=1}"] == 5
    assert page["kontext_chunks_total{end=completed}"] == 1
    assert page["kontext_chunks_total{end=failed}"] == 1
    assert page["kontext_model_loads_total{engine=1}"] == 1
    assert page["kontext_chunks_in_hand"] == page["kontext_leases_held"] == 0
    assert page["kontext_engine_memory_bytes{engine=1}"] > 2**20
    assert page["kontext_scheduler_silence_seconds"] < 60
    for path in ("/health/live", "/health/ready"):
        code, body = crew.get(path)
        assert (code, json.loads(body)["ailment"]) == (200, "")


def test_wrong_parameters_and_what_nobody_wants_end_at_once(crew, board, tmp_path):
    wrong = board.send({"store": "out", "run": "r", "chunk": "c1", "attempt": 0})
    bench = Bench(tmp_path, steps=1, size=1)
    old, _new = bench.issue(1, 1), bench.issue(1, 2)
    fenced = board.send(bench.parameters(old))
    state = board.ended(wrong)
    assert state.name == "Failed"
    assert "attempt: Input should be greater than or equal to 1" in state.message
    assert board.ended(fenced).name == "NotWanted"
    assert bench.made() == 0


def test_an_engine_killed_in_the_middle_costs_its_batch(crew, board, tmp_path):
    bench = Bench(tmp_path, steps=16, size=16)
    attempt = bench.issue()
    sent = board.send(bench.parameters(attempt))
    until(lambda: 2 <= bench.made() < 12)
    [engine] = crew.engines()
    os.kill(engine, signal.SIGKILL)
    assert board.ended(sent).name == "Completed"
    steps = bench.result(attempt).steps.values()
    assert sum(step.attempts for step in steps) > 16
    assert max(step.attempts for step in steps) == 2
    page = crew.metrics()
    assert page["kontext_engine_restarts_total{engine=1}"] == 1
    assert page["kontext_model_loads_total{engine=1}"] == 2


def test_a_cancelled_chunk_stops_and_the_worker_goes_on(crew, board, tmp_path):
    long, short = Bench(tmp_path / "long", 400, 400), Bench(tmp_path / "short", 2, 2)
    attempt = long.issue()
    sent = board.send(long.parameters(attempt))
    until(long.made)
    next_one = board.send(short.parameters(short.issue()))  # it waits for the engine
    board.cancel(sent)
    state = board.ended(sent)
    assert state.name == "Cancelled"
    result = long.result(attempt)
    assert not result.handed_back
    assert State.PENDING in {step.state for step in result.steps.values()}
    made = long.made()
    assert board.ended(next_one).name == "Completed"
    assert long.made() == made


def test_prefect_may_be_away_while_a_chunk_is_made(crew, board, prefect_server, tmp_path):
    bench = Bench(tmp_path, steps=24, size=12)
    attempt = bench.issue(1)
    sent = board.send(bench.parameters(attempt))
    until(bench.made)
    prefect_server.kill9()
    try:
        result = bench.result(attempt)
        assert {step.state for step in result.steps.values()} == {State.DONE}
        assert crew.get("/health/live")[0] == 200
    finally:
        prefect_server.start()
    assert board.ended(sent).name == "Completed"
    after = board.send(bench.parameters(bench.issue(2)))
    assert board.ended(after).name == "Completed"
    assert bench.made() == 24


def test_sigterm_hands_back_what_is_in_hand(crew, board, tmp_path):
    bench = Bench(tmp_path, steps=800, size=400)
    attempts = [bench.issue(1), bench.issue(2)]
    sent = [board.send(bench.parameters(attempt)) for attempt in attempts]
    until(bench.made)
    until(lambda: all(map(bench.leased, attempts)))  # the second waits for the engine
    engines = crew.engines()
    assert crew.stop() == 0, crew.log
    assert not any(map(is_alive, engines))
    results = [bench.ledger.result(attempt) for attempt in attempts]
    assert all(result.handed_back for result in results)
    made = [key for result in results for key, s in result.steps.items() if s.state is State.DONE]
    assert len(made) == bench.made()
    assert [board.ended(run).name for run in sent] == ["HandedBack"] * 2


def test_a_killed_worker_takes_its_engines_along_and_is_started_again(
    board, prefect_server, tmp_path
):
    worker = worker_on(board, prefect_server, tmp_path / "w", seconds_per_edit=8.0)
    try:
        bench = Bench(tmp_path / "out", steps=2, size=1)
        first = bench.issue(1)
        board.send(bench.parameters(first))
        until(lambda: bench.leased(first))
        until(lambda: worker.metrics()["kontext_leases_held"] == 1)
        pid, engines = worker.pid, worker.engines()
        assert engines
        assert pid != worker.process.pid
        seen = len(worker.log)
        os.kill(pid, signal.SIGKILL)
        until(lambda: not any(map(is_alive, engines)))
        worker.matched(r"started again in", seen)
        worker.matched(r"worker '[^']+' \(pid \d+\)", seen)
        assert worker.pid != pid
        second = bench.issue(2)
        board.send(bench.parameters(second))
        until(lambda: worker.metrics().get("kontext_engine_state{engine=1,model=fake,state=busy}"))
        engines = worker.engines()
        prefect_server.freeze()  # so that it cannot take leave
        worker.process.send(signal.SIGTERM)
        assert bench.result(second).handed_back
        assert worker.process.is_running
        assert worker.stop() == 130  # a second signal: at once
        until(lambda: not any(map(is_alive, engines)))
    finally:
        prefect_server.thaw()
        worker.end()


def test_without_a_server_it_says_what_to_set(tmp_path):
    environment = {n: v for n, v in os.environ.items() if not n.startswith("PREFECT_")}
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "worker", "--name", f"w-{uuid.uuid4().hex[:8]}"],
        cwd=ROOT,
        env={**environment, "PREFECT_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "PREFECT_API_URL is not set; expected the address of a Prefect server" in done.stderr
    assert "Traceback" not in done.stderr
