"""Plans as files: what comes back, what is refused, what the file does not hold."""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from flows.plan.models import local_model
from flows.plan.planfile import PlanFileError, decode_plan, encode_plan
from flows.plan.step import ParentStep, Plan, SourceImage
from flows.run.execute import run_plan
from flows.run.outcome import Ending, State
from flows.sources.place import StoredSource
from flows.store.local import LocalStore
from flows.store.record import canonical_json
from kontext_engine.catalogue import MODELS_FOLDER, resolve_model
from kontext_engine.errors import ModelError
from tests.recipe.workspace import MODEL, plan_text
from tests.run.samples import WatchedEngine, decoded, product_plan, ten_products

RECIPE = """\
version: 1
name: schöne looks
variables: {unused: x}
inputs:
  product: samples/*.png
  style: other/shoe.png
matrix:
  scene: [beach, {name: snow, value: deep snow}]
  idle: [a, b]
defaults: {steps: 4, true_cfg: 2, negative_prompt: text}
steps:
  clean: {op: edit, image: [product, style], prompt: remove the shadow, fit: pad}
  scened: {op: edit, image: clean, prompt: "put it in {scene}", size: 96x64, true_cfg: 1.5}
  free: {op: generate, prompt: "a {scene}", seed: 9007199254740993}
outputs:
  - {step: scened, name: "{scene}/{product}.jpg", quality: 80}
  - {step: free, name: "free/{scene}"}
"""


def in_store(ref):
    """A reference as a plan from a file has it."""
    if isinstance(ref, ParentStep):
        return ref
    return replace(ref, path=StoredSource(ref.path.name, ref.digest))


def as_read(plan: Plan) -> Plan:
    """``plan`` as it is on a machine that read it from a file."""
    folder = f"{plan.recipe_path.parent}/"
    return replace(
        plan,
        recipe_path=Path(plan.recipe_path.name),
        steps={
            key: replace(step, contexts=tuple(map(in_store, step.contexts)))
            for key, step in plan.steps.items()
        },
        warnings=tuple(text.replace(folder, "") for text in plan.warnings),
    )


def forge(data: bytes, change) -> bytes:
    """The file with ``change`` made to what it holds, under a checksum that is right again."""
    whole = json.loads(gzip.decompress(data))
    change(whole["plan"])
    whole["checksum"] = hashlib.sha256(canonical_json(whole["plan"])).hexdigest()
    return canonical_json(whole)


def test_a_plan_comes_back_as_it_was(folder):
    plan = plan_text(RECIPE, folder)
    assert plan.warnings
    assert len(plan.variants) == 12
    back = decode_plan(encode_plan(plan))
    assert back == as_read(plan)
    assert list(back.steps) == list(plan.steps)
    assert list(back.labels.items()) == sorted(plan.labels.items())
    assert encode_plan(back) == encode_plan(plan)


def test_the_file_holds_no_path_of_the_machine_that_planned(folder):
    plan = plan_text(RECIPE, folder)
    text = gzip.decompress(encode_plan(plan)).decode()
    assert "shoe.png" in text
    assert str(folder) not in text
    assert str(folder) in str(plan.steps.values())


def test_a_model_that_has_a_name_goes_by_it(folder):
    shipped = resolve_model("kontext-mini")
    plan = plan_text(RECIPE.replace("[product, style]", "product"), folder, model=shipped)
    text = gzip.decompress(encode_plan(plan)).decode()
    assert str(MODELS_FOLDER) not in text
    back = decode_plan(encode_plan(plan)).model
    assert back == replace(shipped, source="kontext-mini")
    assert local_model(back) == shipped
    with pytest.raises(ModelError, match=r"other weights .* than the plan's .* 'kontext-mini'"):
        local_model(replace(back, digest="ab" * 32))
    with pytest.raises(ModelError, match="no model '/nowhere/m'"):
        local_model(replace(back, source="/nowhere/m", name="m"))
    assert decode_plan(encode_plan(plan_text(RECIPE, folder))).model.source == MODEL.source


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "is torn, or no JSON"),
        (b"\x1f\x8b\x08", "is torn, or no JSON"),
        (b'{"schema":"kontext.record"}', "is not a kontext.plan"),
        (b"[]", "is not a kontext.plan"),
        (b'{"schema":"kontext.plan","version":2}', "has version 2, expected 1; use the same"),
        (b'{"schema":"kontext.plan","version":1,"plan":{},"checksum":""}', "its own checksum"),
        (b'{"schema":"kontext.plan","version":1,"plan":[NaN],"checksum":""}', "its own checksum"),
    ],
)
def test_what_is_no_plan_is_refused(data, why):
    with pytest.raises(PlanFileError, match=why):
        decode_plan(data)


