"""What a model folder lacks is told in one line, before and at load."""

import json
import shutil
from dataclasses import replace

import pytest

from kontext_engine.catalogue import MODELS_FOLDER
from kontext_engine.engine import KontextEngine
from kontext_engine.errors import ModelError
from kontext_engine.folder import folder_lacks

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"


@pytest.fixture
def spec(full_spec, tmp_path):
    """A copy to spoil."""
    shutil.copytree(full_spec.source, tmp_path / "model")
    return replace(full_spec, source=str(tmp_path / "model"))


def test_whole_models_lack_nothing(spec, tmp_path):
    assert folder_lacks(MODELS_FOLDER / "kontext-mini") == ()
    assert folder_lacks(tmp_path / "model") == ()


WEIGHTS = "diffusion_pytorch_model.safetensors"


def cut(path):
    path.write_bytes(path.read_bytes()[:-10])


def special_only(path):
    content = json.loads(path.read_text())
    special = {item["content"] for item in content["added_tokens"]}
    words = content["model"]["vocab"]
    content["model"]["vocab"] = (
        [pair for pair in words if pair[0] in special]
        if isinstance(words, list)
        else {word: number for word, number in words.items() if word in special}
    )
    content["model"].pop("merges", None)
    path.write_text(json.dumps(content))


def old_form(path):
    """The older form of two files, without words."""
    path.with_name("vocab.json").write_text('{"<|startoftext|>": 0, "<|endoftext|>": 1}')
    path.with_name("merges.txt").write_text("#version: 0.2\n")
    path.unlink()


@pytest.mark.parametrize(
    ("file", "spoil", "told"),
    [
        ("tokenizer/tokenizer.json", None, "tokenizer: its vocabulary is missing"),
        ("tokenizer_2/tokenizer.json", None, "tokenizer_2: its vocabulary is missing"),
        ("tokenizer/tokenizer.json", special_only, "tokenizer/tokenizer.json: its vocabulary is"),
        ("tokenizer_2/tokenizer.json", special_only, "tokenizer_2/tokenizer.json: its vocabulary"),
        ("tokenizer/tokenizer.json", old_form, "tokenizer/vocab.json: its vocabulary is empty"),
        ("tokenizer_2/tokenizer.json", cut, "tokenizer_2/tokenizer.json: cannot be read as a voc"),
        ("tokenizer_2/tokenizer.json", POINTER, "tokenizer_2/tokenizer.json: a Git LFS pointer"),
        ("tokenizer/tokenizer_config.json", None, "tokenizer/tokenizer_config.json: missing"),
        (f"transformer/{WEIGHTS}", None, f"transformer/{WEIGHTS}: missing"),
        (f"transformer/{WEIGHTS}", POINTER, f"transformer/{WEIGHTS}: a Git LFS pointer"),
        (f"vae/{WEIGHTS}", cut, f"vae/{WEIGHTS}: is cut short"),
        (f"vae/{WEIGHTS}", b"\1\2\3", f"vae/{WEIGHTS}: is not a whole safetensors file"),
        ("vae/config.json", b"", "vae/config.json: empty"),
        ("scheduler/scheduler_config.json", None, "scheduler/scheduler_config.json: missing"),
        ("model_index.json", None, "model_index.json: missing"),
    ],
)
def test_what_is_missing_is_told_and_refused_at_load(spec, tmp_path, file, spoil, told):
    path = tmp_path / "model" / file
    if spoil is None:
        path.unlink()
    elif callable(spoil):
        spoil(path)
    else:
        path.write_bytes(spoil)
    (lacks,) = folder_lacks(tmp_path / "model")
    assert lacks.startswith(told)
    with pytest.raises(ModelError) as refused:
        KontextEngine.load(spec)
    assert str(refused.value).startswith(f"{tmp_path / 'model'}/{told}")
    assert "\n" not in str(refused.value)


def test_every_shard_is_looked_for(spec, tmp_path):
    part = tmp_path / "model" / "transformer"
    (part / WEIGHTS).rename(part / "a.safetensors")
    shards = {"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}
    (part / f"{WEIGHTS}.index.json").write_text(json.dumps(shards))
    assert folder_lacks(tmp_path / "model") == ("transformer/b.safetensors: missing",)
    (part / f"{WEIGHTS}.index.json").write_text("{}")
    (lacks,) = folder_lacks(tmp_path / "model")
    assert lacks.endswith("cannot be read as an index of shards")
