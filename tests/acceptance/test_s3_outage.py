"""A server that refuses, hangs, cuts or is full, met by ``kontext run`` and ``kontext pull``.

Each as a process before a real S3 server, with a proxy between them that does the harm.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from PIL import Image

from flows.run.manifest import FILE_NAME, Manifest
from flows.store.objects import Objects
from flows.store.record import decode_record

from ..servers.faults import (
    FULL,
    OVER_QUOTA,
    SLOW_DOWN,
    CutDownload,
    CutUpload,
    EmptyAnswer,
    Faults,
    Hang,
    LoseAnswer,
    SpoilDownload,
    SpoilUpload,
)
from ..servers.fixtures import Place
from ..servers.seaweed import ADMIN
from .conftest import Ended, Kontext, contents
from .samples import noise

RECIPE = """\
version: 1
name: three
inputs: {product: in/*.png}
defaults: {steps: 1, size: 64x48}
steps:
  place: {op: edit, image: product, prompt: put it on a beach}
  night: {op: edit, image: place, prompt: make it night}
outputs:
  - {step: place, name: "{product}/place"}
  - {step: night, name: "{product}/night"}
"""
STEPS = 6
# Outputs, thumbnails of sources and steps, page, recipe, manifest, two tables.
FILES = STEPS + 3 + STEPS + 5
IMPATIENT = {"KONTEXT_S3__ATTEMPTS": "2", "KONTEXT_S3__PATIENCE": "0.5"}
# SeaweedFS takes one second where 8 writers race, and more where the machine is busy.
NO_TIME = {"KONTEXT_S3__READ_TIMEOUT": "6"}


@dataclass(frozen=True)
class Team:
    """``kontext`` by way of the proxy, with a fake engine, in a prefix of its own."""

    kontext: Kontext
    place: Place
    faults: Faults

    def run(self, **changes: str) -> Ended:
        return self._do(changes, "run", "three.yaml", "--store", self.place.url, "--json")

    def pull(self, target: Path, **changes: str) -> Ended:
        return self._do(changes, "pull", "three", target, "--store", self.place.url)

    def _do(self, changes: Mapping[str, str], *arguments: object) -> Ended:
        return self.kontext.at(self.kontext.folder, changes, fake=0.0)(*arguments)


@pytest.fixture
def team(processes, tmp_path, s3_place, faults) -> Team:
    (tmp_path / "in").mkdir()
    for number in range(3):
        noise(number).save(tmp_path / "in" / f"p{number}.png")
    (tmp_path / "three.yaml").write_text(RECIPE)
    through = replace(s3_place, endpoint=faults.endpoint)
    return Team(processes.at(tmp_path, through.environment), s3_place, faults)


def assert_told(ended: Ended, *parts: str) -> None:
    """Exit code 1, and one line that says all of this."""
    assert ended.status == 1, ended.err
    lines = [line for line in ended.err.splitlines() if all(part in line for part in parts)]
    assert len(lines) == 1, ended.err
    assert_clean(ended)


def assert_clean(ended: Ended) -> None:
    text = ended.out + ended.err
    assert "Traceback" not in text
    for secret in (ADMIN.key, ADMIN.secret, "Signature", "X-Amz"):
        assert secret not in text


def assert_nothing_half(objects: Objects) -> None:
    """Whatever has its final name is what the name says."""
    for entry in list(objects.list("")):
        data = objects.get(entry.name).data
        kind, _, rest = entry.name.partition("/")
        if kind == "blobs":
            assert hashlib.sha256(data).hexdigest() == rest
        elif kind == "records":
            assert objects.stat(f"blobs/{decode_record(data, rest).blob}") is not None
        elif kind == "outputs":
            assert objects.stat(f"blobs/{json.loads(data)['blob']}") is not None
        elif entry.name.endswith((".png", ".webp")):
            Image.open(io.BytesIO(data)).load()
        elif entry.name.endswith("report.html"):
            assert data.rstrip().endswith(b"</html>")
        elif entry.name.endswith(FILE_NAME):
            manifest = Manifest.model_validate_json(data)
            folder = entry.name.removesuffix(FILE_NAME)
            for output in manifest.outputs:
                if output.sha256:
                    found = objects.get(folder + output.path).data
                    assert hashlib.sha256(found).hexdigest() == output.sha256
        else:
            assert kind in {"runs", "claims", "failures", "tmp"}, entry.name


def assert_whole(ended: Ended, objects: Objects) -> None:
    assert ended.status == 0, ended.err
    told = json.loads(ended.out)
    assert told["ending"] == "complete"
    assert told["counts"]["done"] + told["counts"]["cached"] == STEPS
    assert len(told["outputs"]) == STEPS
    assert_clean(ended)
    assert_nothing_half(objects)


CUT = "the connection to"
FULL_LINE = "no space or quota left there"
RUN_FAULTS = {
    "503 for pictures": (SLOW_DOWN, "/blobs/", ["writing it failed", "SlowDown"]),
    "503 for records": (SLOW_DOWN, "/records/", ["writing it failed", "SlowDown"]),
    "hanging": (Hang(), "/records/", ["did not answer in time"]),
    "cut pictures": (CutUpload(), "/blobs/", ["writing it failed", CUT]),
    "cut outputs": (CutUpload(), "/runs/", ["writing it failed", CUT]),
    "full for pictures": (FULL, "/blobs/", [FULL_LINE, "free some or raise the quota"]),
    "over quota for outputs": (OVER_QUOTA, "/runs/", [FULL_LINE, "free some or raise the quota"]),
}


SHORT = {"503 for pictures", "hanging", "over quota for outputs"}


@pytest.mark.parametrize(
    "case",
    [pytest.param(one, marks=() if one in SHORT else pytest.mark.gate) for one in RUN_FAULTS],
)
def test_a_run_that_the_server_fails_says_so_and_the_next_one_completes(case, team):
    fault, path, told = RUN_FAULTS[case]
    objects = team.place.objects()
    team.faults.harm(fault, "PUT", path, times=None)
    ended = team.run(**IMPATIENT, **(NO_TIME if isinstance(fault, Hang) else {}))
    assert team.faults.harmed(), ended.err
    assert_told(ended, team.place.url, *told)
    assert_nothing_half(objects)
    assert not [entry for entry in objects.list("runs/") if entry.name.endswith(FILE_NAME)]
    before = {entry.name for entry in objects.list("records/")}
    team.faults.heal()
    again = team.run()
    assert_whole(again, objects)
    assert json.loads(again.out)["counts"]["cached"] == len(before)


def test_troubles_that_pass_change_nothing(team, tmp_path):
    for path in ("/blobs/", "/records/", "/runs/"):
        for fault in (SLOW_DOWN, CutUpload(), LoseAnswer(), SpoilUpload(), Hang()):
            team.faults.harm(fault, "PUT", path)
        if path != "/blobs/":  # none is read
            for fault in (CutDownload(), SpoilDownload(), EmptyAnswer()):
                team.faults.harm(fault, "GET", path)
    ended = team.run(**NO_TIME)
    assert_whole(ended, team.place.objects())
    assert json.loads(ended.out)["counts"]["done"] == STEPS
    assert {type(request.fault) for request in team.faults.harmed()} >= {Hang, LoseAnswer}
    assert team.pull(tmp_path / "here").status == 0
    assert contents(tmp_path / "here") == everything(team.place.objects())
    assert len(team.faults.harmed()) == 3 * 5 + 2 * 3


OUTPUTS, THUMBS = "/place.png", "/thumbs/"
PULL_FAULTS = {
    "503": (SLOW_DOWN, OUTPUTS, ["reading it failed", "SlowDown"]),
    "hanging": (Hang(), THUMBS, ["reading it failed", "did not answer in time"]),
    "cut": (CutDownload(), OUTPUTS, ["reading it failed", CUT]),
    "spoilt": (SpoilDownload(), THUMBS, ["its bytes are not those of its checksum"]),
    "empty": (EmptyAnswer(), OUTPUTS, ["reading it failed"]),
}


def test_a_pull_that_the_server_fails_says_so_and_the_next_one_completes(team, tmp_path):
    assert team.run().status == 0
    stored = everything(team.place.objects())
    assert len(stored) == FILES
    for case, (fault, path, told) in PULL_FAULTS.items():
        target = tmp_path / case
        before = len(team.faults.harmed())
        team.faults.harm(fault, "GET", path, times=None)
        ended = team.pull(target, **IMPATIENT, **NO_TIME)
        assert len(team.faults.harmed()) > before
        assert_told(ended, team.place.url, *told)
        come = contents(target)
        assert come.items() <= stored.items()  # whatever has come has come whole
        assert FILE_NAME not in come
        team.faults.heal()
        again = team.pull(target)
        assert again.status == 0, again.err
        assert contents(target) == stored


def everything(objects: Objects) -> dict[str, bytes]:
    """The only run's files by their names in its folder."""
    names = [entry.name for entry in objects.list("runs/")]
    return {name.split("/", 2)[2]: objects.get(name).data for name in names}
