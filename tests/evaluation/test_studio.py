"""The metric, validated: it must tell a knowing engine from a copying and a guessing one."""

import json

import numpy as np
import pytest

from kontext_engine.api import EditFailure
from kontext_engine.evaluation.answers import noise_seed
from kontext_engine.evaluation.drift import TURNS, chain
from kontext_engine.evaluation.errors import EvaluationError
from kontext_engine.evaluation.items import CATEGORIES, CHANCE
from kontext_engine.evaluation.studio import STRANGER, find_cutouts
from kontext_engine.evaluation.summary import all_figures, as_json
from tests.evaluation.conftest import CUTOUTS, LIMIT
from tests.evaluation.oracles import OracleEngine, copy_answer


def accuracies(report):
    return {row.name: row.accuracy.value for row in all_figures(report)}


def test_the_noisy_truth_is_right(knowing):
    found = accuracies(knowing[0])
    assert set(found) == {*CATEGORIES, "overall"}
    assert min(found.values()) >= 0.95


def test_a_copy_of_the_input_is_never_right(copying):
    assert set(accuracies(copying[0]).values()) == {0.0}
    assert {score.verdict for score in copying[0].edits} == {"unchanged"}


def test_the_truth_of_another_item_is_right_about_by_chance(measure, answers):
    report, _ = measure(answers.of_another)
    overall = accuracies(report)["overall"]
    assert overall < 3 * CHANCE
    assert overall > 0


def test_the_baselines_are_measured_beside_every_engine(knowing, copying):
    for report, _ in (knowing, copying):
        overall = all_figures(report)[-1]
        assert overall.ceiling.value == 1.0  # here the autoencoder changes nothing
        assert overall.copy.value == 0.0
    assert all_figures(knowing[0])[-1].shuffled.value < 3 * CHANCE
    assert all_figures(copying[0])[-1].shuffled.count == len(CATEGORIES) * (LIMIT - STRANGER)


def test_psnr_stands_beside_the_autoencoders_and_the_copys(knowing, copying):
    noisy = {row.name: row for row in all_figures(knowing[0])}
    for row in noisy.values():
        assert 25 < row.edit.output < 29  # 12 levels of noise, a little of it clipped
        assert row.edit.ceiling == 60.0
        assert row.edit.copy < 20
    assert noisy["box"].keep.count == LIMIT
    assert noisy["box"].keep.copy > 45
    same = {row.name: row for row in all_figures(copying[0])}
    assert same["object"].edit.output == same["object"].edit.copy


def test_identity_stands_beside_edit_success_and_the_copy(copying):
    overall = all_figures(copying[0])[-1]
    assert overall.identity.output == pytest.approx(1.0, abs=1e-5)
    assert overall.identity.above.value == 1.0
    assert overall.identity.right_and_same.value == 0.0  # keeps everything, does nothing


def test_every_engine_is_asked_the_same(knowing, copying):
    assert knowing[0].items_digest == copying[0].items_digest
    first, second = knowing[1].asked[0][0], copying[1].asked[0][0]
    assert (first.prompt, first.seed) == (second.prompt, second.seed)
    assert first.seed == noise_seed(0, "recolour-000")


def test_the_seed_is_of_the_noise_alone():
    assert noise_seed(0, "box-003") != noise_seed(1, "box-003")
    assert noise_seed(0, "box-003") != noise_seed(0, "box-004")
    assert 0 <= noise_seed(5, "text-000") < 2**31


def test_no_truth_is_shown_to_the_engine(copying):
    for request in (r for batch in copying[1].asked for r in batch):
        assert request.mask is None
        assert len(request.contexts) == (0 if request.id.startswith("text-") else 1)


def test_a_chain_hands_its_own_picture_on(knowing, cast):
    report, engine = knowing
    asked = {r.id: r for batch in engine.asked for r in batch}
    one = chain(cast, 0)
    outputs = report.drift.pictures[0, 0]
    for turn in range(1, len(TURNS) + 1):
        given = np.asarray(asked[f"{one.id}-{turn}"].contexts[0])
        assert np.array_equal(given, outputs[turn - 1])
    assert [asked[f"{one.id}-{t}"].prompt for t in range(1, 7)] == list(one.prompts)


def test_drift_of_the_truth_is_that_of_the_truth(knowing, copying):
    model, truth = knowing[0].drift.model, knowing[0].drift.truth
    assert np.allclose(model.identity[:, 0], 1.0, atol=1e-5)
    assert (model.artefacts[:, 1:] > truth.artefacts[:, 1:]).all()  # noise is high-frequency
    still = copying[0].drift
    assert np.allclose(still.model.identity, 1.0, atol=1e-5)
    assert np.allclose(still.model.artefacts, still.codec.artefacts)


def test_the_json_says_everything_once(knowing):
    report, _ = knowing
    said = json.loads(json.dumps(as_json(report), allow_nan=False))
    assert said["instruction_accuracy"]["overall"]["count"] == len(CATEGORIES) * LIMIT
    for category in CATEGORIES:
        found = said["instruction_accuracy"][category]
        assert found["low"] <= found["value"] <= found["high"]
        assert said["categories"][category]["baselines"]["chance"] == pytest.approx(1 / 9)
    assert said["model"] == {"name": "oracle", "digest": report.engine.spec.digest}
    assert said["settings"]["limit"] == LIMIT
    assert said["counts"]["pictures"] == LIMIT * (len(CATEGORIES) + 1 + len(TURNS))
    assert said["identity_net"]["held_out_retrieval"]["subjects"] == 4 * LIMIT
    assert len(said["drift"]["identity"]["model"]["median"]) == len(TURNS) + 1
    assert any("uncover" in note for note in said["notes"])


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_every_request_is_guided_as_asked_and_progress_reaches_its_total(measure, guidance):
    seen = []
    report, engine = measure(
        copy_answer, lambda *told: seen.append(told), batch=3, limit=1, true_cfg=guidance
    )
    assert {r.true_cfg for asked in engine.asked for r in asked} == {guidance}
    assert as_json(report)["settings"]["true_cfg"] == guidance
    assert seen[-1][:2] == (13, 13)
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)


class _Failing(OracleEngine):
    def run(self, requests, on_step=None):
        yield EditFailure(requests[0].id, "out of memory")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"engine": _Failing}, "^recolour-000: the engine failed: out of memory$"),
        ({"edge": 100}, "size 100: expected a multiple of 16"),
    ],
)
def test_what_cannot_be_measured_ends_the_bench_by_name(measure, given, told):
    with pytest.raises(EvaluationError, match=told):
        measure(copy_answer, limit=1, **given)


def test_cutouts_are_found_in_the_checkout_from_anywhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert {c.path.parent for c in find_cutouts()} == {CUTOUTS / "assets"}
    with pytest.raises(EvaluationError, match="no cut-outs in nowhere; run this in a checkout"):
        find_cutouts(tmp_path.relative_to(tmp_path) / "nowhere")
