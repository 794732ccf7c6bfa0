"""How sharp what an edit keeps is, and how far edges differ: on pictures whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from kontext_engine.evaluation.sharpness import (
    Sides,
    compared,
    detail,
    fine,
    gradient_deviation,
    sharpness,
)

EVERYWHERE = np.ones((48, 64), bool)


def noisy(seed, spread=30.0):
    noise = np.random.default_rng(seed).normal(128, spread, (48, 64, 1)).repeat(3, axis=2)
    return noise.clip(0, 255).astype(np.uint8)


def blurred(picture, times=1):
    soft = picture.astype(float)
    for _ in range(times):
        for axis in (0, 1):
            soft = (np.roll(soft, 1, axis) + 2 * soft + np.roll(soft, -1, axis)) / 4
    return soft.round().astype(np.uint8)


def waves(cycles):
    """A cosine across of so many cycles a pixel, 50 levels high."""
    across = 128 + 50 * np.cos(2 * np.pi * cycles * np.arange(64))
    return np.broadcast_to(across[None, :, None], (48, 64, 3)).round().astype(np.uint8)


def test_the_truth_is_as_sharp_as_itself():
    truth = noisy(0)
    same = sharpness(truth, truth, EVERYWHERE)
    assert same.correlation == pytest.approx(1.0)
    assert same.energy == pytest.approx(sharpness(noisy(1), truth, EVERYWHERE).energy, rel=0.1)
    assert same.deviation == 0.0


def test_blur_takes_energy_and_noise_takes_correlation():
    truth = noisy(0)
    soft, softer = (sharpness(blurred(truth, n), truth, EVERYWHERE) for n in (1, 3))
    other = sharpness(noisy(1), truth, EVERYWHERE)
    sharp = sharpness(truth, truth, EVERYWHERE)
    assert sharp.energy > 1.5 * soft.energy > 1.5 * softer.energy
    assert 1 > soft.correlation > softer.correlation > 0.2
    assert abs(other.correlation) < 0.1
    assert 0 < soft.deviation < softer.deviation
    assert other.deviation > 0.1


@pytest.mark.parametrize("cycles", [1 / 16, 1 / 8, 1 / 4, 1 / 2])
def test_the_fine_part_is_what_the_filter_says(cycles):
    """1-2-1 passes (1 + cos) / 2 of a wave, so what is fine has (1 - cos) / 2 of it."""
    found = fine(waves(cycles))[8:-8, 8:-8]
    share = (1 - np.cos(2 * np.pi * cycles)) / 2
    height = 50 * share / (1 if cycles == 1 / 2 else np.sqrt(2))
    assert np.sqrt((found**2).mean()) == pytest.approx(height, abs=0.5)


def test_only_what_is_kept_counts():
    truth = noisy(0)
    kept = EVERYWHERE.copy()
    kept[:, 32:] = False
    output = truth.copy()
    output[:, 32:] = 0
    told = sharpness(output, truth, kept)
    assert told.correlation == pytest.approx(1.0)  # nor does what changed reach over its rim
    assert told.deviation > 0.1
    assert sharpness(output, truth, EVERYWHERE).correlation < 0.9


@pytest.mark.parametrize(
    ("kept", "truth"),
    [(np.zeros((48, 64), bool), noisy(0)), (EVERYWHERE, np.full_like(noisy(0), 9))],
)
def test_where_there_is_nothing_to_keep_nothing_is_told(kept, truth):
    told = sharpness(noisy(1), truth, kept)
    assert (told.correlation, told.energy) == (None, None)
    assert told.deviation > 0


def test_one_flat_output_has_no_detail_left():
    told = sharpness(np.full_like(noisy(0), 128), noisy(0), EVERYWHERE)
    assert (told.correlation, told.energy) == (0.0, 0.0)


def test_gradient_deviation_is_even_and_grows_with_the_harm():
    truth = noisy(0)
    harms = [gradient_deviation(blurred(truth, n), truth) for n in range(4)]
    assert harms == sorted(harms)
    assert harms[0] == 0.0
    assert gradient_deviation(truth, blurred(truth)) == gradient_deviation(blurred(truth), truth)


def test_the_means_over_edits():
    source, truth = noisy(0), noisy(0)
    truth[:24] = 0  # the edit
    output, passed = blurred(truth, 3), blurred(truth)
    whole = compared(output, passed, source, truth)
    assert whole.copy.correlation == pytest.approx(1.0)
    assert whole.truth.deviation == 0.0
    nothing = compared(output, passed, noisy(7), truth)  # all of it changes
    assert nothing.truth.energy is None
    told = detail([whole, nothing])
    assert told.count == 1
    assert told.correlation == (whole.output.correlation, whole.ceiling.correlation)
    assert told.energy == (whole.output.energy, whole.ceiling.energy, whole.truth.energy)
    assert 0 < told.of_truth < told.of_autoencoder < 1
    assert told.deviation[2] == pytest.approx((whole.copy.deviation + nothing.copy.deviation) / 2)
    empty = detail([])
    assert (empty.count, empty.of_truth, empty.energy) == (0, None, (None, None, None))
    assert isinstance(whole, Sides)
