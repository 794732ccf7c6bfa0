"""``docs/storage.md``: its layout and settings are the code's, its policies are what roles need.

A real server goes by the very policies of the page: each role does what it is for, and is refused
what it is not. What each asks for is noted besides, translated to the rights that AWS wants for it
(which are more in places), and looked up: nothing is missing, and nothing is given for nothing.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import sys
import threading
import time
import types
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from PIL import Image

from flows.cli import main
from flows.decisions.decided import read_decided
from flows.decisions.ledger import add
from flows.plan.plan import make_plan
from flows.pull.listing import PINS
from flows.recipe.recipe import load_recipe
from flows.run import sources, stages
from flows.run.cutting import cut
from flows.run.ends import ChunkEnds, gather
from flows.run.execute import run_plan
from flows.run.look import look
from flows.run.manifest import read_manifest
from flows.run.pipeline import publish, run_folder
from flows.run.provenance import sources_of
from flows.run.sources import put_sources
from flows.run.stages import StageSheet, read_stage, write_stage
from flows.run.verdicts import VERDICTS, give, verdict, words_of
from flows.scheduling.names import chunks_of, parent_name
from flows.scheduling.parcel import ORDERS, put_parcel, unpacked
from flows.settings.load import load_settings
from flows.store import boto, s3_cells, s3_guard, s3_write
from flows.store import s3 as s3_module
from flows.store.address import open_cells, open_objects, open_store
from flows.store.base import FailureNote, StoreReadOnly
from flows.store.claims import FOLDER as CLAIMS
from flows.store.claims import claim
from flows.store.leases import LEASES, Judge, Lease, Verdict
from flows.store.lock import CLOCKS, LOCK
from flows.store.outputs import FOLDER as OUTPUTS
from flows.store.outputs import OutputRecord, OutputStore
from flows.store.runfolder import RUNS, THUMBS, RunFolder
from kontext_engine.fake import FAKE_SPEC, FakeEngine
from kontext_engine.numerics import choose_numerics
from kontext_engine.spec import NumericsProfile
from tests.servers.fixtures import set_environment
from tests.servers.seaweed import ADMIN, Identity, Seaweed, admin_client
from tests.store.samples import digest, make_record

TEXT = (Path(__file__).parents[1] / "docs" / "storage.md").read_text("utf-8")
POLICIES = {
    role: json.loads(text) for role, text in re.findall(r"```json (\w+)\n(.*?)```", TEXT, re.DOTALL)
}
BUCKET, PREFIX = "pictures", "shots"  # as on the page
STORE = f"s3://{BUCKET}/{PREFIX}"
RUN = "00000000-0000-0000-0000-00000000000a"  # a flow run
PART = 5 * 2**20
RIGHTS = {
    "HeadObject": ("s3:GetObject",),
    "GetObject": ("s3:GetObject",),
    "PutObject": ("s3:PutObject",),
    "CreateMultipartUpload": ("s3:PutObject",),
    "UploadPart": ("s3:PutObject",),
    "CompleteMultipartUpload": ("s3:PutObject",),
    "AbortMultipartUpload": ("s3:AbortMultipartUpload",),
    "CopyObject": ("s3:PutObject",),
    "DeleteObject": ("s3:DeleteObject",),
    "ListObjectsV2": ("s3:ListBucket",),
    "ListMultipartUploads": ("s3:ListBucketMultipartUploads",),
}


def listed(value):
    return [value] if isinstance(value, str) else value


def grants(policy: dict) -> Iterator[tuple[str, str]]:
    for part in policy["Statement"]:
        for action in listed(part["Action"]):
            for pattern in listed(part["Resource"]):
                yield action, pattern


def allows(policy: dict, right: str, resource: str) -> bool:
    return any(
        action == right and fnmatch.fnmatchcase(resource, pattern)
        for action, pattern in grants(policy)
    )


class Guarded:
    """A server that goes by the page's policies, and this process as one of the roles."""

    def __init__(self, server: Seaweed, monkeypatch, become) -> None:
        self.asked: dict[str, set[tuple[str, str]]] = defaultdict(set)
        self.server = server
        self.admin = admin_client(server)
        self._monkeypatch = monkeypatch
        self._become = become
        self._role = ADMIN.name
        made = boto._make

        def make(settings, profile):
            (client, session), asked = made(settings, profile), self.asked[self._role]
            client.meta.events.register(
                "provide-client-params.s3", lambda params, model, **_: note(asked, params, model)
            )
            return client, session

        monkeypatch.setattr(boto, "_make", make)
        for module, name, operation in (
            (s3_write, "put_object", "PutObject"),
            (s3_module, "get_object", "GetObject"),
        ):
            plain = getattr(module, name)

            def noted(settings, params, plain=plain, operation=operation):
                model = types.SimpleNamespace(name=operation)
                note(self.asked[self._role], params, model)
                return plain(settings, params)

            monkeypatch.setattr(module, name, noted)
        # This server keeps a third rival waiting for a second; what they find is tried elsewhere.
        monkeypatch.setattr(s3_guard, "race", lambda run: s3_cells.race(run, s3_cells.RIVALS))

    def act_as(self, role: str) -> None:
        """As another process of this role, which remembers nothing."""
        self._role = role
        self._become(IDENTITIES[role])
        for module, name, empty in (
            (s3_guard, "_puts", {}),
            (s3_guard, "_parts", {}),
            (stages, "_kept", {}),
        ):
            self._monkeypatch.setattr(module, name, empty)

    def check(self, role: str) -> None:
        """What it has asked for is given, and what is given it has asked for."""
        policy, asked = POLICIES[role], self.asked[role]
        assert sorted(pair for pair in asked if not allows(policy, *pair)) == []
        # An upload in parts is given up where it fails; to list also means to be told 404.
        rare = {"s3:AbortMultipartUpload", "s3:ListBucket"}
        idle = [
            (action, pattern)
            for action, pattern in grants(policy)
            if action not in rare
            and not any(
                right == action and fnmatch.fnmatchcase(resource, pattern)
                for right, resource in asked
            )
        ]
        assert idle == []

    def names(self, prefix: str = "") -> list[str]:
        found = self.admin.list_objects_v2(Bucket=BUCKET, Prefix=f"{PREFIX}/{prefix}")
        return [one["Key"].removeprefix(f"{PREFIX}/") for one in found.get("Contents", ())]

    def write(self, name: str, data: bytes) -> None:
        """Behind everybody's back."""
        self.admin.put_object(Bucket=BUCKET, Key=f"{PREFIX}/{name}", Body=data)


