"""What a worker counts, and the page that Prometheus reads."""

from __future__ import annotations

from functools import partial

import pytest
from prometheus_client.parser import text_string_to_metric_families

from flows.run.events import Settled
from flows.run.execute import run_plan
from flows.run.look import look
from flows.run.outcome import State, StepOutcome
from flows.scheduling.workers.metrics import Counts, Metrics, Recent, Scheduler
from flows.store.local import LocalStore
from kontext_engine.fake import FakeEngine

from ..run.samples import PlanMaker
from .engines_told import stats


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
        counts.hear(Settled("k", StepOutcome(state=state), "hat"))
    counts.ended("handed_back")
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


def test_ancestors_that_a_chunk_looks_up_are_no_hits(tmp_path):
    """Two chunks of one trunk, in a store that holds the trunk and one of the leaves."""
    maker = PlanMaker()
    trunk = maker.step("trunk", "a trunk", (), "0")
    leaves = [maker.step(f"leaf{n}", f"leaf {n}", (trunk,), f"{n}") for n in range(1, 4)]
    for number, leaf in enumerate(leaves, 1):
        maker.variant(str(number), {}, [leaf])
    plan, store = maker.plan(), LocalStore(tmp_path / "out")
    keys = [leaf.key for leaf in leaves]
    run_plan(plan, store, lambda: FakeEngine(plan.model), seen=look(plan, store, keys[:1]))

    counts = Counts()

    def counted(state):
        return counts.registry.get_sample_value("kontext_steps_total", {"state": state.value})

    for own in ({keys[0], keys[1]}, {keys[2]}):
        heard, seen = partial(counts.hear, own=own), look(plan, store, own)
        run_plan(plan, store, lambda: FakeEngine(plan.model), seen=seen, on_event=heard)
    assert [counted(state) for state in (State.CACHED, State.DONE, State.FAILED)] == [1, 2, 0]
    # What had to be made anew, whosever it was, is work.
    counts.hear(Settled(trunk.key, StepOutcome(state=State.DONE), "trunk"), own={keys[2]})
    assert counted(State.DONE) == 3
