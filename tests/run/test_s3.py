"""Runs into a real S3 server: the same pictures, a page that works, and nothing sent twice."""

from __future__ import annotations

import hashlib
import io
import json
import re
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from PIL import Image

from flows.run.manifest import FILE_NAME, Manifest
from flows.run.outcome import Ending, State
from flows.run.outputs import keyed_outputs
from flows.run.pipeline import publish, run_folder
from flows.settings import Settings
from flows.store.address import open_objects, open_store
from flows.store.s3 import S3Objects

from ..servers.fixtures import set_environment
from ..servers.seaweed import ADMIN, BUCKET
from . import reads
from .samples import WatchedEngine, make, product_plan, run


@pytest.fixture
def settings(s3_place) -> Settings:
    return Settings(s3=s3_place.settings())


def files(finished) -> dict[str, bytes]:
    """Everything in a run's folder by its name there."""
    folder = finished.run
    prefix = f"runs/{folder.name}/"
    names = [entry.name.removeprefix(prefix) for entry in list(folder.objects.list(prefix))]
    return {name: folder.read(name) for name in names}


@pytest.fixture
def written(monkeypatch) -> list[str]:
    """The names of objects that are written or copied to, as they are done."""
    names: list[str] = []
    for verb in ("create", "replace", "copy"):
        real = getattr(S3Objects, verb)

        def watched(self, name, more, verb=verb, real=real):
            answer = real(self, name, more)
            names.append(more if verb == "copy" else name)
            return answer

        monkeypatch.setattr(S3Objects, verb, watched)
    return names


@pytest.fixture
def moved(monkeypatch) -> list[str]:
    """The names of pictures and files whose bytes come here or go from here."""
    names: list[str] = []
    for verb in ("get", "create", "replace"):
        real = getattr(S3Objects, verb)

        def watched(self, name, *more, real=real):
            if name.endswith((".png", ".webp")) or name.startswith(("blobs/", "thumbs/")):
                names.append(name)
            return real(self, name, *more)

        monkeypatch.setattr(S3Objects, verb, watched)
    return names


def test_the_folder_in_s3_holds_what_the_local_one_does(s3_place, settings, products, tmp_path):
    plan = product_plan(products, path="shots/{}.png")
    local, remote = run(plan, tmp_path / "out"), run(plan, s3_place.url, settings)
    assert remote.folder == f"{s3_place.url}/runs/{local.run.name}"
    assert remote.report == f"{remote.folder}/report.html"
    here, there = files(local), files(remote)
    assert set(here) == set(there)
    for name in set(here) - {FILE_NAME, "report.html", "outputs.csv", "outputs.json"}:
        same = there[name] == here[name]
        if name.startswith("shots/"):  # provenance inside tells when the picture was made
            same = pixels(there[name]) == pixels(here[name])
        assert same, name
    thumbs = set(re.findall(r'<img src="([^"]+)"', there["report.html"].decode()))
    assert len(thumbs) == 9
    assert thumbs <= set(there)
    assert there["report.html"].count(b'href="shots/') == 6