def note(asked: set[tuple[str, str]], params: dict, model) -> None:
    resource = f"arn:aws:s3:::{BUCKET}"
    key = params.get("Key")
    if key is not None:
        resource += f"/{key}"
    asked.update((right, resource) for right in RIGHTS[model.name])
    # S3 wants to see that whoever compares may read; so do the servers that copy.
    if model.name in {"PutObject", "DeleteObject"} and "IfMatch" in params:
        asked.add(("s3:GetObject", resource))
    if model.name == "CopyObject":
        source = params["CopySource"]
        asked.add(("s3:GetObject", f"arn:aws:s3:::{source['Bucket']}/{source['Key']}"))


IDENTITIES = {
    role: Identity(role, f"AKIATEST{role.upper():0<12}"[:20], f"{role}-secret", (), json.dumps(p))
    for role, p in POLICIES.items()
}


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Seaweed]:
    folder = tmp_path_factory.mktemp("guarded")
    with Seaweed(folder, (ADMIN, *IDENTITIES.values())) as made:
        made.make_bucket(BUCKET)
        yield made


@pytest.fixture
def guarded(server, monkeypatch, become) -> Guarded:
    set_environment(monkeypatch, server.endpoint)
    monkeypatch.setenv("KONTEXT_S3__PART_SIZE", str(PART))
    monkeypatch.setenv("KONTEXT_STORE", STORE)
    found = Guarded(server, monkeypatch, become)
    for name in found.names():
        found.admin.delete_object(Bucket=BUCKET, Key=f"{PREFIX}/{name}")
    return found


def kontext(*arguments: str, ends: int = 0) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(list(arguments))
    assert exit_.value.code == ends


