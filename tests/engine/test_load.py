"""What is refused before anything is computed: numerics and weights that cannot be used."""

import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from kontext_engine.api import EngineOptions, ModelError
from kontext_engine.engine import KontextEngine
from kontext_engine.load import load_components
from kontext_engine.spec import NumericsProfile


@pytest.mark.parametrize(
    ("numerics", "message"),
    [
        (NumericsProfile(dtype="float8"), "dtype 'float8': expected one of float32, bfloat16"),
        (NumericsProfile(device="tpu"), "device 'tpu': expected 'cpu' or 'cuda'"),
        (NumericsProfile(attention="flash"), "attention 'flash': only 'sdpa' is available"),
    ],
)
def test_unknown_numerics_are_refused(numerics, message, full_spec):
    with pytest.raises(ModelError, match=message):
        KontextEngine.load(full_spec, EngineOptions(numerics))


@pytest.fixture
def spec(full_spec, tmp_path):
    """A copy to spoil."""
    shutil.copytree(full_spec.source, tmp_path / "model")
    return replace(full_spec, source=str(tmp_path / "model"))


def test_damaged_or_wrong_weights_are_refused(spec, tmp_path):
    with pytest.raises(ModelError, match=r"guidance_embeds True\) is not what"):
        KontextEngine.load(replace(spec, guidance_embedded=False))
    weights = tmp_path / "model" / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ModelError, match="safetensors: is not a whole safetensors file"):
        KontextEngine.load(spec)


@pytest.mark.parametrize("change", ["without", "other shape"])
@pytest.mark.parametrize(
    ("file", "weight"),
    [
        ("transformer/diffusion_pytorch_model.safetensors", "x_embedder.weight"),
        ("vae/diffusion_pytorch_model.safetensors", "decoder.conv_in.weight"),
        ("text_encoder/model.safetensors", "final_layer_norm.weight"),
        ("text_encoder_2/model.safetensors", "encoder.block.0.layer.0.SelfAttention.q.weight"),
    ],
)
def test_weights_are_never_made_up(spec, tmp_path, capfd, file, weight, change):
    path = tmp_path / "model" / file
    tensors = load_file(path)
    (name,) = (name for name in tensors if name.endswith(weight))
    tensor = tensors.pop(name)
    if change == "other shape":
        tensors[name] = tensor[:-1].contiguous()
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(ModelError) as refused:
        KontextEngine.load(spec)
    assert str(refused.value).startswith(f"{path.parent}: cannot be loaded as ")
    assert weight in str(refused.value)
    assert "\n" not in str(refused.value)
    assert capfd.readouterr() == ("", "")  # one message, not the libraries' reports besides


@pytest.mark.parametrize(("dtype", "last"), [("float32", True), ("bfloat16", False)])
def test_the_autoencoder_lies_channels_last_only_where_batches_stay_alike(full_spec, dtype, last):
    vae = load_components(full_spec, NumericsProfile(dtype=dtype)).vae
    weight = vae.decoder.conv_in.weight
    assert weight.is_contiguous(memory_format=torch.channels_last) is last
    assert weight.is_contiguous() is not last
