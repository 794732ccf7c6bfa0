"""In bfloat16 only where the processor computes in it."""

from __future__ import annotations

import pytest
import torch

from kontext_engine.mixed import mixed
from kontext_engine.training.optimizers import FullMuon, Optimizers


@pytest.mark.parametrize(
    ("found", "dtype"),
    [
        ({"avx2": True, "avx512_f": False}, torch.float32),
        ({"avx2": True, "avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, torch.float32),
        ({"avx512_f": True, "avx512_bf16": True}, torch.bfloat16),
        ({"amx_tile": True, "amx_bf16": True}, torch.bfloat16),
        ({"neon": True, "bf16": False, "sve_bf16": False}, torch.float32),
        ({"neon": True, "bf16": True}, torch.bfloat16),
    ],
)
def test_a_product_is_in_what_the_processor_computes_in(monkeypatch, found, dtype):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)
    one = torch.eye(2)
    with mixed(torch.device("cpu")):
        assert (one @ one).dtype is dtype
    assert (one @ one).dtype is torch.float32


def test_the_names_are_those_that_torch_tells(monkeypatch):
    """A name that torch does not know would say no for ever; on x86 it tells all of x86's."""
    told = torch.cpu.get_capabilities()
    if told["architecture"] == "x86_64":
        assert {"amx_bf16", "avx512_bf16"} <= set(told)


@pytest.mark.parametrize("shape", [(24, 24), (16, 40), (40, 16)])
def test_muon_in_full_precision_walks_as_torchs_own(shape):
    """Over several steps, with decay; torch's is rounded to bfloat16 in each."""
    torch.manual_seed(0)
    given = torch.randn(shape)
    ways = {}
    for kind in (torch.optim.Muon, FullMuon):
        matrix = torch.nn.Parameter(given.clone())
        optimizer = kind([matrix], lr=0.05, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
        torch.manual_seed(1)
        for _ in range(5):
            matrix.grad = torch.randn(shape)
            optimizer.step()
        ways[kind] = matrix.detach() - given
        saved = optimizer.state_dict()
    theirs, mine = ways.values()
    # 0.4 % is half of bfloat16's last place; the iteration widens that by its slope.
    assert (mine - theirs).norm() < 0.05 * theirs.norm()
    other = torch.optim.Muon([torch.nn.Parameter(given.clone())])
    other.load_state_dict(saved)  # a run goes on with either


def test_where_bfloat16_is_imitated_muon_is_in_full_precision(monkeypatch):
    for able, kind in ((True, torch.optim.Muon), (False, FullMuon)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: {"amx_bf16": able})
        assert type(Optimizers(torch.nn.Linear(4, 4), 0.1, 0.0)._parts[0]) is kind