@pytest.fixture
def recipe(monkeypatch, tmp_path) -> str:
    class Engine:
        @staticmethod
        def load(spec, options):
            return FakeEngine(spec, options)

    module = types.ModuleType("kontext_engine.engine")
    module.KontextEngine = Engine
    monkeypatch.setitem(sys.modules, "kontext_engine.engine", module)
    monkeypatch.setattr("flows.plan.plan.resolve_model", lambda name: FAKE_SPEC)
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 64), "red").save("shoe.png")
    Path("r.yaml").write_text(
        "version: 1\ninputs: {shoe: shoe.png}\nsteps:\n"
        "  a: {op: edit, image: shoe, prompt: hi}\n"
        "  b: {op: edit, image: a, prompt: ho, takes: 2}\n"
        "outputs:\n  - {step: b, name: 'b{take}', format: jpeg}\n  - {sheet: b}\n"
    )
    return "r.yaml"


def make_and_mend(guarded: Guarded) -> None:
    """Whatever whoever makes pictures may come to do, beside a run where all goes well."""
    store = open_store(STORE)
    store.keep(os.urandom(PART + 1))
    blob, other = b"a picture", b"another picture"
    record = make_record(digest("key"), blob)
    store.put(record, blob)
    store.put(make_record(digest("another key"), blob), blob)  # adopts the blob that is there
    store.note_failure(FailureNote(record.key, "s", "why", 1, "now", "software"))
    files = OutputStore(store)
    for picture in (blob, other):  # the second takes the place of one of another picture
        name, place = digest(picture.decode()), digest("output")
        entry = OutputRecord(place, record.key, name, record.blob, len(blob), "image/png")
        files.put(entry, blob)
        assert files.find(place, name) == entry
    guarded.write(f"blobs/{record.blob}", b"a fracture")
    assert store.find(record.key) is None
    assert {name.partition("-")[0] for name in guarded.names("quarantine/")} == {
        "quarantine/blob",
        "quarantine/record",
    }


def test_every_role_has_a_policy_that_names_its_prefix():
    assert set(POLICIES) == {
        "runner", "author", "reviewer", "worker", "parent", "puller", "collector",
    }  # fmt: skip
    for policy in POLICIES.values():
        assert all(part["Effect"] == "Allow" for part in policy["Statement"])
        for action, pattern in grants(policy):
            assert action in {right for rights in RIGHTS.values() for right in rights}
            assert pattern == f"arn:aws:s3:::{BUCKET}" or pattern.startswith(
                f"arn:aws:s3:::{BUCKET}/{PREFIX}/"
            )


def test_a_runner_makes_and_publishes_with_its_policy(guarded, recipe):
    guarded.act_as("runner")
    kontext("run", recipe)
    kontext("run", recipe)  # finds all of it done
    for name in guarded.names("thumbs/"):
        guarded.admin.delete_object(Bucket=BUCKET, Key=f"{PREFIX}/{name}")
    for name in guarded.names("blobs/"):
        guarded.write(name, b"damaged")
    kontext("run", recipe)  # set aside, made again
    failing = ("defaults.seed=7",)
    for key in make_plan(load_recipe(Path(recipe), failing), numerics=choose_numerics()).steps:
        open_store(STORE).note_failure(FailureNote(key, "s", "why", 1, "now", "software"))
    kontext("plan", recipe, "--set", *failing)  # tells why its steps failed the last time
    make_and_mend(guarded)
    kontext("run", recipe, "--reroll", "a")
    guarded.check("runner")