def pixels(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGB").tobytes()


def test_the_manifest_is_written_last_and_the_second_run_sends_no_picture(
    s3_place, settings, products, written
):
    plan = product_plan(products)
    first = run(plan, s3_place.url, settings)
    folder = f"runs/{first.run.name}/"
    own = [name.removeprefix(folder) for name in written if name.startswith(folder)]
    kinds = [name.partition("/")[0].replace("product=", "") for name in own]
    # Outputs go side by side, in any order among themselves.
    assert sorted(kinds[:3]) == ["p0.png", "p1.png", "p2.png"]
    pages = ["report.html", "outputs.csv", "outputs.json", "recipe.yaml", FILE_NAME]
    assert kinds[3:] == [*["thumbs"] * 9, *pages]

    written.clear()
    engine = WatchedEngine()
    again = run(plan, s3_place.url, settings, engine)
    assert engine.loads == 0
    assert again.manifest.outputs == first.manifest.outputs
    sent = [name.removeprefix(folder) for name in written if not name.startswith("claims/")]
    assert sent == pages

    first.run.write("product=p1.png", b"cut short")
    written.clear()
    assert run(plan, s3_place.url, settings).manifest.outputs == first.manifest.outputs
    assert f"{folder}product=p1.png" in written
    assert f"{folder}product=p2.png" not in written
    assert Image.open(io.BytesIO(again.run.read("product=p1.png"))).size == (80, 48)


def test_no_picture_passes_through_whoever_publishes(s3_place, settings, products, moved):
    plan = product_plan(products)
    store = open_store(s3_place.url, settings)
    outcome = make(plan, store)
    assert moved
    moved.clear()
    finished = publish(plan, outcome, store, run_folder(plan, store.objects))
    assert moved == []
    assert finished.manifest.whole
    assert len(files(finished)) == 3 + 9 + 5
    for entry in finished.manifest.outputs:
        assert hashlib.sha256(finished.run.read(entry.path)).hexdigest() == entry.sha256


def test_presigned_links_open_without_credentials(s3_place, settings, products):
    chosen = settings.given(links="presigned", presign_seconds=600)
    finished = run(product_plan(products[:1]), s3_place.url, chosen)
    page = finished.run.read("report.html").decode()
    (policy,) = re.findall(r"img-src ([^;]+);", page)
    assert policy == s3_place.endpoint
    sources = [text.replace("&amp;", "&") for text in re.findall(r'<img src="([^"]+)"', page)]
    assert len(sources) == 3
    for url in sources:
        assert url.startswith(f"{policy}/")
        data, kind = fetched(url)
        assert Image.open(io.BytesIO(data)).format == "WEBP"
        assert kind == "image/webp"
    (shot,) = set(re.findall(r'href="([^"]+p0\.png[^"]*)"', page))
    assert pixels(fetched(shot.replace("&amp;", "&"))[0])
    with pytest.raises(HTTPError, match="403"):
        fetched(sources[0].partition("?")[0])


def fetched(url: str) -> tuple[bytes, str]:
    with urlopen(url) as answer:  # noqa: S310 - the tests' own server
        return answer.read(), answer.headers["Content-Type"]


# what happens to a done step's objects -> what must lie in quarantine afterwards
DAMAGE = {
    "corrupted blob": {"blob", "record"},
    "truncated blob": {"blob", "record"},
    "truncated record": {"record"},
    "missing blob": {"record"},
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found_set_aside_and_only_it_is_made_again(s3_place, settings, products, damage):
    plan = product_plan(products)
    first = run(plan, s3_place.url, settings)
    before = files(first)
    store = open_store(s3_place.url, settings)
    victim = next(step for step in plan.steps.values() if step.label == "snow[product=p1]")
    record = store.find(victim.key)
    blob, proof = f"blobs/{record.blob}", f"records/{victim.key}"
    if damage == "truncated record":
        store.objects.replace(proof, store.objects.get(proof).data[:100])
    else:
        data = store.read(record)[:-1]
        store.objects.remove(blob)
        if damage != "missing blob":
            store.objects.replace(blob, data + b"?" * (damage == "corrupted blob"))
        # It is found where it is read: for its file, which is gone.
        (output,) = keyed_outputs(plan)[victim.key]
        store.objects.remove(f"outputs/{output}")
        store.objects.remove(f"runs/{first.run.name}/product=p1.png")
    engine = WatchedEngine()
    again = run(plan, s3_place.url, settings, engine)
    assert [request.id for batch in engine.asked for request in batch] == [victim.key]
    assert again.manifest.ending is Ending.COMPLETE
    assert again.manifest.counts[State.CACHED] == len(plan.steps) - 1
    assert store.find(victim.key).blob == record.blob
    aside = [entry.name for entry in store.objects.list("quarantine/")]
    kinds = {name.split("/")[1].partition("-")[0] for name in aside}
    assert kinds == DAMAGE[damage]
    after = files(again)
    assert pixels(after["product=p1.png"]) == pixels(before["product=p1.png"])


CLAIMED = {"PUT claims", "HEAD claims", "DELETE claims", "GET gc.lock"}


def test_a_run_with_nothing_to_do_asks_for_a_record_a_picture(s3_place, settings, faults):
    watched = reads.settings_for(faults.endpoint)
    run(reads.pictures(12), s3_place.url, settings)
    open_store(s3_place.url, watched).prepare()
    with reads.counted(faults) as counts:
        reads.again(reads.pictures(12), s3_place.url, watched)
    asked = {kind: n for kind, n in counts.items() if kind not in CLAIMED | {"LIST tmp"}}
    assert asked == {
        "GET records": 12, "LIST runs": 1, "GET runs": 1, "PUT runs": 5,
    }  # fmt: skip


def test_a_chain_in_chunks_reads_what_other_chunks_made_and_publishing_reads_nothing(
    s3_place, s3_environment, faults
):
    watched = reads.settings_for(faults.endpoint)
    assert reads.in_chunks(reads.chain(), s3_place.url, watched, faults)["GET blobs"] == 3
    with reads.counted(faults) as counts:
        reads.into_a_new_folder(reads.chain(), s3_place.url, watched)
    assert (counts["GET blobs"], counts["PUT copy runs"]) == (0, 9)
    assert not [kind for kind in counts if kind.startswith("PUT blobs")]


def test_no_claim_stays_and_no_secret_is_in_anything(s3_place, settings, products):
    products[1].write_bytes(b"broken")
    run(product_plan(products), s3_place.url, settings)
    objects = open_objects(s3_place.url, settings)
    entries = list(objects.list(""))
    assert {entry.name.partition("/")[0] for entry in entries} == {
        "blobs",
        "failures",
        "outputs",
        "records",
        "runs",
        "thumbs",
    }
    for entry in entries:
        data = objects.get(entry.name).data
        assert ADMIN.secret.encode() not in data, entry.name
        assert ADMIN.key.encode() not in data, entry.name


def test_the_command_line_from_run_to_report(s3_place, kontext, recipe):
    url = s3_place.url
    ended = kontext("0", "run", recipe, "--store", url)
    assert ended.returncode == 0, ended.stderr
    lines = dict(line.split(maxsplit=1) for line in ended.stdout.splitlines()[1:])
    folder = lines["report"].removesuffix("/report.html")
    assert folder.startswith(f"{url}/runs/")
    assert lines["pull"] == f"kontext pull {folder} DIR"
    assert lines["outputs"] == f"{folder} (10 files)"
    told = json.loads(kontext("0", "plan", recipe, "--store", url, "--json").stdout)
    assert (told["total"], told["done"]) == (20, 20)
    objects = s3_place.objects()
    name = folder.rpartition("/")[2]
    page = objects.get(f"runs/{name}/report.html").data
    for engine, *arguments in (
        ("0", folder),
        ("0", lines["report"]),
        ("real", name, "--store", url),
    ):
        objects.remove(f"runs/{name}/report.html")
        ended = kontext(engine, "report", *arguments)
        assert (ended.returncode, ended.stdout.strip()) == (0, lines["report"]), ended.stderr
        assert objects.get(f"runs/{name}/report.html").data == page
    assert "torch" not in ended.stderr.splitlines()[-1]


def test_a_server_that_goes_away_ends_the_run_cleanly_and_a_rerun_goes_on(
    own_seaweed, monkeypatch, start, kontext, recipe, tmp_path
):
    set_environment(monkeypatch, own_seaweed.endpoint)
    monkeypatch.setenv("KONTEXT_S3__ATTEMPTS", "2")
    monkeypatch.setenv("KONTEXT_S3__PATIENCE", "1")
    url = f"s3://{BUCKET}/away"
    with start("0.3", "run", recipe, "--store", url, "--batch", "2") as process:
        for line in process.stderr:
            if line.startswith("[4/20]"):
                break
        own_seaweed.kill9()
        out, err = process.communicate(timeout=120)
    assert process.returncode == 1, err
    assert "Traceback" not in err
    assert out == ""
    told = [line for line in err.splitlines() if line.startswith(f"{url}")]
    assert len(told) == 1, err
    own_seaweed.start()
    objects = open_objects(url)
    made = {entry.name for entry in objects.list("records/")}
    assert len(made) >= 4
    ended = kontext("0", "run", recipe, "--store", url, "--json")
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert told["counts"]["cached"] == len(made)
    assert told["counts"]["done"] == 20 - len(made)
    name = told["folder"].rpartition("/")[2]
    manifest = Manifest.model_validate_json(objects.get(f"runs/{name}/{FILE_NAME}").data)
    assert manifest.whole


def test_a_folder_has_no_presigned_links(kontext, recipe, tmp_path):
    ended = kontext("0", "run", recipe, "--links", "presigned")
    assert ended.returncode == 2
    assert "only a store in S3 has such links" in ended.stderr
    assert not (tmp_path / "out").exists()
