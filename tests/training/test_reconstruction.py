"""The autoencoder's figures against their definitions, and what its losses weigh."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from kontext_engine.training.critic import MOST, PatchCritic, balance, critic_loss
from kontext_engine.training.losses import OCTAVES, detail_loss, kl_loss
from kontext_engine.training.reconstruction import measure, psnr, ssim, work
from tests.training.test_autoencoder import narrow_autoencoder


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_psnr_is_that_of_the_definition():
    pixels = torch.zeros(2, 3, 4, 4)
    assert psnr(pixels + 0.2, pixels) == pytest.approx(20.0, abs=1e-3)  # a tenth of the range
    halves = torch.cat([pixels[:1] + 0.2, pixels[:1] + 0.02])
    assert psnr(halves, pixels) == pytest.approx(30.0, abs=1e-3)  # the mean of the decibels


def test_ssim_is_that_of_the_definition():
    pixels = noise(2, 3, 11, 11)
    assert ssim(pixels, pixels) == pytest.approx(1.0)
    # One window: the whole picture, so the definition can be written out.
    other = noise(2, 3, 11, 11, seed=1)
    line = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2
    luma = np.array([0.299, 0.587, 0.114])
    expected = []
    for pair in zip(other.double().numpy(), pixels.double().numpy(), strict=True):
        a, b = (np.tensordot(luma, p / 2 + 0.5, 1) for p in pair)
        ma, mb = (a * window).sum(), (b * window).sum()
        va, vb = (a * a * window).sum() - ma**2, (b * b * window).sum() - mb**2
        cov = (a * b * window).sum() - ma * mb
        top = (2 * ma * mb + 1e-4) * (2 * cov + 9e-4)
        expected.append(top / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4)))
    assert ssim(other, pixels) == pytest.approx(np.mean(expected), abs=1e-5)


def test_a_soft_picture_has_less_energy_than_its_truth():
    class Soft(nn.Module):
        def encode(self, pixels):
            self.pixels, self.latent_dist = pixels, self
            return self

        def mode(self):
            return None

        def decode(self, _):
            self.sample = nn.functional.avg_pool2d(self.pixels, 3, 1, 1)
            return self

    pixels = noise(3, 3, 32, 32)
    soft = measure(Soft(), pixels)
    assert soft.sharpness == pytest.approx(soft.energy / soft.true_energy)
    assert soft.sharpness < 0.5
    assert soft.ssim < 0.9
    same = measure(Soft(), torch.zeros(1, 3, 32, 32) + 0.5)
    assert same.energy == pytest.approx(same.true_energy, abs=1.0)


def test_work_grows_with_the_area_and_counts_multiplications_and_sums():
    model = narrow_autoencoder()
    encoder, decoder = work(model, 32)
    larger = work(model, 64)
    assert larger == pytest.approx((4 * encoder, 4 * decoder))
    first = 2 * 3 * 8 * 9 * 32 * 32 / 1e9  # the first convolution alone
    assert encoder > first
    assert encoder == pytest.approx(round(encoder * 1e9) / 1e9)


def test_detail_weighs_fine_error_and_hardly_a_smooth_one():
    ramp = torch.linspace(-1, 1, 32).expand(1, 3, 32, 32)
    checks = (torch.arange(32)[:, None] + torch.arange(32)[None]) % 2 * 2.0 - 1
    assert detail_loss(checks.expand(1, 3, 32, 32)) == pytest.approx(OCTAVES[0])
    assert detail_loss(torch.full((1, 3, 32, 32), 0.7)).item() == pytest.approx(0.0, abs=1e-6)
    assert detail_loss(ramp) < 0.05 * detail_loss(checks.expand(1, 3, 32, 32))


def test_kl_of_a_standard_normal_is_nothing():
    zero, one = torch.zeros(4), torch.ones(4)
    assert kl_loss(zero, one, zero) == 0.0
    assert kl_loss(one, one, zero) == 0.5
    assert kl_loss(zero, math.e * one, one).item() == pytest.approx(0.5 * (math.e - 2))


def test_the_critic_judges_patches_and_its_hinge_has_a_margin():
    critic = PatchCritic()
    assert critic(noise(2, 3, 32, 48)).shape == (2, 1, 8, 12)
    one = torch.ones(3)
    assert critic_loss(one, -one) == 0.0
    assert critic_loss(0 * one, 0 * one) == 1.0
    assert critic_loss(-one, one) == 2.0


def test_the_critics_weight_makes_both_gradients_equally_long():
    weight = torch.tensor([1.0, 2.0], requires_grad=True)
    loss, wish = (3 * weight).sum(), (0.5 * weight).sum()
    assert balance(loss, wish, weight).item() == pytest.approx(6.0, rel=1e-4)
    assert balance(loss, 0 * wish, weight).item() == MOST