def test_a_run_of_several_workers_is_made_by_roles_with_their_policies(
    guarded, recipe, monkeypatch, tmp_path
):
    guarded.act_as("author")
    order = put_as_author(recipe)
    guarded.act_as("parent")
    begin_as_parent(order, monkeypatch)
    guarded.act_as("worker")
    make_as_worker(guarded)
    guarded.act_as("parent")
    run = end_as_parent()
    guarded.act_as("author")
    objects = open_objects(STORE)
    words = words_of(verdict(objects, parent_name(RUN), 0), "the run")
    assert read_manifest(RunFolder(objects, words["run"])).whole
    guarded.act_as("reviewer")
    kontext("decide", recipe, "approve", "b", "--store", STORE)
    kontext("decide", recipe, "comment", "b", "as it should be", "--store", STORE)
    guarded.act_as("author")
    decide("seed")
    guarded.act_as("parent")
    decide("pick", judge="sharpness 1")

    guarded.act_as("worker")
    make_and_mend(guarded)
    guarded.write(f"{CLAIMS}{run}-0123456789ab.json", b"{}")
    guarded.act_as("puller")
    kontext("runs", "--store", STORE)
    kontext("pull", "r", str(tmp_path / "here"), "--store", STORE)
    assert (tmp_path / "here" / "manifest.json").is_file()
    kontext("pull", "r", str(tmp_path / "approved"), "--store", STORE, "--approved")
    assert [path.suffix for path in (tmp_path / "approved").glob("b*")] == [".jpg"]
    guarded.act_as("collector")
    kontext("gc", "--store", STORE, "--pin", "r")
    kontext("gc", "--store", STORE, "--unpin", "r")
    kontext("gc", "--store", STORE, "--delete")
    guarded.write("blobs/" + digest("x"), b"damaged")
    kontext("gc", "--store", STORE, "--verify", ends=1)
    open_objects(STORE).prepare()
    for role in ("author", "reviewer", "parent", "worker", "puller"):
        guarded.check(role)
    assert [p for p in guarded.asked["collector"] if not allows(POLICIES["collector"], *p)] == []


def decide(kind: str, **more: object) -> None:
    """One more decision, upon what is known."""
    store = open_store(STORE)
    decided = read_decided(store, load_settings(), "r", "r.yaml")
    slot = decided.slot("c", {})
    add(store.objects, decided.make(kind, slot, "somebody", "", **more))
    assert read_decided(store, load_settings(), "r", "r.yaml").ledger != decided.ledger


def put_as_author(recipe: str) -> str:
    store = open_store(STORE)
    store.prepare()
    store.keep(os.urandom(PART + 1))
    found = load_recipe(Path(recipe))
    put_parcel(found, load_settings(), store)
    return put_parcel(found, load_settings(), store)  # the same: it is made young again


def begin_as_parent(order: str, monkeypatch) -> None:
    """Take the lease, plan, put sources, cut: up to a stage that workers go by."""
    store, cells = open_store(STORE), open_cells(STORE)
    cells.prepare()
    with unpacked(order, store.objects, load_settings()) as found:
        plan = make_plan(
            load_recipe(found.path),
            model=FAKE_SPEC,
            numerics=NumericsProfile(),
            settings=found.settings,
        )
        leases = [Lease(cells, parent_name(RUN), "p"), Lease(cells, "folders/r", "p", renew=0.05)]
        for lease in leases:
            assert is_taken(lease)
        folder = run_folder(plan, store.objects).name
        pictures = tuple(ref.digest for ref in sources_of(plan))
        keys = (*plan.steps, *pictures)
        with claim(store.objects, run=folder, plan=plan.digest, keys=keys, every=0.05):
            monkeypatch.setattr(sources, "TOUCH_AFTER", 0.0)
            put_sources(plan, store)
            put_sources(plan, store)
            store.keep(os.urandom(PART + 1))
            seen = look(plan, store)
            chunks = cut(plan, seen, tuple(store.sample(8)), 1, "0-0")
            assert len(seen.missing) == 3
            sheet = StageSheet(
                folder=folder,
                recipe="",
                engines=1,
                cached=(),
                sources=pictures,
                began=time.time(),
                chunks=chunks,
            )
            write_stage(store.objects, RUN, "0-0", plan, sheet)
            time.sleep(0.3)  # claim and lease are renewed
        for lease in leases:
            assert lease.sure(time.sleep)
            lease.free()


def is_taken(lease: Lease) -> bool:
    """Whoever has no right to it would wait for ever."""
    end = time.monotonic() + 20
    return lease.take(lambda: time.monotonic() > end) is None


