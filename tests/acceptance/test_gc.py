"""``kontext gc --delete`` again and again beside ``kontext run``, all of them processes, in S3.

A clean-up takes only what is hours old. So a proxy before the server tells of everything that was
there at some moment that it is a month old, until it is written anew.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import signal
import socket
import time
from datetime import datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from urllib.parse import unquote

import pytest

from flows.run.manifest import FILE_NAME, Manifest
from flows.store.address import open_store
from flows.store.s3 import S3Objects

from ..servers.faults import Faults, _read_head
from ..servers.fixtures import Place
from .conftest import Kontext
from .samples import noise

MONTH = timedelta(days=30)
SECONDS = 0.1  # that the fake engine takes for an edit
RECIPE = """\
version: 1
name: weather
inputs: {product: in/*.png}
variables: {what: snow}
defaults: {steps: 1, size: 64x48}
steps:
  place: {op: edit, image: product, prompt: put it on a beach}
  weather: {op: edit, image: place, prompt: "make it {what}"}
"""
PRODUCTS = 4
ENTRY = re.compile(rb"<Contents>.*?</Contents>", re.S)


class Ageing(Faults):
    """``age_all``: what is there now is a month old from now on."""

    def __init__(self, place: Place, port: int) -> None:
        self._place = place
        self._old: dict[str, int] = {}
        super().__init__(port)

    def age_all(self) -> None:
        entries = list(self._place.objects().list(""))
        self._old = {f"{self._place.prefix}/{one.name}": int(one.modified) for one in entries}
        time.sleep(1.1)  # dates tell seconds apart

    def _pass_on(self, client, head, body, fault) -> None:
        method, path = head.lines[0].decode("latin-1").split(" ")[:2]
        with socket.create_connection(("127.0.0.1", self.upstream), 120) as server:
            server.sendall(head.closing() + body)
            reader = server.makefile("rb")
            answer = _read_head(reader)
            text = reader.read()
        if method == "GET" and "list-type=2" in path:
            text = ENTRY.sub(lambda found: self._older(found[0]), text)
            answer.lines = [
                f"Content-Length: {len(text)}".encode()
                if line.lower().startswith(b"content-length:")
                else line
                for line in answer.lines
            ]
        elif "last-modified" in answer.headers:
            then = parsedate_to_datetime(answer.headers["last-modified"])
            key = unquote(path.partition("?")[0]).removeprefix(f"/{self._place.bucket}/")
            if self._old.get(key) == int(then.timestamp()):
                line = f"Last-Modified: {format_datetime(then - MONTH, usegmt=True)}".encode()
                answer.lines = [
                    line if one.lower().startswith(b"last-modified:") else one
                    for one in answer.lines
                ]
        client.sendall(answer.closing() + text)

    def _older(self, entry: bytes) -> bytes:
        key = unquote(re.search(rb"<Key>(.*?)</Key>", entry)[1].decode())
        told = re.search(rb"<LastModified>(.*?)</LastModified>", entry)[1].decode()
        then = datetime.fromisoformat(told)
        if self._old.get(key) != int(then.timestamp()):
            return entry
        older = (then - MONTH).strftime("%Y-%m-%dT%H:%M:%SZ")
        return entry.replace(told.encode(), older.encode())


@pytest.fixture
def ageing(s3_place, seaweed):
    with Ageing(s3_place, seaweed.ports["s3"]) as proxy:
        yield proxy


@pytest.fixture
def kontext(processes, tmp_path, s3_place, ageing) -> Kontext:
    (tmp_path / "in").mkdir()
    for number in range(PRODUCTS):
        noise(number).save(tmp_path / "in" / f"p{number}.png")
    (tmp_path / "weather.yaml").write_text(RECIPE)
    through = s3_place.environment | {"KONTEXT_S3__ENDPOINT_URL": ageing.endpoint}
    return processes.at(tmp_path, through, fake=SECONDS)


def run(place: Place, what: str) -> list[str]:
    return ["run", "weather.yaml", "--store", place.url, "--set", f"what={what}", "--batch", "2"]


def manifests(objects: S3Objects) -> dict[str, Manifest]:
    """By the weather that was asked for."""
    found = {}
    for entry in list(objects.list("runs/")):
        if entry.name.endswith(FILE_NAME):
            manifest = Manifest.model_validate_json(objects.get(entry.name).data)
            found[manifest.sets[0].partition("=")[2]] = manifest
    return found


def names(objects: S3Objects, prefix: str) -> set[str]:
    return {entry.name.removeprefix(prefix) for entry in list(objects.list(prefix))}


@pytest.mark.gate
@pytest.mark.parametrize("seed", [0])
def test_beside_running_batches_only_garbage_goes(seed, kontext, ageing, s3_place, tmp_path):
    dice, objects = random.Random(seed), s3_place.objects()
    for what in ("snow", "fog"):
        assert kontext(*run(s3_place, what)).status == 0
    forgotten = manifests(objects)["fog"]
    for name in names(objects, "runs/"):  # fog is nobody's any more; its records are still there
        if f"-{forgotten.plan[:8]}/" in name:
            objects.remove(f"runs/{name}")
    killed = kontext.start(*run(s3_place, "hail"))
    while not names(objects, "claims/"):
        time.sleep(0.02)
    time.sleep(dice.uniform(0.0, 0.6))
    killed.send_signal(signal.SIGKILL)
    kontext.wait(killed)
    orphan = hashlib.sha256(b"orphan").hexdigest()
    objects.create(f"blobs/{orphan}", b"orphan")
    ageing.age_all()

    # Storm is new; fog takes up old records that only its claim protects, unless gc was quicker.
    runs = {what: kontext.start(*run(s3_place, what), "--json") for what in ("fog", "storm")}
    time.sleep(dice.uniform(0.0, 1.0))
    sweeps = [
        kontext("gc", "--delete", "--grace", "2h", "--store", s3_place.url, "--json")
        for _ in range(2)
    ]
    ended = {what: kontext.wait(process) for what, process in runs.items()}
    sweeps.append(kontext("gc", "--delete", "--grace", "2h", "--store", s3_place.url, "--json"))
    for process in (*sweeps, *ended.values()):
        assert process.status == 0, process.err
        assert "Traceback" not in process.err
    assert all(json.loads(one.out)["finished"] for one in sweeps)

    made, store = manifests(objects), open_store(s3_place.url)
    assert {"snow", "fog", "storm"} <= made.keys()
    needed = {step.key for manifest in made.values() for step in manifest.steps}
    for key in needed:
        assert store.find(key) is not None
    assert all(made[what].whole for what in ("snow", "fog", "storm"))
    pulled = kontext("pull", "20", tmp_path / "here", "--all", "--store", s3_place.url)
    assert pulled.status == 0, pulled.err
    assert len(list((tmp_path / "here").glob(f"*/{FILE_NAME}"))) == len(made)
    assert names(objects, "records/") == needed
    blobs = {step.blob for manifest in made.values() for step in manifest.steps}
    blobs |= {output.sha256 for manifest in made.values() for output in manifest.outputs}
    assert names(objects, "blobs/") == blobs
    assert orphan not in blobs
    assert names(objects, "claims/") == set()
    assert objects.get("gc.lock") is None
    again = kontext(*run(s3_place, "fog"), "--json")
    assert json.loads(again.out)["counts"]["cached"] == 2 * PRODUCTS
