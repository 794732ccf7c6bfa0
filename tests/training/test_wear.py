"""Contexts as a chain of edits has them: blurred and noisy, or drawn by the model itself."""

import pytest
import torch

from kontext_engine.conditioning import grid_of, pack
from kontext_engine.training.corpus import Earlier
from kontext_engine.training.wear import REDRAWN, redrawn, worn


def test_some_contexts_are_worn_and_the_others_stay_as_they_are():
    context = torch.randn(400, 2, 8, 12, generator=torch.Generator().manual_seed(1))
    source = torch.Generator().manual_seed(2)
    changed = (worn(context, 0.3, source) != context).flatten(1)
    assert changed.any(1).float().mean().item() == pytest.approx(0.3, abs=0.07)
    assert torch.equal(changed.any(1), changed.float().mean(1) > 0.9)  # all of a picture or nothing
    assert torch.equal(worn(context, 0.0, source), context)
    all_worn = worn(context, 1.0, torch.Generator().manual_seed(3))
    assert torch.equal(all_worn, worn(context, 1.0, torch.Generator().manual_seed(3)))
    apart = (all_worn - context).pow(2).mean(dim=(1, 2, 3)).sqrt()
    assert apart.min() > 0
    assert apart.max() < 0.6  # still the picture that it was: these have variance 1


def test_some_contexts_are_drawn_anew_and_show_what_they_showed():
    """One that answers truly finds the very picture; what it does not know is missing."""
    context = torch.randn(10, 2, 8, 12, generator=torch.Generator().manual_seed(1))
    rows = (0, 2, 3, 6, 9)
    before = torch.randn(5, 2, 8, 12, generator=torch.Generator().manual_seed(2))
    earlier = Earlier(rows, before, tuple("abcde"))
    asked = []

    def answer(part):
        def ask(noisy, times, led):
            asked.append((times, led))
            true, t = pack(context[list(led.rows)]), times[:, None, None]
            noise = (noisy - (1 - t) * true) / t
            return noise - part * true

        return redrawn(context, earlier, 0.6, torch.Generator().manual_seed(3), ask)

    known, half = answer(1.0), answer(0.5)
    changed = [0, 2, 3]  # three of five, the first ones: a batch is drawn in no order
    torch.testing.assert_close(known, context, atol=1e-5, rtol=1e-5)
    kept = [row for row in range(10) if row not in changed]
    assert torch.equal(half[kept], context[kept])
    times, led = asked[0]
    assert (led.rows, led.prompts) == ((0, 2, 3), ("a", "b", "c"))
    assert torch.equal(led.context, before[:3])
    assert REDRAWN[0] <= times.min() < times.max() <= REDRAWN[1]
    lost = 0.5 * times[:, None, None, None] * context[changed]
    torch.testing.assert_close(half[changed], context[changed] - lost, atol=1e-5, rtol=1e-5)
    assert torch.equal(asked[1][0], times)  # a function of the source alone
    assert grid_of(half) == grid_of(context)


@pytest.mark.parametrize("rows", [(), (1,)])
def test_without_an_edit_that_leads_to_it_a_context_stays(rows):
    context = torch.zeros(4, 2, 8, 8)
    earlier = Earlier(rows, context[: len(rows)], ("a",) * len(rows))
    for known in (None, earlier):
        kept = redrawn(context, known, 0.4, torch.Generator(), lambda *_: pytest.fail("asked"))
        assert kept is context
