"""Source pictures into the store, so that workers of any host find them: ``blobs/<sha256>``."""

from __future__ import annotations

import time
from collections.abc import Iterable

from flows.execution.pictures import read_source
from flows.recipe.step import Plan, SourceImage
from flows.store.keyed import TOUCH_AFTER, KeyedStore
from flows.store.lanes import LANES, in_lanes
from flows.store.objects import Objects


def put_sources(plan: Plan, store: KeyedStore) -> None:
    """Put what the plan looks at where it is not yet; what is there is made young again.

    A clean-up leaves young blobs alone, so that these stay while the run is under way.

    Raises:
        PictureError: a picture is not what it was when the plan was made.
        StoreError: the store fails.
    """
    objects = store.objects

    def put(ref: SourceImage) -> None:
        _put(objects, ref)

    for _ in in_lanes(put, sources_of(plan), LANES):
        pass


def sources_of(plan: Plan) -> list[SourceImage]:
    """The pictures that a plan begins with, each once."""
    refs: Iterable[SourceImage] = (
        ref for step in plan.steps.values() for ref in step.contexts if isinstance(ref, SourceImage)
    )
    return list({ref.digest: ref for ref in refs}.values())


def _put(objects: Objects, ref: SourceImage) -> None:
    name, data = f"blobs/{ref.digest}", read_source(ref)
    if not objects.create(name, data) and not _is_sound(objects, name, len(data)):
        objects.replace(name, data)


def _is_sound(objects: Objects, name: str, size: int) -> bool:
    """Whether what is there has the right size, and is young or was made so."""
    entry = objects.stat(name)
    if entry is None or entry.size != size:
        return False
    return abs(time.time() - entry.modified) <= TOUCH_AFTER or objects.touch(name)
