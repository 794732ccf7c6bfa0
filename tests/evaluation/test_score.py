import numpy as np
import pytest

from kontext_engine.evaluation.score import (
    BEST_PSNR,
    Share,
    artefact_energy,
    change_mask,
    fidelity,
    mean,
    nearest,
    psnr,
    share,
)


def flat(level, edge=16):
    return np.full((edge, edge, 3), level, np.uint8)


def with_patch(level, patch):
    picture = flat(level)
    picture[:4, :4] = patch
    return picture


def test_a_mask_is_where_any_candidate_differs_by_more_than_the_threshold():
    one, other = flat(100), flat(100)
    one[0, 0, 1], one[2, 2, 0], other[5, 5, 2] = 109, 108, 91
    mask = change_mask(flat(100), np.stack([one, other]))
    assert np.argwhere(mask).tolist() == [[0, 0], [5, 5]]


def test_the_nearest_candidate_is_judged_inside_the_mask_only():
    source, candidates = flat(100), np.stack([with_patch(100, 200), with_patch(100, 20), flat(100)])
    mask = change_mask(source, candidates)
    output = with_patch(0, 190)  # far off everywhere else
    assert nearest(output, candidates, mask) == 0
    assert nearest(with_patch(0, 30), candidates, mask) == 1
    assert nearest(source, candidates, mask) == 2


def test_a_tie_is_not_for_the_truth():
    candidates = np.stack([with_patch(100, 120), with_patch(100, 80), flat(100)])
    mask = change_mask(flat(100), candidates)
    assert nearest(with_patch(100, 110), np.stack([candidates[0], candidates[2]]), mask) == 1


def test_psnr_of_a_known_error():
    everywhere = np.ones((16, 16), bool)
    assert psnr(flat(110), flat(100), everywhere) == pytest.approx(10 * np.log10(255**2 / 100))
    assert psnr(flat(100), flat(100), everywhere) == BEST_PSNR


def test_fidelity_separates_the_edit_from_the_rest():
    source, truth = flat(100), with_patch(100, 200)
    output = with_patch(103, 200)
    found = fidelity(output, source, truth)
    assert found.edit == BEST_PSNR
    assert found.keep == pytest.approx(10 * np.log10(255**2 / 9))


def test_nothing_is_said_about_preservation_where_everything_changes():
    assert fidelity(flat(200), flat(100), flat(200)).keep is None


def test_artefact_energy_sees_a_checkerboard_and_no_gradient():
    board = flat(128, 64)
    board[(np.indices((64, 64)).sum(0) % 2).astype(bool)] += 20
    ramp = np.repeat(np.linspace(50, 200, 64).astype(np.uint8)[None, :, None], 64, 0).repeat(3, 2)
    assert artefact_energy(board) == pytest.approx(10.0, rel=0.03)  # +-10 around its mean
    assert artefact_energy(flat(90, 64)) == pytest.approx(0.0, abs=1e-9)
    assert artefact_energy(ramp) < 0.6


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 20, 0.0, 0.1611), (20, 20, 0.8389, 1.0)],
)
def test_wilsons_interval(right, count, low, high):
    assert Share(right, count).interval == pytest.approx((low, high), abs=1e-4)


def test_a_share_of_nothing_claims_nothing():
    assert share([]).interval == (0.0, 1.0)
    assert mean([]) is None
