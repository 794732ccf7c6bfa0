"""Both shipped recipes into a real S3 server that is killed meanwhile, and back to a folder."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import random
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows.run.manifest import Manifest
from flows.run.telling import read_xmp
from flows.store.s3 import S3Objects

from ..run.samples import manifest_in
from ..servers.faults import Faults
from ..servers.fixtures import Place, set_environment
from ..servers.seaweed import ADMIN, BUCKET, Seaweed
from .conftest import ROOT, Ended, Kontext, contents, labels

# Each as it is shipped, but with one denoise step; what of it, and how much that is.
RECIPES = {
    "product-backgrounds": (["product=backpack,scene=beach", "on_scene[top-hat,marble]"], 3),
    "storyboard": (["character=raccoon", "face[character=monkey]"], 4),
}
# What of a manifest may differ from run to run; and of an output's own provenance.
TABLES = {"outputs.csv", "outputs.json"}
BESIDE = {"manifest.json", "recipe.yaml", "report.html", *TABLES}
TIMES = {"created", "written", "seconds", "load_seconds", "sha256", "size"}


class Deadly(Faults):
    """Kills the server when the ``nth`` request of a kind comes, before it gets it or after.

    The client's connection is cut, as are all that are open; a little later the server is back.
    """

    def __init__(self, server: Seaweed, seed: int) -> None:
        self.dice = random.Random(seed)
        self.server = server
        self.kills: list[str] = []
        # While pictures are put, and while the run's folder is written.
        kinds = (self.dice.choice(["/blobs/", "/records/"]), "/runs/")
        self.moments = [("PUT", kind, self.dice.randint(1, 3)) for kind in kinds]
        super().__init__(server.ports["s3"])

    def _pass_on(self, client, head, body, fault) -> None:
        method, path = head.lines[0].decode("latin-1").split(" ")[:2]
        if not self._is_moment(method, path):
            super()._pass_on(client, head, body, fault)
            return
        if self.dice.random() < 0.5:
            self._cut_upload(head, io.BytesIO(body))
        self.server.kill9()
        time.sleep(self.dice.uniform(0.1, 1.0))
        self.server.start()

    def _is_moment(self, method: str, path: str) -> bool:
        with self._lock:
            if not self.moments or method != self.moments[0][0] or self.moments[0][1] not in path:
                return False
            kind, part, left = self.moments[0]
            self.moments[0] = (kind, part, left - 1)
            if left > 1:
                return False
            del self.moments[0]
            self.kills.append(path)
            return True


@dataclass(frozen=True)
class Both:
    """The same recipes, run into S3 and into a folder."""

    place: Place
    server: Seaweed
    remote: Kontext
    local: Kontext
    ended: dict[str, Ended]
    kills: dict[str, list[str]]

    def command(self, recipe: str) -> list[str]:
        """``run`` and its arguments, to be told where to."""
        only = [argument for selector in RECIPES[recipe][0] for argument in ("--only", selector)]
        return ["run", f"recipes/{recipe}.yaml", "--set", "defaults.steps=1", "--batch", "2", *only]

    def run(self, recipe: str) -> Ended:
        """Run it into S3, the server being well."""
        return self.remote(*self.command(recipe), "--store", self.place.url, "--json")

    def folder(self, recipe: str) -> Path:
        """The local run's."""
        (found,) = (self.local.folder / "out" / "runs").glob(f"*-{recipe}-*")
        return found

    def objects(self, monkeypatch) -> S3Objects:
        set_environment(monkeypatch, self.server.endpoint)
        return self.place.objects()


@pytest.fixture(scope="module")
def both(processes, model, tmp_path_factory) -> Both:
    folder = tmp_path_factory.mktemp("both")
    shutil.copytree(ROOT / "recipes", folder / "recipes")
    with Seaweed(folder / "seaweed") as server:
        server.make_bucket(BUCKET)
        place = Place(server.endpoint, BUCKET, "team/night")
        both = Both(
            place,
            server,
            processes.at(folder, place.environment),
            processes.at(folder, {}),
            {},
            {},
        )
        for seed, name in enumerate(RECIPES):
            command = [*both.command(name), "--model", model]
            here = both.local(*command)
            assert here.status == 0, here.err
            with Deadly(server, seed) as proxy:
                through = {"KONTEXT_S3__ENDPOINT_URL": proxy.endpoint}
                kontext = both.remote.at(folder, through)
                both.ended[name] = kontext(*command, "--store", place.url, "--json")
                both.kills[name] = proxy.kills
        yield both


@pytest.fixture(params=RECIPES)
def recipe(request) -> str:
    return request.param


@pytest.mark.gate
def test_a_run_ends_complete_though_its_server_is_killed_twice(both, recipe):
    ended, (_, made) = both.ended[recipe], RECIPES[recipe]
    assert ended.status == 0, ended.err
    told = json.loads(ended.out)
    assert told["ending"] == "complete"
    assert {state: count for state, count in told["counts"].items() if count} == {"done": made}
    assert len(told["outputs"]) == made
    put, published = both.kills[recipe]
    assert "/blobs/" in put or "/records/" in put
    assert "/runs/" in published
    assert "Traceback" not in ended.err
    assert_no_secret(ended)


