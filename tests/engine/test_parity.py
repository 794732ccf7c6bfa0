"""The same latents and pictures as diffusers' pipelines, from the same noise and embeddings."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import FluxControlPipeline, FluxFillPipeline, FluxKontextPipeline
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image

from kontext_engine.api import EditRequest
from kontext_engine.codec import Codec, to_pictures, to_tensor
from kontext_engine.conditioning import grid_of, pack, position_ids, unpack
from kontext_engine.engine import KontextEngine
from kontext_engine.geometry import Fit, Size
from kontext_engine.load import load_components
from kontext_engine.sampling import Conditions, Prompt, denoise, sigma_schedule
from kontext_engine.spec import ContextIds, NumericsProfile
from tests.engine.tiny import (
    CONTROL,
    FILL,
    TEXT_TOKENS,
    drawn,
    gradient,
    levels,
    peer_of,
    save_tiny_model,
)

STEPS = 4
PROMPTS = ["Make the red shoe blue", "put the handbag on a snowy beach"]
NEGATIVES = ["a watch", "night"]


@pytest.fixture(scope="module")
def plain_peer(plain_spec):
    return peer_of(FluxKontextPipeline, plain_spec.source)


@pytest.fixture(scope="module")
def full_peer(full_spec):
    return peer_of(FluxKontextPipeline, full_spec.source)


def embeddings(peer, prompts):
    """(states, pooled) by the peer's own code."""
    return peer.encode_prompt(prompts, max_sequence_length=TEXT_TOKENS)[:2]


def noise_for(codec, size, batch, seed=7):
    height, width = size.height // codec.scale, size.width // codec.scale
    shape = (batch, codec.channels, height, width)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def peer_call(peer, size, noise, pictures, *, cfg=1.0, guidance=2.5, output="latent"):
    text = embeddings(peer, PROMPTS[: len(noise)])
    negative = embeddings(peer, NEGATIVES[: len(noise)]) if cfg > 1 else (None, None)
    return drawn(
        peer,
        size,
        STEPS,
        image=pictures or None,
        prompt_embeds=text[0],
        pooled_prompt_embeds=text[1],
        negative_prompt_embeds=negative[0],
        negative_pooled_prompt_embeds=negative[1],
        true_cfg_scale=cfg,
        guidance_scale=guidance,
        max_sequence_length=TEXT_TOKENS,
        latents=pack(noise),
        output_type=output,
    )


def our_latents(spec, peer, size, noise, pictures, *, cfg=1.0, guidance=2.5):
    """The sampler on our own parts; only the text embeddings are the peer's."""
    parts = load_components(spec, NumericsProfile())
    codec = Codec(parts.vae)
    count = len(noise)
    context = codec.encode(to_tensor(pictures)) if pictures else None
    conditions = Conditions(
        prompt=Prompt(*embeddings(peer, PROMPTS[:count])),
        ids=position_ids(
            grid_of(noise), [] if context is None else [grid_of(context)], ContextIds.OFFSET
        ),
        context=None if context is None else pack(context),
        guidance=torch.full((count,), guidance) if spec.guidance_embedded else None,
    )
    if cfg > 1:
        conditions = replace(
            conditions,
            negative=Prompt(*embeddings(peer, NEGATIVES[:count])),
            scale=torch.full((count,), cfg),
        )
    sigmas = sigma_schedule(STEPS, grid_of(noise).tokens, parts.shift)
    with torch.inference_mode():
        return denoise(parts.transformer, pack(noise), sigmas, conditions)


# target, context (None: text-to-image), batch, true guidance
CASES = [
    pytest.param(("plain", (8, 8), (8, 8), 1, 1.0), id="plain-edit"),
    pytest.param(("plain", (12, 6), (4, 10), 2, 1.0), id="plain-other-size"),
    pytest.param(("plain", (8, 8), None, 2, 3.0), id="plain-text-cfg"),
    pytest.param(("full", (64, 64), (64, 64), 1, 1.0), id="full-edit"),
    pytest.param(("full", (96, 48), (32, 80), 2, 1.0), id="full-other-size-batch"),
    pytest.param(("full", (48, 96), (64, 48), 2, 3.0), id="full-other-size-cfg"),
    pytest.param(("full", (80, 48), None, 2, 1.0), id="full-text"),
]


