"""The shipped miniature: small, complete, the same in diffusers' pipeline, and it edits."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, FluxKontextPipeline
from PIL import Image

from kontext_engine.api import EditRequest, EngineOptions
from kontext_engine.catalogue import resolve_model
from kontext_engine.codec import Codec, to_pictures, to_tensor
from kontext_engine.engine import KontextEngine
from kontext_engine.geometry import Size
from kontext_engine.load import load_components
from kontext_engine.picture.reading import open_picture
from tests.engine.tiny import drawn, peer_of

SAMPLE = Path(__file__).parents[2] / "recipes" / "samples" / "products" / "backpack.png"
SIZE = Size(128, 128)
STEPS = 8
BEACH = "change the background to a sandy beach"


@pytest.fixture(scope="module")
def engine() -> KontextEngine:
    return KontextEngine.load(resolve_model("kontext-mini"), EngineOptions())


@pytest.fixture(scope="module")
def peer() -> FluxKontextPipeline:
    folder = resolve_model("kontext-mini").source
    return peer_of(FluxKontextPipeline, folder, dtype=torch.float32)


@pytest.fixture(scope="module")
def product() -> Image.Image:
    # At the model's own size, so that neither side resizes.
    return open_picture(SAMPLE).resize(SIZE, Image.Resampling.LANCZOS)


@pytest.mark.parametrize("editing", [True, False], ids=["edit", "text-to-image"])
def test_diffusers_pipeline_makes_the_same_picture(editing, engine, peer, product):
    prompt = BEACH if editing else "a cat on a sandy beach"
    contexts = (product,) if editing else ()
    (ours,) = engine.run([EditRequest("a", prompt, 7, STEPS, contexts, size=SIZE)])
    (theirs,) = drawn(
        peer,
        SIZE,
        STEPS,
        image=product if editing else None,
        prompt=prompt,
        max_sequence_length=engine.spec.text_tokens,
        generator=torch.Generator().manual_seed(7),
    )
    a, b = (np.asarray(picture).astype(int) for picture in (ours.image, theirs))
    assert a.shape == b.shape == (128, 128, 3)
    assert abs(a - b).max() <= 1  # rounding to 8 bits may fall either way
    assert b.std() > 20  # a picture, not a grey


def test_the_autoencoders_place_in_memory_moves_no_picture_beyond_the_tolerance(engine, product):
    """Against weights as diffusers loads them: one level, in at most 0.1 % of values."""
    folder = Path(engine.spec.source) / "vae"
    plain = AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32).eval()
    settled = load_components(engine.spec, engine.numerics).vae
    pixels = to_tensor([product, product.transpose(Image.Transpose.FLIP_LEFT_RIGHT)])
    made = [
        np.stack([np.asarray(picture, int) for picture in to_pictures(codec.decode(latents))])
        for codec in (Codec(plain), Codec(settled))
        for latents in [codec.encode(pixels)]
    ]
    differences = abs(made[0] - made[1])
    assert differences.max() <= 1
    assert (differences > 0).mean() <= 1e-3


def test_it_is_small_enough_to_ship():
    folder = Path(resolve_model("kontext-mini").source)
    assert sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) < 40_000_000


def test_a_held_out_product_gets_the_background_that_was_asked_for(engine, product):
    """A beach by its colours (sky over sea over sand), a forest by its green; neither is a copy."""
    prompts = {"beach": BEACH, "forest": "change the background to a green forest"}
    edits = [EditRequest(k, p, 3, 16, (product,), size=SIZE) for k, p in prompts.items()]
    made = {r.id: np.asarray(r.image).astype(float) for r in engine.run(edits)}
    sky, sand = made["beach"][:24].mean((0, 1)), made["beach"][-12:].mean((0, 1))
    red, green, blue = sky
    assert blue > red + 25
    red, green, blue = sand
    assert red > blue + 25
    red, green, blue = made["forest"][:24].mean((0, 1))
    assert green > max(red, blue) + 25