def test_pulled_it_is_the_local_run_and_a_second_pull_transfers_nothing(both, recipe, tmp_path):
    run, target = both.folder(recipe), tmp_path / "here"
    ended = both.remote("pull", recipe, target, "--store", both.place.url)
    assert ended.status == 0, ended.err
    files = contents(run)
    assert ended.out.startswith(f"{run.name}: {len(files)} files, {len(files)} pulled, 0 there al")
    assert_same_run(target, run)

    before = {path: path.stat().st_mtime_ns for path in target.rglob("*")}
    with Faults(both.server.ports["s3"]) as proxy:
        kontext = both.remote.at(tmp_path, {"KONTEXT_S3__ENDPOINT_URL": proxy.endpoint})
        ended = kontext("pull", recipe, target, "--store", both.place.url)
        asked = [(request.method, request.path) for request in proxy.requests]
    assert ended.status == 0, ended.err
    assert ended.out.startswith(f"{run.name}: {len(files)} files, 0 pulled, {len(files)} there")
    assert {path: path.stat().st_mtime_ns for path in target.rglob("*")} == before
    gets = [path for method, path in asked if method == "GET" and "list-type" not in path]
    assert gets == [f"/{BUCKET}/team/night/runs/{run.name}/manifest.json"]
    assert len(asked) <= 8, asked


def assert_same_run(ours: Path, theirs: Path) -> None:
    """Bit for bit, but for the times in provenance, manifest and page."""
    mine, other = contents(ours), contents(theirs)
    assert mine.keys() == other.keys()
    manifest = manifest_in(ours)
    assert timeless(manifest) == timeless(manifest_in(theirs))
    assert {step.blob for step in manifest.steps} == {
        step.blob for step in manifest_in(theirs).steps
    }
    assert [*rows(ours)] == [*rows(theirs)]
    for name in mine.keys() - {"manifest.json", "report.html", *TABLES}:
        if name == "recipe.yaml" or name.startswith("thumbs/"):
            assert mine[name] == other[name], name
        else:
            assert np.array_equal(pixels(mine[name]), pixels(other[name])), name
            assert provenance(mine[name]) == provenance(other[name])
    for output in manifest.outputs:
        assert hashlib.sha256(mine[output.path]).hexdigest() == output.sha256
    page = mine["report.html"].decode()
    for name in mine:
        assert name in BESIDE or f'"{name}"' in page, name


def rows(run: Path) -> Iterator[dict[str, str]]:
    """The tables' rows, the same in both, but for what follows from times in the files."""
    told = json.loads((run / "outputs.json").read_text())
    with (run / "outputs.csv").open(newline="") as table:
        written = list(csv.DictReader(table))
    assert [{name: str(cell) for name, cell in row.items()} for row in told] == written
    for row in written:
        yield {name: cell for name, cell in row.items() if name not in {"bytes", "sha256"}}


def timeless(manifest: Manifest):
    def strip(value):
        if isinstance(value, dict):
            return {name: strip(inner) for name, inner in value.items() if name not in TIMES}
        return [strip(inner) for inner in value] if isinstance(value, list) else value

    return strip(json.loads(manifest.to_json()))


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def provenance(data: bytes) -> dict[str, str]:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        facts = read_xmp(image.info["xmp"])
    return {name: text for name, text in facts.items() if name != "created"}


def assert_no_secret(ended: Ended) -> None:
    for secret in (ADMIN.secret, ADMIN.key):
        assert secret not in ended.out + ended.err


def test_damage_in_the_bucket_is_set_aside_and_exactly_that_is_made_again(both, monkeypatch):
    objects, name = both.objects(monkeypatch), "storyboard"
    steps = {step.label: step for step in manifest_in(both.folder(name)).steps}
    victims = ["street[character=raccoon]", "snow[character=raccoon]", "face[character=monkey]"]
    bitten, torn, lost = (steps[label] for label in victims)
    before = {label: objects.get(f"blobs/{step.blob}").data for label, step in steps.items()}
    blob = objects.get(f"blobs/{bitten.blob}").data
    objects.replace(f"blobs/{bitten.blob}", blob[:500] + b"\0" + blob[501:])
    record = objects.get(f"records/{torn.key}").data
    objects.replace(f"records/{torn.key}", record[: len(record) // 2])
    objects.remove(f"blobs/{lost.blob}")

    ended = both.remote("gc", "--verify", "--store", both.place.url)
    assert (ended.status, ended.err) == (1, "")
    assert ended.out.endswith(" objects read, 4 of them damaged\n")  # the bitten one's record, too
    ended = both.run(name)
    assert ended.status == 0, ended.err
    told = json.loads(ended.out)
    data = objects.get(f"runs/{told['folder'].rpartition('/')[2]}/manifest.json").data
    manifest = Manifest.model_validate_json(data)
    assert labels(manifest, "done") == set(victims)
    assert labels(manifest, "cached") == steps.keys() - set(victims)
    for step in manifest.steps:
        held = objects.get(f"blobs/{step.blob}").data
        assert hashlib.sha256(held).hexdigest() == step.blob
        # In a batch of another size: one level, the tolerance of fp32 (contract 4).
        change = pixels(held).astype(int) - pixels(before[step.label]).astype(int)
        assert abs(change).max() <= 1
    aside = [entry.name.removeprefix("quarantine/") for entry in objects.list("quarantine/")]
    kept = sorted(name.rpartition("-")[0] for name in aside if not name.endswith(".json"))
    expected = [f"blob-{bitten.blob}", *(f"record-{step.key}" for step in (bitten, torn, lost))]
    assert kept == sorted(expected)
    assert len(aside) == 2 * len(kept)  # a note beside each
    again = both.run(name)
    counts = {state: n for state, n in json.loads(again.out)["counts"].items() if n}
    assert counts == {"cached": len(steps)}
