import json
import os
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from kontext_engine import catalogue, digest
from kontext_engine.api import ModelError
from kontext_engine.catalogue import list_models, resolve_model
from kontext_engine.folder import check_whole
from kontext_engine.geometry import Size
from kontext_engine.spec import Condition, ContextIds, write_spec
from tests.engine.tiny import CONTROL, FULL, PLAIN, save_tiny_model

KONTEXT_DEV = "black-forest-labs/FLUX.1-Kontext-dev"


@pytest.fixture(autouse=True)
def own_caches(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    """A model folder old enough for its hashes to be remembered."""
    save_tiny_model(tmp_path / "model", FULL)
    age(tmp_path / "model")
    return tmp_path / "model"


def age(folder, seconds=60):
    then = time.time_ns() - seconds * 1_000_000_000
    for path in folder.rglob("*"):
        os.utime(path, ns=(then, then))


def test_a_written_spec_is_read_back(folder):
    wanted = replace(
        resolve_model(folder),
        name="another",
        sizes=(Size(64, 64), Size(80, 48)),
        context_ids=ContextIds.INDEX,
        licence="MIT",
        default_guidance=1.5,
    )
    write_spec(folder, wanted)
    read = resolve_model(folder)
    assert read == wanted  # with its digest: what decides pixels is in keys by itself
    assert "digest" not in json.loads((folder / "kontext.json").read_text())


@pytest.mark.parametrize("tiny", [FULL, PLAIN, CONTROL])
def test_a_folder_without_a_spec_is_described_by_its_configurations(tmp_path, tiny):
    made = save_tiny_model(tmp_path / "bare", tiny)
    (tmp_path / "bare" / "kontext.json").unlink()
    derived = resolve_model(tmp_path / "bare")
    assert derived.name == "bare"
    assert derived.multiple == made.multiple == tiny.multiple
    assert derived.text_tokens == made.text_tokens
    assert derived.guidance_embedded is tiny.guidance
    assert derived.condition is tiny.condition
    assert (derived.pixel_area, derived.max_contexts) == (1024 * 1024, 1)


def test_the_vaes_size_is_taken_for_the_models(folder):
    (folder / "kontext.json").unlink()
    config = folder / "vae" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"sample_size": 128}))
    derived = resolve_model(folder)
    assert (derived.pixel_area, derived.default_size) == (128 * 128, (128, 128))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"pixel_aera": 4}', "unknown field 'pixel_aera'; known: condition, context_ids"),
        ('{"pixel_area": "big"}', "a field has the wrong type or value"),
        ('{"steps": 4}', "unknown field 'steps'"),
        ('{"default_size": [64]}', "a field has the wrong type or value"),
        ('{"context_ids": "sideways"}', "'sideways' is not a valid ContextIds"),
        ('{"guidance_embedded": 1}', "expected true or false, found 1"),
        ('{"multiple": 0}', "expected a positive whole number, found 0"),
        ("{", "cannot be read as JSON"),
        ("[]", "expected a JSON object"),
    ],
)
def test_a_wrong_spec_is_refused_by_name(folder, content, message):
    (folder / "kontext.json").write_text(content)
    with pytest.raises(ModelError) as caught:
        resolve_model(folder)
    assert str(caught.value).startswith(f"{folder / 'kontext.json'}: ")
    assert message in str(caught.value)


def test_a_folder_of_another_kind_is_refused(folder, tmp_path):
    with pytest.raises(ModelError, match=r"is not a Kontext model: model_index\.json, scheduler"):
        resolve_model(tmp_path)
    config = folder / "transformer" / "config.json"
    config.write_text(json.dumps({"_class_name": "UNet2DConditionModel"}))
    with pytest.raises(ModelError, match="is a UNet2DConditionModel; expected a FluxTransformer2D"):
        resolve_model(folder)


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ModelError, match=r"no model 'kontext-mimi'.*did you mean 'kontext-mini'"):
        resolve_model("kontext-mimi")
    with pytest.raises(ModelError, match="known models: kontext-mini, black-forest-labs/FLUX"):
        resolve_model("zzz")


def test_a_hub_model_that_is_not_here_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(ModelError) as caught:
        resolve_model(KONTEXT_DEV)
    message = str(caught.value)
    assert "is not on this machine" in message
    assert f"hf download {KONTEXT_DEV}" in message
    assert "Non-Commercial" in message
    assert "filter or review the outputs" in message


def test_a_hub_model_that_was_downloaded_is_found(folder, monkeypatch):
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(folder))
    found = resolve_model(KONTEXT_DEV)
    assert (found.name, found.source) == (KONTEXT_DEV, str(folder))
    assert (found.default_steps, found.default_guidance, len(found.sizes)) == (28, 2.5, 17)
    assert len(found.digest) == 64


def test_the_preferred_sizes_are_megapixels_in_multiples():
    kontext = catalogue.HUB_MODELS[KONTEXT_DEV]
    assert (kontext.sizes[0], kontext.sizes[-1]) == ((672, 1568), (1568, 672))
    for size in kontext.sizes:
        assert size.width % 16 == size.height % 16 == 0
        assert abs(size.area / 1024**2 - 1) < 0.02
        assert Size(size.height, size.width) in kontext.sizes
    assert catalogue.HUB_MODELS["black-forest-labs/FLUX.1-Fill-dev"].condition is Condition.CHANNEL


