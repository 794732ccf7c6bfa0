"""In bfloat16 only where the processor computes in it."""

from __future__ import annotations

import pytest
import torch

from kontext_engine.mixed import mixed


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