def test_a_torn_file_and_a_flipped_letter_are_refused(folder):
    data = encode_plan(plan_text(RECIPE, folder))
    for damaged in (data[: len(data) // 2], data[:-4], gzip.decompress(data)[:-1]):
        with pytest.raises(PlanFileError, match="torn"):
            decode_plan(damaged)
    flipped = gzip.decompress(data).replace(b"deep snow", b"deep snot")
    with pytest.raises(PlanFileError, match="its own checksum"):
        decode_plan(flipped)


def test_a_file_that_unzips_to_more_than_any_plan_is_refused(monkeypatch):
    monkeypatch.setattr("flows.plan.planfile.MAX_BYTES", 1 << 20)
    with pytest.raises(PlanFileError, match="torn"):
        decode_plan(gzip.compress(b" " * (1 << 21)))


GONE = object()


@pytest.mark.parametrize(
    ("place", "value", "why"),
    [
        (("steps", -1, "params", "prompt"), "!", "has key .* whose content gives"),
        (("steps", 0, "key"), "ab" * 32, "has key abababababab for 'clean"),
        (("sources", 0, "digest"), "ab" * 32, "has key"),
        (("model", "digest"), "cd" * 32, "has key"),
        (("steps", 0, "contexts"), [{"step": 9}], "which is not before it"),
        (("steps", 0, "contexts"), [{"leap": 9}], r"lacks a field .*steps\.0\.contexts"),
        (("outputs", 0), GONE, "a digest that is not of its keys and outputs"),
        (("steps", 0, "params"), GONE, r"lacks a field .*steps\.0\.params: Field required"),
        (("numerics", "tier"), 1, r"numerics\.tier"),
        (("model", "condition"), "sideways", r"model\.condition"),
        (("outputs", 0, "step"), 99, "has a wrong number"),
        (("outputs", 0, "step"), -1, r"outputs\.0\.step"),
    ],
)
def test_keys_that_do_not_name_what_the_file_asks_for_are_refused(folder, place, value, why):
    def spoil(body):
        for part in place[:-1]:
            body = body[part]
        if value is GONE:
            del body[place[-1]]
        else:
            body[place[-1]] = value

    data = forge(encode_plan(plan_text(RECIPE, folder)), spoil)
    with pytest.raises(PlanFileError, match=why):
        decode_plan(data)


def test_names_in_a_file_lead_nowhere(folder):
    def spoil(body):
        body["sources"][0]["file"] = "../../etc/passwd"
        body["file"] = "/etc/cron.d/r.yaml"

    back = decode_plan(forge(encode_plan(plan_text(RECIPE, folder)), spoil))
    assert back.recipe_path == Path("r.yaml")
    names = {
        ref.path.name
        for step in back.steps.values()
        for ref in step.contexts
        if isinstance(ref, SourceImage)
    }
    assert "passwd" in names


@pytest.fixture
def planned(tmp_path) -> tuple[Plan, LocalStore, list[Path]]:
    """A plan that was read from a file, its source pictures in the store, and their files."""
    paths = ten_products(tmp_path / "in")[:3]
    store = LocalStore(tmp_path / "out")
    for path in paths:
        data = path.read_bytes()
        store.objects.create(f"blobs/{hashlib.sha256(data).hexdigest()}", data)
    plan = product_plan(paths)
    return decode_plan(encode_plan(plan), store.objects), store, paths


def test_a_run_of_it_needs_no_file_and_makes_the_same_pictures(planned, tmp_path):
    plan, store, paths = planned
    before = LocalStore(tmp_path / "before")
    expected = run_plan(product_plan(paths), before, WatchedEngine().load)
    for path in paths:
        path.unlink()
    outcome = run_plan(plan, store, WatchedEngine().load)
    assert outcome.ending is Ending.COMPLETE
    for key, end in outcome.steps.items():
        assert decoded(store, end.record) == decoded(before, expected.steps[key].record)


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: path.write_bytes(b"x")])
def test_a_source_that_is_not_in_the_store_fails_its_own_steps(planned, spoil):
    plan, store, paths = planned
    digest = hashlib.sha256(paths[1].read_bytes()).hexdigest()
    spoil(store.root / "blobs" / digest)
    outcome = run_plan(plan, store, WatchedEngine().load)
    assert (outcome.counts[State.FAILED], outcome.counts[State.BLOCKED]) == (1, 1)
    assert outcome.counts[State.DONE] == 4
    reason = next(end.reason for end in outcome.steps.values() if end.state is State.FAILED)
    assert reason.startswith("p1.png (input 'product'): ")


def test_a_plan_that_was_given_no_store_says_where_its_pictures_are_not(planned):
    plan, store, _ = planned
    alone = decode_plan(encode_plan(plan))
    outcome = run_plan(alone, store, WatchedEngine().load)
    assert outcome.counts[State.FAILED] == 3
    reasons = {end.reason for end in outcome.steps.values() if end.state is State.FAILED}
    assert all("is not in the store any more; start the run again" in text for text in reasons)