def test_listing_tells_what_is_here(folder, monkeypatch):
    monkeypatch.setattr(catalogue, "MODELS_FOLDER", folder.parent)
    monkeypatch.setattr(catalogue, "SHIPPED", ("model", "absent"))
    monkeypatch.setattr(catalogue, "_hub_folder", lambda name: None)
    listed = {entry.name: entry for entry in list_models()}
    assert listed["model"].available
    assert not listed["absent"].available
    assert not listed[KONTEXT_DEV].available
    assert "Non-Commercial" in listed[KONTEXT_DEV].licence
    assert resolve_model("model").source == str(folder)
    with pytest.raises(ModelError, match="model 'absent' is not installed"):
        resolve_model("absent")


def test_the_digest_follows_bytes_not_places(folder, tmp_path):
    first = digest.folder_digest(folder)
    moved = folder.rename(tmp_path / "moved")
    assert digest.folder_digest(moved) == first
    (moved / "README.md").write_text("a model")
    (moved / "flux1-dev.safetensors").write_bytes(b"the same weights in another layout")
    assert digest.folder_digest(moved) == first
    tokenizer = moved / "tokenizer" / "tokenizer_config.json"
    tokenizer.write_text(tokenizer.read_text() + "\n")
    assert digest.folder_digest(moved) != first


def test_absent_weights_count_as_they_are_stated(folder):
    first = digest.folder_digest(folder)
    weights = sorted(path.relative_to(folder) for path in folder.rglob("*.safetensors"))
    made = subprocess.run(["sha256sum", *weights], cwd=folder, capture_output=True, check=True)
    (folder / digest.STATED).write_bytes(made.stdout)
    assert digest.folder_digest(folder) == first
    for path in weights:
        (folder / path).unlink()
    assert digest.folder_digest(folder) == first
    check_whole(folder, planning=True)  # as where there is only the slim image
    with pytest.raises(ModelError, match=r"\.safetensors: missing and 3 more"):
        check_whole(folder)
    (folder / digest.STATED).write_bytes(
        (b"1" if made.stdout[:1] == b"0" else b"0") + made.stdout[1:]
    )
    assert digest.folder_digest(folder) != first
    (folder / weights[0]).write_bytes(b"others")  # what is here counts by what it is
    with_others = digest.folder_digest(folder)
    (folder / digest.STATED).write_bytes(made.stdout)
    assert digest.folder_digest(folder) == with_others != first


def test_a_statement_that_cannot_be_read_is_told(folder):
    (folder / digest.STATED).write_text("all is well\n")
    with pytest.raises(ModelError, match=r"weights.sha256:1: expected a line of `sha256sum`"):
        resolve_model(folder)


def hashed_files(monkeypatch):
    opened = []
    original = Path.open

    def watched(path, mode="r", *rest, **options):
        if mode == "rb":
            opened.append(path.name)
        return original(path, mode, *rest, **options)

    monkeypatch.setattr(Path, "open", watched)
    return opened


def test_a_file_is_hashed_once_until_its_stat_changes(folder, monkeypatch):
    opened = hashed_files(monkeypatch)
    first = digest.folder_digest(folder)
    assert len(opened) == len(digest.model_files(folder)) > 10
    opened.clear()
    assert digest.folder_digest(folder) == first
    assert opened == []
    os.utime(folder / "vae" / "config.json")
    assert digest.folder_digest(folder) == first
    assert opened == ["config.json"]


def test_a_file_just_written_is_not_remembered(folder, monkeypatch):
    config = folder / "vae" / "config.json"
    digest.folder_digest(folder)
    text = config.read_text()
    config.write_text(text)
    stat = config.stat()
    before = digest.folder_digest(folder)
    config.write_text(text.replace("1", "2", 1))
    os.utime(config, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # written within one clock tick
    assert digest.folder_digest(folder) != before


def test_of_many_files_those_that_are_gone_are_forgotten(folder, monkeypatch):
    def remembered() -> set[str]:
        return set(json.loads(digest.cache_path().read_text())["files"])

    digest.folder_digest(folder)
    before, moved = remembered(), folder.with_name("moved")
    shutil.copytree(folder, moved)
    shutil.rmtree(folder)
    digest.folder_digest(moved)
    assert before <= remembered()  # a disk that is not there may be again
    for path in digest.model_files(moved):
        os.utime(path, (1, 1))
    monkeypatch.setattr(digest, "_MANY", 1)
    digest.folder_digest(moved)
    assert remembered() == {str(path) for path in digest.model_files(moved)}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"files": 3}', '{"files": {"x": [1]}}', "\0"])
def test_a_corrupt_cache_is_replaced(folder, content):
    first = digest.folder_digest(folder)
    digest.cache_path().write_text(content)
    assert digest.folder_digest(folder) == first
    assert len(json.loads(digest.cache_path().read_text())["files"]) > 10
    assert list(digest.cache_path().parent.iterdir()) == [digest.cache_path()]


def test_a_home_that_cannot_be_written_costs_nothing_but_time(folder, tmp_path, monkeypatch):
    first = digest.folder_digest(folder)
    (tmp_path / "file").write_text("in the way of a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert digest.folder_digest(folder) == first
