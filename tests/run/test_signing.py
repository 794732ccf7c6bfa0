"""Signed files: what the library's own reader says of them, and where the key is not."""

from __future__ import annotations

import io
import json
import logging
from dataclasses import replace
from pathlib import Path

import c2pa
import pytest
from PIL import Image

from flows.plan.planfile import encode_plan
from flows.run.encoders import MEDIA_TYPES
from flows.run.outputs import output_key
from flows.settings import DeliverySettings, Settings
from kontext_engine.fake import FAKE_SPEC
from tests.recipe.workspace import plan_text

from .authority import Authority
from .samples import run

FORMATS = {"jpg": "jpeg", "png": "png", "webp": "webp", "avif": "avif", "tif": "tiff"}
RECIPE = """\
version: 1
name: signed
inputs: {p: a.png}
steps:
  made: {op: generate, prompt: a house}
  edited: {op: edit, image: p, prompt: make it snow}
  again: {op: edit, image: edited, prompt: make it rain}
outputs:
"""


@pytest.fixture(scope="module")
def authority():
    return Authority.new()


@pytest.fixture
def workspace(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (60, 60), "red").save("a.png")
    return tmp_path


def settings(files) -> Settings:
    certificate, key_file = files
    return Settings(delivery=DeliverySettings(certificate=certificate, key_file=key_file))


def planned(workspace: Path, outputs: str, said: Settings):
    return plan_text(RECIPE + outputs, workspace, model=replace(FAKE_SPEC), settings=said)


def verdict(data: bytes, media: str, anchors: bytes | None = None):
    """The reader's word, the codes of what it found wrong, and the manifest itself."""
    said = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}
    if anchors is not None:
        said["trust"] = {"user_anchors": anchors.decode()}
    context = c2pa.Context.from_dict(said)
    with context, c2pa.Reader(media, io.BytesIO(data), context=context) as reader:
        told = json.loads(reader.json())
        found = reader.get_validation_results() or {}
        codes = {one["code"] for one in found.get("activeManifest", {}).get("failure", [])}
        return reader.get_validation_state(), codes, told["manifests"][told["active_manifest"]]


def test_every_format_is_valid_trusted_with_its_authority_and_invalid_when_changed(
    workspace, authority
):
    lines = [f"  - {{step: {s}, name: {s}.{end}}}\n" for s in ("made", "again") for end in FORMATS]
    said = settings(authority.issue(workspace))
    lines += [f"  - {{sheet: made, name: sheet.{end}}}\n" for end in ("png", "pdf")]
    plan = planned(workspace, "".join(lines), said)
    assert plan.warnings == ()
    finished = run(plan, workspace / "out", settings=said)
    assert [one.problem for one in finished.manifest.outputs if one.problem] == []
    for entry in finished.manifest.outputs:
        data = (Path(finished.folder) / entry.path).read_bytes()
        media = MEDIA_TYPES[entry.format]
        state, codes, manifest = verdict(data, media)
        assert (state, codes) == ("Valid", {"signingCredential.untrusted"}), entry.path
        assert verdict(data, media, authority.pem)[:2] == ("Trusted", set())
        changed = bytearray(data)
        changed[-30] ^= 1
        assert verdict(bytes(changed), media)[0] == "Invalid", entry.path
        assert "thumbnail" not in manifest
        edits = entry.path.startswith("again")
        assert [one["relationship"] for one in manifest.get("ingredients", [])] == (
            ["parentOf"] if edits else []
        )
        (actions,) = [one["data"]["actions"] for one in manifest["assertions"]
                      if one["label"].startswith("c2pa.actions")]  # fmt: skip
        names = ["c2pa.opened", "c2pa.edited"] if edits else ["c2pa.created"]
        assert [one["action"] for one in actions] == names
        kind = "compositeWithTrainedAlgorithmicMedia" if edits else "trainedAlgorithmicMedia"
        assert actions[-1]["digitalSourceType"].endswith(f"/{kind}")
        assert b"Iptc4xmpExt:DigitalSourceType" in data
        if entry.format == "pdf":
            assert data.startswith(b"%PDF-")
            continue
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()


