"""Shards and batches: cached by sample, drawn by step."""

import json
import multiprocessing
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch

from kontext_engine.training import corpus as corpus_module
from kontext_engine.training import shards as module
from kontext_engine.training.autoencoder import new_autoencoder
from kontext_engine.training.corpus import (
    EDITS,
    REFERENCES,
    TEXT_TO_IMAGE,
    Corpus,
)
from kontext_engine.training.cutouts import split_of
from kontext_engine.training.errors import TrainingError
from kontext_engine.training.looks import draw_looks, pairs
from kontext_engine.training.shards import (
    Origin,
    autoencoder_digest,
    build_shard,
    encode,
    measure_latents,
    read_shard,
    write_shard,
)
from kontext_engine.training.wording import CAPTION_LIGHT, WEATHERS, words_for
from tests.training.conftest import in_this_process


def seeded_autoencoder():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return new_autoencoder().eval()


def same(a, b):
    equal_context = len(a.contexts) == len(b.contexts) and all(
        map(torch.equal, a.contexts, b.contexts)
    )
    return (
        torch.equal(a.target, b.target)
        and equal_context
        and (a.prompts, a.categories) == (b.prompts, b.categories)
        and (a.earlier is None) == (b.earlier is None)
        and (a.earlier is None or a.earlier.prompts == b.earlier.prompts)
    )


def test_a_batch_is_a_function_of_seed_and_step(shard):
    corpus = Corpus([shard], seed=1)
    batches = [corpus.batch(step, 8) for step in range(6)]
    late = Corpus([shard], seed=1)
    for step in reversed(range(6)):
        assert same(late.batch(step, 8), batches[step])
    assert not any(same(a, b) for a, b in pairwise(batches))
    assert not same(Corpus([shard], seed=2).batch(0, 8), batches[0])


def test_a_batch_holds_the_pairs_it_names(shard, corpus):
    """The fixture's latents say which family and look they are."""
    known = [{(p.source, p.target, p.category): p for p in pairs(looks)} for looks in shard.looks]
    counted = Counter()
    for step in range(90):
        batch = corpus.batch(step, 16)
        assert batch.target.dtype == torch.float32
        assert batch.target.shape == (16, 16, 8, 8)
        for k, (prompt, category) in enumerate(zip(batch.prompts, batch.categories, strict=True)):
            family, target = (int(batch.target[k, channel, 0, 0]) for channel in (0, 1))
            look = shard.looks[family][target]
            assert np.array_equal(batch.target[k].numpy(), shard.latents[family, target])
            counted[category] += 1
            if not batch.contexts:
                assert category == TEXT_TO_IMAGE
                assert not look.occluder
                assert not look.box
                continue
            shown = [[int(one[k, channel, 0, 0]) for channel in (0, 1)] for one in batch.contexts]
            assert shown[0][0] == family
            pair = known[family][shown[0][1], target, category]
            assert (len(shown) == 2) == (category in REFERENCES)
            if category == "place":
                assert shown[1] == [family, pair.place]
            if category == "style":
                assert shard.looks[shown[1][0]][shown[1][1]].style == look.style == pair.value
                assert prompt
            if prompt and category in ("recolour", "add", "replace", "remove", "box"):
                assert words_for(pair.value) in prompt
            if prompt and category == "weather":
                light = CAPTION_LIGHT[pair.value]
                assert prompt in WEATHERS[pair.value][:-1] or prompt.endswith(light)
    # Those of references are drawn once a batch, so by fewer draws.
    for group, within in ((EDITS, 0.1), (REFERENCES, 0.3)):
        of_group = sum(counted[name] for name in group)
        for name, weight in group.items():
            if name == "expression":  # no prop has a face
                assert not counted[name]
            else:
                assert counted[name] / of_group == pytest.approx(weight, abs=within)