def make_as_worker(guarded: Guarded) -> None:
    """Every chunk under its lease, to its verdict; the lease of one that nobody has is left."""
    store, cells = open_store(STORE), open_cells(STORE)
    cells.prepare()
    stage = read_stage(store.objects, RUN, "0-0")
    assert stage is not None
    for sheet in stage.sheet.chunks:
        name = f"{chunks_of(RUN)}{sheet.name}"
        lease = Lease(cells, name, "w", renew=0.05)
        assert is_taken(lease)
        assert verdict(store.objects, name, 0) is None
        seen = look(stage.plan, store, sheet.keys, sheet.outputs)
        outcome = run_plan(stage.plan, store, lambda: FakeEngine(FAKE_SPEC), seen=seen)
        assert outcome.why == ""
        assert lease.sure(time.sleep)
        ends = ChunkEnds.of(outcome, sheet.keys)
        assert give(store.objects, name, 0, ends.to_json())
        lease.free()
    assert guarded.names(LEASES) == []

    def die() -> None:
        assert is_taken(Lease(cells, f"{chunks_of(RUN)}0-0-9", "w"))

    thread = threading.Thread(target=die)  # a lease is renewed while its thread lives
    thread.start()
    thread.join()
    assert len(guarded.names(LEASES)) == 1


def end_as_parent() -> str:
    """Judge who is dead, gather, publish, give the verdict; the run's name."""
    store, cells = open_store(STORE), open_cells(STORE)
    cells.prepare()
    stage = read_stage(store.objects, RUN, "0-0")
    assert stage is not None
    judge, name = Judge(cells, quiet=0.0, overdue=0.0), f"{chunks_of(RUN)}0-0-9"
    said = [judge.lease(name, cells.list(LEASES), "Running", 0.0) for _ in range(2)]
    assert said == [Verdict.HELD, Verdict.BROKEN]
    ends = []
    for sheet in stage.sheet.chunks:
        words = verdict(store.objects, f"{chunks_of(RUN)}{sheet.name}", 0)
        ends.append(ChunkEnds.from_json(words))
        assert all(there for _, there in store.has_all(sheet.keys))
    given_up = ends[0].model_copy(update={"steps": {}, "why": "given up"})
    assert give(store.objects, name, 0, given_up.to_json())
    plan, folder = stage.plan, stage.sheet.folder
    with claim(store.objects, run=folder, plan=plan.digest, keys=(*plan.steps,)):
        records = dict(store.peek_all(plan.steps))
        *_, last = plan.steps
        partly = gather(plan, ends, (), records | {last: None}, None, "", 1.0)
        published = publish(plan, partly, store, RunFolder(store.objects, folder))
        *_, sheet = published.manifest.outputs
        assert (sheet.problem, sheet.missing) == ("", 1)
        outcome = gather(plan, ends, (), records, None, "", 1.0)
        for _ in range(2):  # as one that died before its verdict, and another
            finished = publish(plan, outcome, store, RunFolder(store.objects, folder))
    assert finished.manifest.whole
    words = json.dumps({"ending": "complete", "run": folder}).encode()
    assert give(store.objects, parent_name(RUN), 0, words)
    return folder