def test_pages_are_not_signed_which_is_told_once_with_their_count(workspace, authority):
    said = settings(authority.issue(workspace))
    Path("more").mkdir()
    for name in ("b.png", "c.png"):
        Image.new("RGB", (60, 60), "blue").save(f"more/{name}")
    recipe = """\
version: 1
inputs: {p: more/*}
steps: {edited: {op: edit, image: p, prompt: make it snow}}
outputs: [{sheet: edited, name: "{p}.html"}]
"""
    unsigned, plan = (
        plan_text(recipe, workspace, model=replace(FAKE_SPEC), settings=one)
        for one in (Settings(), said)
    )
    assert unsigned.warnings == ()
    (told,) = plan.warnings
    assert "2 contact sheets are HTML, which cannot be signed (C2PA)" in told
    assert plan.digest == unsigned.digest
    assert all(not one.problem for one in run(plan, workspace / "out").manifest.outputs)


def test_what_is_weighed_is_the_signed_file(workspace, authority):
    said = settings(authority.issue(workspace))
    line = "  - {step: edited, name: a.jpg, size: 600x600, max_kb: 30}\n"
    finished = run(planned(workspace, line, said), workspace / "out", settings=said)
    (entry,) = finished.manifest.outputs
    data = (Path(finished.folder) / entry.path).read_bytes()
    assert 20_000 < len(data) <= 30_000
    assert verdict(data, "image/jpeg")[0] == "Valid"


def test_the_certificate_is_in_the_key_and_the_private_key_nowhere(workspace, authority, caplog):
    caplog.set_level(logging.DEBUG)
    first, second = authority.issue(workspace), authority.issue(workspace, "other")
    line = "  - {step: edited, name: a.jpg}\n  - {step: made, name: b.jpg, metadata: none}\n"
    plans = [planned(workspace, line, settings(files)) for files in (first, second)]
    plans.append(planned(workspace, line, Settings()))
    assert len({output_key(plan, plan.outputs[0]) for plan in plans}) == 3
    assert len({output_key(plan, plan.outputs[1]) for plan in plans}) == 1
    finished = run(plans[0], workspace / "out", settings=settings(first))
    secret = first[1].read_bytes()
    words = [secret, secret.splitlines()[1], str(first[1]).encode(), first[1].name.encode()]
    kept = [path.read_bytes() for path in (workspace / "out").rglob("*") if path.is_file()]
    kept += [encode_plan(plans[0]), caplog.text.encode(), repr(plans[0]).encode()]
    assert not any(word in data for data in kept for word in words)
    plain = (Path(finished.folder) / "b.jpg").read_bytes()
    with pytest.raises(c2pa.C2paError.ManifestNotFound):
        verdict(plain, "image/jpeg")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda said, other: said.model_copy(update={"key_file": None}),
         "is to be signed, and delivery.key_file is not set here"),
        (lambda said, other: said.model_copy(update={"key_file": Path("gone.key")}),
         "is to be signed, and delivery.key_file cannot be read (no such file or directory)"),
        (lambda said, other: said.model_copy(update={"certificate": other[0]}),
         "is to be signed with certificate"),
        (lambda said, other: said.model_copy(update={"key_file": other[1]}), "cannot be signed"),
        (lambda said, other: said.model_copy(update={"key_file": Path("a.png")}),
         "cannot be signed"),
    ],
)  # fmt: skip
def test_without_its_key_the_file_fails_and_not_the_step(workspace, authority, spoil, told):
    said = settings(authority.issue(workspace))
    plan = planned(workspace, "  - {step: edited, name: a.jpg}\n", said)
    wrong = Settings(delivery=spoil(said.delivery, authority.issue(workspace, "other")))
    finished = run(plan, workspace / "out", settings=wrong)
    (entry,) = finished.manifest.outputs
    assert entry.problem.startswith(f"a.jpg: {told}"), entry.problem
    assert "PRIVATE" not in entry.problem
    assert finished.manifest.counts["failed"] == 0
    assert not finished.manifest.whole
    mended = run(plan, workspace / "out", settings=said)
    assert mended.manifest.whole
    assert mended.manifest.counts["cached"] == 3