def test_a_batch_knows_an_edit_that_leads_to_each_context(shard, corpus):
    """As in a chain: its target is what the next edit is given."""
    known = [
        {(p.source, p.target): p for p in pairs(looks) if p.category in EDITS}
        for looks in shard.looks
    ]
    led = Counter()
    for step in range(40):
        batch = corpus.batch(step, 16)
        if not batch.contexts:
            assert batch.earlier is None
            continue
        contexts = [[int(one[k, 0, 0]) for k in (0, 1)] for one in batch.contexts[0]]
        targets = [int(one[1, 0, 0]) for one in batch.target]
        # Not from the target: the way back would show what is asked for.
        leading = [
            any(end == look and begin != target for begin, end in known[f])
            for (f, look), target in zip(contexts, targets, strict=True)
        ]
        rows = [] if batch.earlier is None else list(batch.earlier.rows)
        assert rows == [row for row, found in enumerate(leading) if found]
        for at, row in enumerate(rows):
            family, look = contexts[row]
            before = [int(batch.earlier.context[at, k, 0, 0]) for k in (0, 1)]
            assert before[0] == family
            assert before[1] != targets[row]
            pair = known[family][before[1], look]
            led[pair.category] += 1
            assert batch.earlier.prompts[at]
            if pair.category in ("recolour", "add", "replace"):
                assert words_for(pair.value) in batch.earlier.prompts[at]
    assert {"background", "recolour", "add", "uncover", "remove"} <= set(led)
    assert "weather" not in led  # under which nothing is asked


def test_what_few_families_have_is_drawn_as_often_as_its_share_says(shard, monkeypatch):
    looks = (draw_looks(0, face=True), *shard.looks[1:])
    faces = module.Shard(shard.size, shard.latents, shard.nouns, looks)
    monkeypatch.setattr(corpus_module, "EDITS", {"background": 0.5, "expression": 0.5})
    corpus = Corpus([faces], text_to_image=0, referring=0)
    drawn = Counter(c for step in range(50) for c in corpus.batch(step, 16).categories)
    assert drawn["expression"] / drawn.total() == pytest.approx(0.5, abs=0.1)


def test_contexts_and_captions_are_dropped_as_often_as_asked(shard):
    corpus = Corpus([shard], 4, text_to_image=0.25, referring=0.2, caption_dropout=0.1)
    batches = [corpus.batch(step, 8) for step in range(200)]
    assert np.mean([not b.contexts for b in batches]) == pytest.approx(0.25, abs=0.08)
    assert np.mean([len(b.contexts) == 2 for b in batches]) == pytest.approx(0.2, abs=0.08)
    assert np.mean([not p for b in batches for p in b.prompts]) == pytest.approx(0.08, abs=0.03)
    always = Corpus([shard], text_to_image=1.0, caption_dropout=0.0)
    assert not any(always.batch(step, 2).contexts for step in range(20))
    assert all(all(always.batch(step, 2).prompts) for step in range(20))


def test_shards_are_drawn_by_their_size_and_never_mixed(shard):
    tall = module.Shard((64, 96), shard.latents.repeat(2, axis=3)[:1, :, :, :12], *(
        (shard.nouns[:1], shard.looks[:1])
    ))  # fmt: skip
    corpus = Corpus([shard, tall], seed=0)
    shapes = Counter(tuple(corpus.batch(step, 2).target.shape[2:]) for step in range(300))
    assert set(shapes) == {(8, 8), (12, 8)}
    seconds = [b.contexts[1].shape for b in (corpus.batch(k, 1) for k in range(300))
               if len(b.contexts) == 2]  # fmt: skip
    assert len({tuple(shape[2:]) for shape in seconds}) == 2  # sizes of their own
    assert shapes[8, 8] / 300 == pytest.approx(4 / 5, abs=0.08)


