"""The ways to bring a folder of pictures to a bucket and back."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from flows.pull.pull import JOBS, pull
from flows.run.manifest import FILE_NAME, Manifest, ModelEntry, OutputEntry
from flows.run.outcome import Ending
from flows.run.provenance import software
from flows.settings import Settings
from flows.settings.address import S3Address
from flows.store import boto
from flows.store.address import open_objects, open_store
from flows.store.lanes import LANES, in_lanes
from flows.store.record import Record, encode_record
from flows.store.runfolder import RunFolder

SIDE = 91  # pixels: a picture of noise is then about 25 kB, as the miniature's are
THREADS = 16
STEPS = "kontext, steps with records"
LOOP = "boto3, a plain loop"  # what the ratios are to, but for
PAIRS = "boto3, picture and record"  # what those of steps are to: the same two puts, in order
S5CMD = "s5cmd"

Item = TypeVar("Item")


class ThroughputError(Exception):
    """This cannot be measured there; the message says why."""


@dataclass(frozen=True, slots=True)
class Side:
    """A way to bring a folder's files to a place in a bucket (by its name), and back from there."""

    push: Callable[[Path, str], None]
    pull: Callable[[str, Path], None]


def make_sides(home: S3Address, settings: Settings) -> Mapping[str, Side]:
    """Those that there are, by name; ``s5cmd`` only where it is installed."""
    sides = {
        "kontext, outputs": _outputs(home, settings),
        STEPS: _steps(home, settings),
        LOOP: _boto(home, settings, 1),
        PAIRS: _pairs(home, settings),
        f"boto3, {THREADS} threads": _boto(home, settings, THREADS),
    }
    if program := shutil.which("s5cmd"):
        sides[S5CMD] = _s5cmd(home, settings, program)
    return sides


def _each(act: Callable[[Path], Item], folder: Path, lanes: int = LANES) -> list[Item]:
    return [found for _, found in in_lanes(act, sorted(folder.iterdir()), lanes)]


def _outputs(home: S3Address, settings: Settings) -> Side:
    """As a run writes its outputs, and ``kontext pull`` brings them."""
    objects = open_objects(str(home), settings)
    objects.prepare()

    def push(folder: Path, to: str) -> None:
        run = RunFolder(objects, to)

        def write(path: Path) -> OutputEntry:
            data = path.read_bytes()
            run.write(path.name, data)
            return _entry(path.name, data)

        run.write(FILE_NAME, _manifest(_each(write, folder)).to_json())

    def bring(what: str, folder: Path) -> None:
        done = pull(objects, what, folder, jobs=JOBS)
        if done.problems:
            raise ThroughputError(done.problems[0])
        (folder / FILE_NAME).unlink()

    return Side(push, bring)


def _entry(name: str, data: bytes) -> OutputEntry:
    digest = hashlib.sha256(data).hexdigest()
    return OutputEntry(
        path=name, key=digest, variant=name, format="png", quality=95, sha256=digest, size=len(data)
    )


def _manifest(outputs: Sequence[OutputEntry]) -> Manifest:
    return Manifest(
        recipe="bench",
        recipe_file="bench.yaml",
        recipe_sha256="",
        plan="",
        model=ModelEntry(name="none", digest=""),
        numerics={},
        software=software(),
        written="",
        ending=Ending.COMPLETE,
        seconds=0.0,
        load_seconds=0.0,
        counts={},
        steps=(),
        variants=(),
        sources=(),
        outputs=tuple(outputs),
    )


def _steps(home: S3Address, settings: Settings) -> Side:
    """As a run keeps what it has made, blob and record, and finds it again, verified."""
    records: dict[str, list[tuple[str, Record]]] = {}

    def push(folder: Path, to: str) -> None:
        store = open_store(f"{home}/{to}", settings)

        def put(path: Path) -> tuple[str, Record]:
            data = path.read_bytes()
            return path.name, store.put(_record(path.name, data), data)

        records[to] = _each(put, folder)

    def pull(what: str, folder: Path) -> None:
        store = open_store(f"{home}/{what}", settings)
        folder.mkdir()

        def read(named: tuple[str, Record]) -> None:
            (folder / named[0]).write_bytes(store.read(named[1]))

        for _ in in_lanes(read, records.pop(what), LANES):
            pass

    return Side(push, pull)


def _record(name: str, data: bytes) -> Record:
    digest = hashlib.sha256(data).hexdigest()
    return Record(
        key=hashlib.sha256(name.encode()).hexdigest(),
        blob=digest,
        size=len(data),
        media_type="image/png",
        width=SIDE,
        height=SIDE,
        step="bench",
        label=f"bench[{name}]",
        operation="edit",
        params={"prompt": "none", "seed": 0, "steps": 16},
        model="none",
        model_digest=digest,
        numerics={},
        parents=(),
        sources=(digest,),
        geometry={},
        notes=(),
        seconds=0.0,
        created="",
        software=software(),
    )


def _boto(home: S3Address, settings: Settings, threads: int) -> Side:
    """What one would write in ten lines."""
    client = boto.client(settings.s3)

    def push(folder: Path, to: str) -> None:
        def put(path: Path) -> None:
            key = f"{home.prefix}/{to}/{path.name}"
            client.put_object(Bucket=home.bucket, Key=key, Body=path.read_bytes())

        _each(put, folder, threads)

    def pull(what: str, folder: Path) -> None:
        folder.mkdir()

        def get(key: str) -> None:
            answer = client.get_object(Bucket=home.bucket, Key=key)
            (folder / key.rpartition("/")[2]).write_bytes(answer["Body"].read())

        prefix = f"{home.prefix}/{what}/"
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=home.bucket, Prefix=prefix)
        keys = [found["Key"] for page in pages for found in page.get("Contents", ())]
        for _ in in_lanes(get, keys, threads):
            pass

    return Side(push, pull)


def _pairs(home: S3Address, settings: Settings) -> Side:
    """The plain loop, where each picture has a record that is put after it."""
    client, plain = boto.client(settings.s3), _boto(home, settings, 1)

    def push(folder: Path, to: str) -> None:
        def put(path: Path) -> None:
            data = path.read_bytes()
            record = encode_record(_record(path.name, data))
            for name, body in ((f"{to}/{path.name}", data), (f"{to}-records/{path.stem}", record)):
                client.put_object(Bucket=home.bucket, Key=f"{home.prefix}/{name}", Body=body)

        _each(put, folder, 1)

    return Side(push, plain.pull)


def _s5cmd(home: S3Address, settings: Settings, program: str) -> Side:
    """The program, as it is started from a shell."""
    endpoint = settings.s3.endpoint_url
    command = [program, "--log", "error", *(("--endpoint-url", endpoint) if endpoint else ())]

    def copy(what: str, to: str) -> None:
        ended = subprocess.run(  # noqa: S603 - our own arguments
            [*command, "cp", what, to], capture_output=True, text=True, check=False
        )
        if ended.returncode:
            raise ThroughputError(f"s5cmd: {ended.stderr.strip()[:500]}")

    return Side(
        push=lambda folder, to: copy(f"{folder}/", f"{home}/{to}/"),
        pull=lambda what, folder: copy(f"{home}/{what}/*", f"{folder}/"),
    )