# What each role may do with what, said again by hand: (read, write, remove).
NAMES = {
    "blobs": "blobs/x",
    "records": "records/x",
    "failures": "failures/x",
    "outputs": f"{OUTPUTS}x",
    "thumbs": f"{THUMBS}/x.webp",
    "quarantine": "quarantine/x",
    "hands": "decisions/hands/x/y/000001.json",
    "said": "decisions/said/x/y/000001.json",
    "judges": "decisions/judges/x/y/000001.json",
    "orders": f"{ORDERS}x",
    "stages": f"{stages.STAGES}x/0-0.json",
    "ends of runs": f"{VERDICTS}parents/x.0",
    "ends of chunks": f"{VERDICTS}chunks/x/0-0-1.0",
    "runs' leases": f"{LEASES}parents/x",
    "chunks' leases": f"{LEASES}chunks/x/0-0-1",
    "folders' leases": f"{LEASES}folders/x",
    "runs": f"{RUNS}/x/manifest.json",
    "claims": f"{CLAIMS}x.json",
    "pins": f"{PINS}x",
    "lock": LOCK,
    "clocks": f"{CLOCKS}x",
    "tmp": "tmp/x",
}
MADE = {"blobs", "records", "failures", "outputs", "thumbs", "quarantine", "tmp"}
DECIDED = {"hands", "said", "judges"}
LEASED = {"runs' leases", "chunks' leases", "folders' leases"}
ENDS = {"ends of runs", "ends of chunks"}
MAY = {
    "runner": (
        MADE - {"quarantine"} | {"runs", "claims", "lock"} | DECIDED,
        MADE | {"runs", "claims"} | DECIDED,
        {"blobs", "records", "outputs", "claims", "tmp"},
    ),
    "author": (
        {"orders", "blobs", "ends of runs", "runs", "tmp"} | DECIDED,
        {"orders", "blobs", "tmp", "hands"},
        {"tmp"},
    ),
    "reviewer": ({"records", "tmp"} | DECIDED, {"hands", "said", "tmp"}, {"tmp"}),
    "worker": (
        MADE - {"quarantine", "failures"}
        | {"stages", "ends of chunks", "chunks' leases", "lock"},
        MADE | {"ends of chunks", "chunks' leases"},
        {"blobs", "records", "outputs", "chunks' leases", "tmp"},
    ),
    "parent": (
        {"orders", "blobs", "records", "outputs", "thumbs", "stages", "runs", "claims", "lock"}
        | {"tmp"} | LEASED | ENDS | DECIDED,
        {"blobs", "outputs", "stages", "runs", "claims", "tmp", "judges"} | LEASED | ENDS,
        {"outputs", "claims", "tmp"} | LEASED,
    ),
    "puller": ({"runs", "claims"} | DECIDED, set(), set()),
    "collector": (set(NAMES), {"pins", "lock", "clocks", "quarantine", "tmp"}, set(NAMES)),
}  # fmt: skip


@pytest.mark.parametrize("role", MAY)
def test_the_server_lets_a_role_do_this_and_refuses_everything_else(guarded, role):
    client = admin_client(guarded.server, IDENTITIES[role])
    for name in NAMES.values():
        guarded.write(name, b"there")
    guarded.admin.put_object(Bucket=BUCKET, Key="other/x", Body=b"there")

    def may(act, key: str) -> bool:
        try:
            act(Bucket=BUCKET, Key=key)
        except ClientError as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 403
            return False
        return True

    acts = (client.get_object, client.put_object, client.delete_object)
    for act, expected in zip(acts, MAY[role], strict=True):
        found = {what for what, name in NAMES.items() if may(act, f"{PREFIX}/{name}")}
        assert found == expected
        assert not may(act, "other/x")


def test_who_does_the_work_of_another_is_told_so(guarded, recipe):
    """Through the code itself: the role's own store, not a client by hand."""
    guarded.act_as("worker")
    objects = open_objects(STORE)
    with pytest.raises(StoreReadOnly, match=r"runs/r/manifest\.json: .* may not do that \(Access"):
        RunFolder(objects, "r").write("manifest.json", b"{}")
    with pytest.raises(StoreReadOnly, match="verdicts/parents/"):
        give(objects, parent_name(RUN), 0, b"{}")
    guarded.act_as("parent")
    store = open_store(STORE)
    with pytest.raises(StoreReadOnly, match="records/"):
        store.put(make_record(digest("key"), b"a picture"), b"a picture")
    guarded.act_as("author")
    plan = make_plan(load_recipe(Path(recipe)), model=FAKE_SPEC, numerics=NumericsProfile())
    sheet = StageSheet(
        folder="r", recipe="", engines=1, cached=(), sources=(), began=0.0, chunks=()
    )
    with pytest.raises(StoreReadOnly, match="stages/"):
        write_stage(open_objects(STORE), RUN, "0-0", plan, sheet)
    guarded.act_as("runner")
    with pytest.raises(StoreReadOnly, match=r"runs/x/manifest\.json: removing"):
        guarded.write("runs/x/manifest.json", b"{}")
        open_objects(STORE).remove("runs/x/manifest.json")


def test_the_layout_names_every_folder_that_there_is():
    table = TEXT[TEXT.index("## Layout") : TEXT.index("## Settings")]
    for name in NAMES.values():
        assert f"`{name.partition('/')[0]}" in table