@pytest.mark.parametrize("case", CASES)
def test_latents_and_pictures_equal_the_pipelines(case, request):
    kind, target, context, batch, cfg = case
    spec = request.getfixturevalue(f"{kind}_spec")
    peer = request.getfixturevalue(f"{kind}_peer")
    size = Size(*target)
    noise = noise_for(Codec(peer.vae), size, batch)
    pictures = [gradient(context, phase) for phase in range(batch)] if context else []
    ours = our_latents(spec, peer, size, noise, pictures, cfg=cfg)
    theirs = peer_call(peer, size, noise, pictures, cfg=cfg)
    assert ours.shape == theirs.shape
    assert float((ours - theirs).abs().max()) <= 1e-4
    # The comparison means something only if the result is far from the noise it began with.
    assert float((ours - pack(noise)).abs().mean()) > 0.05

    codec = Codec(peer.vae)
    decoded = to_pictures(codec.decode(unpack(ours, grid_of(noise))))
    expected = peer_call(peer, size, noise, pictures, cfg=cfg, output="pil")
    for mine, other in zip(decoded, expected, strict=True):
        assert levels(mine, other).max() <= 1


@pytest.mark.parametrize("change", ["guidance", "context", "cfg", "no context"])
def test_each_condition_moves_the_latents_far_beyond_the_tolerance(change, full_spec, full_peer):
    size = Size(64, 48)
    noise = noise_for(Codec(full_peer.vae), size, 1)
    pictures = [gradient((48, 64))]
    base = our_latents(full_spec, full_peer, size, noise, pictures)
    options = {"guidance": {"guidance": 4.0}, "cfg": {"cfg": 2.0}}.get(change, {})
    changed = {"context": [gradient((48, 64), 2.0)], "no context": []}.get(change, pictures)
    moved = our_latents(full_spec, full_peer, size, noise, changed, **options)
    assert float((moved - base).abs().max()) > 100 * 1e-4


@pytest.mark.parametrize("context", [(64, 64), (48, 80), None])
def test_the_engine_makes_the_pipelines_picture_from_the_same_seed(context, full_engine, full_peer):
    """Nothing is shared but the folder: text, noise, size and decoding are each side's own."""
    target = Size(96, 48)
    pictures = (gradient(context),) if context else ()
    edit = EditRequest(
        "a", PROMPTS[0], 5, STEPS, pictures, size=target, fit=Fit.WHOLE, guidance=3.0
    )
    (ours,) = full_engine.run([edit])
    (theirs,) = drawn(
        full_peer,
        target,
        STEPS,
        image=pictures[0] if pictures else None,
        prompt=PROMPTS[0],
        guidance_scale=3.0,
        max_sequence_length=TEXT_TOKENS,
        generator=torch.Generator().manual_seed(5),
    )
    assert ours.image.size == theirs.size == target
    assert levels(ours.image, theirs).max() <= 1
    assert np.asarray(theirs).std() > 10


REGION = np.zeros((48, 80), np.uint8)
REGION[8:30, 20:61] = 255


@pytest.mark.parametrize(
    ("kind", "tiny"), [(FluxControlPipeline, CONTROL), (FluxFillPipeline, FILL)]
)
def test_channel_conditions_equal_their_pipelines(kind, tiny, tmp_path, monkeypatch):
    # The pipeline draws from the VAE's distribution where we take its mean.
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", mean_of)
    spec = save_tiny_model(tmp_path / "model", tiny)
    peer, engine = peer_of(kind, spec.source), KontextEngine.load(spec)
    size, picture = Size(80, 48), gradient((80, 48))
    mask, inverted = (Image.fromarray(one) for one in (REGION, 255 - REGION))
    text = embeddings(peer, PROMPTS[:1])
    shown = {"image": picture, "mask_image": mask} if tiny.masked else {"control_image": picture}
    (theirs,) = drawn(
        peer,
        size,
        STEPS,
        **shown,
        prompt_embeds=text[0],
        pooled_prompt_embeds=text[1],
        guidance_scale=3.0,
        latents=pack(noise_for(Codec(peer.vae), size, 1, seed=5)),
    )
    edit = EditRequest("a", PROMPTS[0], 5, STEPS, (picture,), size=size, guidance=3.0)
    edit = replace(edit, mask=mask) if tiny.masked else edit
    (ours,) = engine.run([edit])
    assert levels(ours.image, theirs).max() <= 1
    another = {"mask": inverted} if tiny.masked else {"contexts": (gradient((80, 48), 2.0),)}
    (other,) = engine.run([replace(edit, **another)])
    assert levels(ours.image, other.image).max() > 10


def mean_of(distribution, generator=None):
    return distribution.mode()
