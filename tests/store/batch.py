"""Stores with runs in them, made directly: manifests, records, blobs, and things of old age."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping

from flows.run.manifest import Manifest, ModelEntry, OutputEntry, StepEntry
from flows.run.outcome import Ending, State
from flows.run.stages import ChunkSheet, StageSheet
from flows.run.thumbs import Thumbnail
from flows.store.folder import LocalObjects
from flows.store.keyed import KeyedStore
from flows.store.outputs import OutputRecord, OutputStore
from flows.store.record import Record

from .samples import digest, make_record

HOUR = 3600.0


def age(objects: LocalObjects, name: str, seconds: float = 30 * 24 * HOUR) -> None:
    """Make a file of a folder look written so long ago."""
    then = time.time() - seconds
    os.utime(objects.root / name, (then, then))


def age_all(objects: LocalObjects, seconds: float = 30 * 24 * HOUR) -> None:
    for entry in list(objects.list("")):
        age(objects, entry.name, seconds)


def keep(store: KeyedStore, text: str, blob: bytes | None = None) -> Record:
    """A step called so, done."""
    data = blob if blob is not None else f"picture of {text}".encode()
    return store.put(make_record(digest(text), data, label=text), data)


def keep_output(store: KeyedStore, record: Record, data: bytes | None = None) -> OutputRecord:
    """An output file of a done step, and a thumbnail of its picture."""
    file = data if data is not None else f"file of {record.label}".encode()
    blob, key = hashlib.sha256(file).hexdigest(), digest(f"output of {record.key}")
    made = OutputRecord(key, record.key, record.blob, blob, len(file), "image/png")
    store.objects.create(thumb_name(record.blob), b"thumbnail")
    return OutputStore(store).put(made, file)


def thumb_name(picture: str) -> str:
    return Thumbnail(picture, 3, 2).name


def write_stage(objects, run: str, keys: Iterable[str], sources: Iterable[str] = ()) -> list[str]:
    """A round's stage, ``run`` being the flow run, a slash and the round; its objects' names."""
    flow_run, _, number = run.partition("/")
    sheet = StageSheet(
        folder="f",
        recipe=digest("r"),
        engines=1,
        cached=(),
        sources=tuple(sources),
        began=0.0,
        chunks=(ChunkSheet(name=f"{number}-0-1", keys=tuple(keys)),),
    )
    made = [f"stages/{flow_run}/{number}-0.plan", f"stages/{flow_run}/{number}-0.json"]
    for name, data in zip(made, (b"a plan", sheet.model_dump_json().encode()), strict=True):
        objects.create(name, data)
    return made


def manifest(
    recipe: str,
    records: Iterable[Record],
    outputs: Mapping[str, bytes] | None = None,
    *,
    ending: Ending = Ending.COMPLETE,
    written: str = "2026-01-02T03:04:05+00:00",
) -> Manifest:
    held = list(records)
    return Manifest(
        recipe=recipe,
        recipe_file=f"{recipe}.yaml",
        recipe_sha256=digest(recipe),
        plan=digest(recipe),
        model=ModelEntry(name="m", digest=digest("m")),
        numerics={},
        software="kontext-pipeline 0",
        written=written,
        ending=ending,
        seconds=1.0,
        load_seconds=0.0,
        counts={state: len(held) if state is State.DONE else 0 for state in State},
        steps=tuple(
            StepEntry(
                key=record.key,
                name=record.step,
                label=record.label,
                operation="edit",
                params={},
                state=State.DONE,
                blob=record.blob,
            )
            for record in held
        ),
        variants=(),
        sources=(),
        outputs=tuple(
            OutputEntry(
                path=path,
                key=digest(path),
                variant="v",
                format="png",
                quality=95,
                sha256=hashlib.sha256(data).hexdigest(),
            )
            for path, data in (outputs or {}).items()
        ),
    )


def write_run(
    objects,
    run: str,
    records: Iterable[Record] = (),
    outputs: Mapping[str, bytes] | None = None,
    **changes,
) -> Manifest:
    """A finished run's folder: outputs, thumbs, report, recipe, and its manifest last."""
    recipe = run[11:-9]
    made = manifest(recipe, records, outputs, **changes)
    for path, data in (outputs or {}).items():
        objects.replace(f"runs/{run}/{path}", data)
        thumb = f"{digest(path)}-3x2.webp"
        objects.replace(f"runs/{run}/thumbs/{thumb}", b"thumb of " + data)
    objects.replace(f"runs/{run}/report.html", b"<html>" + run.encode())
    objects.replace(f"runs/{run}/recipe.yaml", b"version: 1\n")
    objects.replace(f"runs/{run}/manifest.json", made.to_json())
    return made


class AtOnce:
    """A function that counts how many call it at once; ``most`` of them did.

    A call waits for a second one, ``wait`` seconds at most, unless that has come.
    """

    def __init__(self, act: Callable, wait: float) -> None:
        self.most = 0
        self._act, self._wait = act, wait
        self._inside = 0
        self._change = threading.Condition()

    def __call__(self, *arguments):
        with self._change:
            self._inside += 1
            self.most = max(self.most, self._inside)
            self._change.notify_all()
            self._change.wait_for(lambda: self.most > 1, self._wait or 0.02)
        try:
            return self._act(*arguments)
        finally:
            with self._change:
                self._inside -= 1


def names(objects, prefix: str = "") -> set[str]:
    return {entry.name for entry in objects.list(prefix)}