def test_a_shard_is_written_whole_or_not_at_all(shard, tmp_path, monkeypatch):
    path = tmp_path / "corpus" / "square-64.npz"
    write_shard(path, shard)
    read = read_shard(path)
    assert (read.size, read.nouns, read.looks) == (shard.size, shard.nouns, shard.looks)
    assert read.latents.dtype == np.float16
    assert np.array_equal(read.latents, shard.latents)
    before = path.read_bytes()

    def half(file, **_):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", half)
    with pytest.raises(OSError, match="No space"):
        write_shard(path, shard)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_built_shard_is_what_the_studio_renders_encoded(cutouts, studio, tmp_path, monkeypatch):
    niced = []
    monkeypatch.setattr(module, "ProcessPoolExecutor", in_this_process)
    monkeypatch.setattr(module.os, "nice", niced.append)
    monkeypatch.setattr(module.signal, "signal", lambda *_: None)  # its workers are threads here
    vae = seeded_autoencoder()
    vae.register_to_config(shift_factor=0.25, scaling_factor=2.0)
    training = [c for c in cutouts if split_of(c) == "train"]
    told = []
    built = build_shard(
        tmp_path / "s.npz", vae, training, cutouts, range(7, 9), (32, 32), progress=told.append
    )
    assert (told, niced) == ([1, 2], [5])
    for k, seed in enumerate((7, 8)):
        family = studio.family(seed, (32, 32))
        assert (built.nouns[k], built.looks[k]) == (family.subject.noun, family.looks)
        latents = encode(vae, family.pictures)
        assert latents.shape == (42, 16, 4, 4)
        assert np.array_equal(built.latents[k], latents.numpy().astype(np.float16))
        pixels = torch.from_numpy(family.pictures).permute(0, 3, 1, 2) / 127.5 - 1.0
        with torch.inference_mode():
            exact = (vae.encode(pixels).latent_dist.mode() - 0.25) * 2.0
        assert (latents - exact).abs().max() < 0.1 * exact.abs().max()
    read = read_shard(tmp_path / "s.npz")
    assert np.array_equal(read.latents, built.latents)
    assert read.origin == Origin(autoencoder_digest(vae), 7, 2)


def test_a_killed_renderer_is_told_and_not_waited_for(cutouts, tmp_path):
    def kill(_made):
        for renderer in multiprocessing.active_children():
            renderer.kill()

    training = [c for c in cutouts if split_of(c) == "train"]
    where = (tmp_path / "s.npz", seeded_autoencoder(), training, cutouts)
    with pytest.raises(TrainingError, match=r"a process that renders died .*fewer --workers"):
        build_shard(*where, range(200), (64, 64), progress=kill)
    assert list(tmp_path.iterdir()) == []


def test_an_autoencoders_digest_is_that_of_its_latents():
    vae = seeded_autoencoder()
    digest = autoencoder_digest(vae)
    assert autoencoder_digest(vae.to(memory_format=torch.channels_last)) == digest
    vae.register_to_config(scaling_factor=2.0)
    other = autoencoder_digest(vae)
    with torch.no_grad():
        vae.decoder.conv_out.bias[0] += 1e-3
    assert autoencoder_digest(vae) == other  # a refined decoder leaves latents as they are
    with torch.no_grad():
        vae.encoder.conv_out.bias[0] += 1e-3
    assert len({digest, other, autoencoder_digest(vae)}) == 3


def damaged(path, how):
    whole = path.read_bytes()
    changed = {
        "cut short": whole[: len(whole) // 2],
        "empty": b"",
        "one byte other": whole[:5000] + bytes([whole[5000] ^ 255]) + whole[5001:],
        "something else": b"some notes",
    }
    if how in changed:
        path.write_bytes(changed[how])
    else:
        with np.load(path) as stored:
            listing = json.loads(str(stored["listing"]))
            listing["looks"][0][0]["hat"] = "tall"
            np.savez(path, latents=stored["latents"], listing=np.array(json.dumps(listing)))


@pytest.mark.parametrize(
    "how", ["cut short", "empty", "one byte other", "something else", "another release's"]
)
def test_a_damaged_shard_says_what_to_do(how, shard, tmp_path):
    path = tmp_path / "square-64.npz"
    write_shard(path, shard)
    damaged(path, how)
    with pytest.raises(TrainingError, match=r"square-64\.npz: not a whole corpus of this release"):
        read_shard(path)


def test_latents_are_measured_to_mean_zero_and_deviation_one(studio):
    vae = seeded_autoencoder()
    pictures = studio.family(1, (32, 32)).pictures
    shift, scale = measure_latents(vae, iter([pictures[:6], pictures[6:]]))
    vae.register_to_config(shift_factor=shift, scaling_factor=scale)
    latents = encode(vae, pictures)
    assert float(latents.mean()) == pytest.approx(0.0, abs=0.02)
    assert float(latents.std()) == pytest.approx(1.0, abs=0.02)
