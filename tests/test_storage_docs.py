"""``docs/storage.md``: its settings are the code's, its policies are what roles really ask for.

The policies are not enforced by the test server, whose rights are coarser than AWS'. Instead every
request that boto3 sends is recorded, translated to the rights AWS asks for it, and looked up.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
import sys
import tomllib
import types
from pathlib import Path

import pytest
from PIL import Image

from flows.cli import main
from flows.configured import leaves
from flows.execution.stages import read_stage
from flows.execution.verdicts import give, verdict
from flows.settings import Settings
from flows.store import boto
from flows.store.address import open_cells, open_objects, open_store
from flows.store.base import FailureNote
from flows.store.claims import claim
from flows.store.leases import Judge, Lease, Verdict
from flows.store.outputs import OutputRecord, OutputStore
from flows.thumbs import keep_thumbnail
from kontext_engine.fake import FAKE_SPEC, FakeEngine
from tests.store.samples import digest, make_record

TEXT = (Path(__file__).parents[1] / "docs" / "storage.md").read_text("utf-8")
POLICIES = {
    role: json.loads(text) for role, text in re.findall(r"```json (\w+)\n(.*?)```", TEXT, re.DOTALL)
}
RIGHTS = {
    "HeadObject": ("s3:GetObject",),
    "GetObject": ("s3:GetObject",),
    "PutObject": ("s3:PutObject",),
    "CreateMultipartUpload": ("s3:PutObject",),
    "UploadPart": ("s3:PutObject",),
    "CompleteMultipartUpload": ("s3:PutObject",),
    "AbortMultipartUpload": ("s3:AbortMultipartUpload",),
    "CopyObject": ("s3:GetObject", "s3:PutObject"),
    "DeleteObject": ("s3:DeleteObject",),
    "ListObjectsV2": ("s3:ListBucket",),
    "ListMultipartUploads": ("s3:ListBucketMultipartUploads",),
}


def allows(policy: dict, action: str, resource: str) -> bool:
    def listed(value):
        return [value] if isinstance(value, str) else value

    return any(
        action in listed(part["Action"])
        and any(fnmatch.fnmatchcase(resource, pattern) for pattern in listed(part["Resource"]))
        for part in policy["Statement"]
    )


@pytest.fixture
def asked(monkeypatch, s3_place):
    """The (right, resource) pairs asked for, spelled as for the store of the page."""
    found: set[tuple[str, str]] = set()
    made = boto._make

    def note(params, model, **_):
        key = params.get("Key")
        resource = "arn:aws:s3:::pictures"
        if key is not None:
            assert key.startswith(f"{s3_place.prefix}/")
            resource += "/shots" + key.removeprefix(s3_place.prefix)
        found.update((right, resource) for right in RIGHTS[model.name])
        if "IfMatch" in params:  # it tells what is there
            found.add(("s3:GetObject", resource))

    def make(settings):
        client = made(settings)
        client.meta.events.register("provide-client-params.s3", note)
        return client

    boto.forget_clients()
    monkeypatch.setattr(boto, "_make", make)
    yield found
    boto.forget_clients()


def refused(role: str, asked: set[tuple[str, str]]) -> list[tuple[str, str]]:
    assert asked
    return sorted(pair for pair in asked if not allows(POLICIES[role], *pair))


def kontext(*arguments: str) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(list(arguments))
    assert exit_.value.code == 0


@pytest.fixture
def recipe(monkeypatch, tmp_path):
    class Engine:
        @staticmethod
        def load(spec, options):
            return FakeEngine(spec, options)

    module = types.ModuleType("kontext_engine.engine")
    module.KontextEngine = Engine
    monkeypatch.setitem(sys.modules, "kontext_engine.engine", module)
    monkeypatch.setattr("flows.recipe.plan.resolve_model", lambda name: FAKE_SPEC)
    monkeypatch.chdir(tmp_path)
    Path("r.yaml").write_text(
        "version: 1\nsteps:\n  a: {op: generate, prompt: hi}\n"
        "  b: {op: edit, image: a, prompt: ho}\n"
    )
    return "r.yaml"


def test_every_role_has_a_policy():
    assert set(POLICIES) == {"runner", "worker", "puller", "collector"}
    for policy in POLICIES.values():
        assert not any(part["Resource"] == "*" for part in policy["Statement"])
        assert "s3:*" not in json.dumps(policy)


def test_runner_puller_and_collector_ask_for_no_more_than_the_page_gives(
    asked, recipe, s3_place, tmp_path
):
    kontext("run", recipe, "--store", s3_place.url)
    kontext("run", recipe, "--store", s3_place.url)  # finds all of it done
    harm(s3_place)
    kontext("run", recipe, "--store", s3_place.url)  # quarantine, made again
    places = {resource.split("/")[2] for right, resource in asked if right == "s3:PutObject"}
    assert places >= {"blobs", "records", "quarantine", "runs", "claims", "tmp"}
    assert refused("runner", asked) == []
    asked.clear()
    kontext("runs", "--store", s3_place.url)
    kontext("pull", "r", str(tmp_path / "here"), "--store", s3_place.url)
    assert refused("puller", asked) == []
    asked.clear()
    kontext("gc", "--store", s3_place.url, "--delete")
    kontext("gc", "--store", s3_place.url, "--pin", "r")
    kontext("gc", "--store", s3_place.url, "--unpin", "r")
    assert refused("collector", asked) == []


def harm(place) -> None:
    """Damage the newest blob behind the store's back."""
    objects = open_objects(place.url, Settings(s3=place.settings()))
    name = next(iter(objects.list("blobs/"))).name
    objects.replace(name, b"damaged")


