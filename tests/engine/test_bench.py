import pytest

from kontext_engine.api import ModelError, RequestError
from kontext_engine.bench import run_bench
from tests.engine.tiny import CONTROL, save_tiny_model


def test_both_sides_make_the_same_pictures(full_spec):
    told = []
    report = run_bench(
        full_spec.source,
        edits=5,
        steps=2,
        max_batch=2,
        on_progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(4, 10), (8, 10), (10, 10)]
    assert (report.ours.edits, report.peer.edits) == (5, 5)
    assert (report.ours.batch, report.peer.batch) == (2, 1)
    assert report.difference < 0.01
    assert report.ratio == pytest.approx(report.peer.seconds / report.ours.seconds)
    table = report.table()
    assert f"ratio {report.ratio:.2f}x" in table
    assert "64x64, 2 steps, 5 edits" in table
    assert f"{report.peer.rate:.2f}" in table


def test_precisions_may_differ_and_are_named(full_spec):
    report = run_bench(full_spec.source, edits=1, steps=1, dtype="bfloat16", peer_dtype="float32")
    assert (report.ours.dtype, report.peer.dtype) == ("bfloat16", "float32")
    assert report.difference > 0.01


def test_what_cannot_be_compared_is_refused(full_spec, tmp_path):
    with pytest.raises(RequestError, match="must each be at least 1"):
        run_bench(full_spec.source, edits=0)
    control = save_tiny_model(tmp_path / "control", CONTROL)
    with pytest.raises(ModelError, match="the benchmark's peer is FluxKontextPipeline"):
        run_bench(control.source, edits=1)
