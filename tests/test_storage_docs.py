"""``docs/storage.md``: its settings are the code's, its policies are what roles really ask for.

The policies are not enforced by the test server, whose rights are coarser than AWS'. Instead every
request that boto3 sends is recorded, translated to the rights AWS asks for it, and looked up.
"""

from __future__ import annotations

import fnmatch
import json
import re
import sys
import threading
import tomllib
import types
from pathlib import Path

import pytest
from flows.coordination.ledger import Ledger, Order
from flows.coordination.seat import NAME, Seat
from PIL import Image

from flows.cli import main
from flows.configured import leaves
from flows.settings import Settings
from flows.store import boto
from flows.store.address import open_objects, open_store
from flows.store.base import FailureNote
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
    kontext("run", recipe, "--store", s3_place.url, "--no-prefect")
    kontext("run", recipe, "--store", s3_place.url, "--no-prefect")  # finds all of it done
    harm(s3_place)
    kontext("run", recipe, "--store", s3_place.url, "--no-prefect")  # quarantine, made again
    places = {resource.split("/")[2] for right, resource in asked if right == "s3:PutObject"}
    assert places >= {
        "blobs",
        "records",
        "outputs",
        "thumbs",
        "quarantine",
        "runs",
        "claims",
        "tmp",
    }
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


def test_a_coordinator_asks_for_no_more_than_the_page_gives_a_runner(asked, s3_place, monkeypatch):
    objects = open_objects(s3_place.url, Settings(s3=s3_place.settings()))
    renewed, write_again = threading.Event(), Seat._write_again

    def watched(seat):
        done = write_again(seat)
        renewed.set()
        return done

    monkeypatch.setattr(Seat, "_write_again", watched)
    with Seat(objects, "coordinator", lease=1.0) as seat:
        assert seat.take(threading.Event().wait)
        assert renewed.wait(60)
    assert list(objects.list("")) == []
    monkeypatch.setattr("flows.coordination.ledger.encode_plan", lambda plan: b"a plan")
    ledger = Ledger(objects)
    order = Order(run="r", recipe="r", plan=digest("p"), created="now")
    assert ledger.open(order, None)
    ledger.close("r")
    written = {resource for right, resource in asked if right == "s3:PutObject"}
    removed = {resource for right, resource in asked if right == "s3:DeleteObject"}
    seat_object = f"arn:aws:s3:::pictures/shots/{NAME}"
    assert seat_object in written & removed
    assert refused("runner", asked) == []
    assert f"| `{NAME}` |" in TEXT


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
    for picture in ("a picture", "another picture"):  # the second file takes the first one's place
        output = OutputRecord(
            digest("file"), digest("key"), digest(picture), digest("x"), 1, "image/png"
        )
        OutputStore(store).put(output, b"x")
    keep_thumbnail(store.objects, digest("a picture"), Image.new("RGB", (8, 8)))
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