def hold(cells) -> None:
    """A lease's life: probed for, taken, renewed, asked for, freed; another one's is broken."""
    cells.prepare()
    lease = Lease(cells, "chunks/run/0-0-1", "w", renew=0.05)
    assert lease.take(lambda: False) is None
    version = cells.read(f"leases/{lease.name}").version
    while cells.read(f"leases/{lease.name}").version == version:
        pass
    assert lease.sure(pytest.fail)
    lease.free()
    other = Lease(cells, "parents/run", "w", renew=60.0)
    assert other.take(lambda: False) is None
    judge = Judge(cells, quiet=0.0, overdue=0.0)
    told = [judge.lease(other.name, cells.list("leases/"), 1, 0.0) for _ in range(2)]
    assert told == [Verdict.HELD, Verdict.BROKEN]
    other.free()


def finish(store) -> None:
    """An output file and a thumbnail; the file's record proves wrong, and is made again."""
    record = make_record(digest("with a file"), b"its picture")
    store.put(record, b"its picture")
    outputs = OutputStore(store)
    for data in (b"file", b"another file"):
        blob = hashlib.sha256(data).hexdigest()
        made = OutputRecord(digest("o"), record.key, record.blob, blob, len(data), "image/png")
        outputs.put(made, data)
        assert outputs.find(made.key, record.blob) == made
        outputs.discard(made)
    keep_thumbnail(store.objects, record.blob, Image.new("RGB", (3, 2)))


def written(asked: set[tuple[str, str]]) -> set[str]:
    return {resource.split("/")[2] for right, resource in asked if right == "s3:PutObject"}


def test_a_parents_worker_asks_for_no_more_than_the_page_gives_a_runner(asked, s3_place):
    settings = Settings(s3=s3_place.settings())
    store = open_store(s3_place.url, settings)
    hold(open_cells(s3_place.url, settings))
    finish(store)
    objects = store.objects
    order, stage = f"orders/{digest('o')}", "stages/run/0-0.json"
    for _ in range(2):
        if not objects.create(order, b"{}"):
            objects.touch(order)
    objects.create(stage, b"{}")
    assert give(objects, "parents/run", 0, b"{}")
    assert verdict(objects, "parents/run", 0) == b"{}"
    assert objects.copy(f"blobs/{hashlib.sha256(b'file').hexdigest()}", "runs/r/a.png")
    with claim(objects, run="r", plan=digest("p"), keys=[]):
        pass
    assert written(asked) >= {"leases", "outputs", "thumbs", "orders", "stages", "verdicts", "runs"}
    assert refused("runner", asked) == []
    named = set(re.findall(r"`([a-z]+)/", TEXT.partition("## Settings")[0]))
    assert written(asked) <= named


def test_a_worker_asks_for_no_more_than_the_page_gives(asked, s3_place):
    settings = Settings(s3=s3_place.settings(part_size=5 * 2**20))
    store = open_store(s3_place.url, settings)
    store.prepare()
    blob = b"a picture"
    record = make_record(digest("key"), blob)
    store.put(record, blob)
    store.put(record, blob)
    store.put(make_record(digest("another key"), blob), blob)  # adopts the blob that is there
    assert any(resource.endswith("/gc.lock") for _, resource in asked)
    assert store.find(record.key) is not None
    store.note_failure(FailureNote(record.key, "s", "why", 1, "now", "software"))
    store.last_failure(record.key)
    harm(s3_place)
    assert store.find(record.key) is None
    assert any("/quarantine/" in resource for _, resource in asked)
    hold(open_cells(s3_place.url, settings))
    finish(store)
    assert read_stage(store.objects, "run", "0-0") is None
    assert give(store.objects, "chunks/run/0-0-1", 0, b"{}")
    assert verdict(store.objects, "chunks/run/0-0-1", 0) == b"{}"
    assert written(asked) >= {"leases", "outputs", "thumbs", "verdicts"}
    assert refused("worker", asked) == []


def test_the_puller_may_not_write_and_only_the_collector_removes_runs():
    run = "arn:aws:s3:::pictures/shots/runs/r/manifest.json"
    blob = "arn:aws:s3:::pictures/shots/blobs/ab"
    assert not any("Put" in str(part) for part in POLICIES["puller"]["Statement"])
    assert [role for role in POLICIES if allows(POLICIES[role], "s3:DeleteObject", run)] == [
        "collector"
    ]
    assert not allows(POLICIES["puller"], "s3:GetObject", blob)
    assert not allows(POLICIES["worker"], "s3:PutObject", run)
    outside = "arn:aws:s3:::pictures/other/x"
    assert not any(allows(POLICIES[role], "s3:GetObject", outside) for role in POLICIES)


def test_the_settings_on_the_page_are_all_there_are_and_they_are_right():
    shown = tomllib.loads(re.search(r"```toml\n(.*?)```", TEXT, re.DOTALL)[1])
    names = {(a, b) for a, part in shown.items() if isinstance(part, dict) for b in part}
    names |= {(a,) for a, part in shown.items() if not isinstance(part, dict)}
    assert names == {found for found, _ in leaves()}
    Settings.model_validate(shown)
