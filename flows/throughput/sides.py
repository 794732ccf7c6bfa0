"""The ways to bring a folder of pictures to a bucket and back."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

from flows.execution.outcome import Ending
from flows.execution.provenance import software
from flows.manifest import FILE_NAME, Manifest, ModelEntry, OutputEntry
from flows.pull import JOBS, pull
from flows.settings import Settings
from flows.store import boto
from flows.store.address import S3Address, open_objects, open_store
from flows.store.lanes import LANES, in_lanes
from flows.store.record import Record
from flows.store.runfolder import RunFolder

SIDE = 91  # pixels: a picture of noise is then about 25 kB, as the miniature's are
THREADS = 16
LOOP = "boto3, a plain loop"  # what the ratios are to
S5CMD = "s5cmd"

Item = TypeVar("Item")


class ThroughputError(Exception):
    """This cannot be measured there; the message says why."""


class Side(Protocol):
    """A way to bring the files of a folder to a place in a bucket, and back."""

    def push(self, folder: Path, to: str) -> None:
        """Every file of ``folder`` to below ``to``."""

    def pull(self, what: str, folder: Path) -> None:
        """Everything that was pushed to ``what`` into ``folder``."""


def make_sides(home: S3Address, settings: Settings) -> Mapping[str, Side]:
    """Those that there are, by name; ``s5cmd`` only where it is installed."""
    sides: dict[str, Side] = {
        "kontext, outputs": _Outputs(home, settings),
        "kontext, steps with records": _Steps(home, settings),
        LOOP: _Boto(home, settings, 1),
        f"boto3, {THREADS} threads": _Boto(home, settings, THREADS),
    }
    if program := shutil.which("s5cmd"):
        sides[S5CMD] = _S5cmd(home, settings, program)
    return sides


class _Outputs:
    """As a run writes its outputs, and ``kontext pull`` brings them."""

    def __init__(self, home: S3Address, settings: Settings) -> None:
        self._objects = open_objects(str(home), settings)
        self._objects.prepare()

    def push(self, folder: Path, to: str) -> None:
        run = RunFolder(self._objects, to)

        def write(path: Path) -> OutputEntry:
            data = path.read_bytes()
            run.write(path.name, data)
            return _entry(path.name, data)

        outputs = [entry for _, entry in in_lanes(write, _files(folder), LANES)]
        run.write(FILE_NAME, _manifest(outputs).to_json())

    def pull(self, what: str, folder: Path) -> None:
        done = pull(self._objects, what, folder, jobs=JOBS)
        if done.problems:
            raise ThroughputError(done.problems[0])
        (folder / FILE_NAME).unlink()


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


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


class _Steps:
    """As a run keeps what it has made, blob and record, and finds it again, verified."""

    def __init__(self, home: S3Address, settings: Settings) -> None:
        self._home = home
        self._settings = settings
        self._records: dict[str, Sequence[tuple[str, Record]]] = {}

    def push(self, folder: Path, to: str) -> None:
        store = open_store(f"{self._home}/{to}", self._settings)

        def put(path: Path) -> Record:
            data = path.read_bytes()
            return store.put(_record(path.name, data), data)

        files = _files(folder)
        put_records = in_lanes(put, files, LANES)
        self._records[to] = [(path.name, record) for path, record in put_records]

    def pull(self, what: str, folder: Path) -> None:
        store = open_store(f"{self._home}/{what}", self._settings)
        folder.mkdir()

        def read(named: tuple[str, Record]) -> None:
            name, record = named
            (folder / name).write_bytes(store.read(record))

        for _ in in_lanes(read, self._records.pop(what), LANES):
            pass


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


class _Boto:
    """What one would write in ten lines."""

    def __init__(self, home: S3Address, settings: Settings, threads: int) -> None:
        self._home = home
        self._client = boto.client(settings.s3)
        self._threads = threads

    def push(self, folder: Path, to: str) -> None:
        def put(path: Path) -> None:
            self._client.put_object(
                Bucket=self._home.bucket,
                Key=f"{self._home.prefix}/{to}/{path.name}",
                Body=path.read_bytes(),
            )

        self._each(put, _files(folder))

    def pull(self, what: str, folder: Path) -> None:
        folder.mkdir()

        def get(key: str) -> None:
            answer = self._client.get_object(Bucket=self._home.bucket, Key=key)
            (folder / key.rpartition("/")[2]).write_bytes(answer["Body"].read())

        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._home.bucket, Prefix=f"{self._home.prefix}/{what}/"
        )
        self._each(get, [found["Key"] for page in pages for found in page.get("Contents", ())])

    def _each(self, act: Callable[[Item], None], items: Sequence[Item]) -> None:
        if self._threads == 1:
            for item in items:
                act(item)
            return
        with ThreadPoolExecutor(self._threads) as pool:
            list(pool.map(act, items))


class _S5cmd:
    """The program, as it is started from a shell."""

    def __init__(self, home: S3Address, settings: Settings, program: str) -> None:
        self._home = home
        endpoint = settings.s3.endpoint_url
        self._command = [program, "--log", "error"]
        self._command += ["--endpoint-url", endpoint] if endpoint else []

    def push(self, folder: Path, to: str) -> None:
        self._run("cp", f"{folder}/", f"{self._home}/{to}/")

    def pull(self, what: str, folder: Path) -> None:
        self._run("cp", f"{self._home}/{what}/*", f"{folder}/")

    def _run(self, *arguments: str) -> None:
        ended = subprocess.run(  # noqa: S603 - our own arguments
            [*self._command, *arguments], capture_output=True, text=True, check=False
        )
        if ended.returncode:
            raise ThroughputError(f"s5cmd: {ended.stderr.strip()[:500]}")
