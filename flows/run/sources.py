"""Source pictures into the store, so that workers of any host find them: ``blobs/<sha256>``."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path

from flows.plan.step import Plan, SourceImage
from flows.run.asking import describe
from flows.run.pictures import read_source
from flows.run.provenance import sources_of
from flows.sources.place import S3Object
from flows.store.base import StoreError
from flows.store.keyed import TOUCH_AFTER, KeyedStore
from flows.store.lanes import LANES, in_lanes
from flows.store.objects import Objects

log = logging.getLogger(__name__)


def put_sources(plan: Plan, store: KeyedStore) -> Mapping[str, str]:
    """Put what the plan looks at where it is not yet; what is there is made young again, unread.

    A clean-up leaves young blobs alone, so that these stay while the run is under way. By digest,
    why some could not be put: they are gone, or not what they were when the plan was made. The
    steps that look at them will fail, and no others.

    Raises:
        StoreError: the store fails.
    """
    objects = store.objects

    def put(ref: SourceImage) -> str:
        try:
            _put(objects, ref)
        except StoreError:
            raise
        except Exception as error:
            log.warning("%s", describe(error))
            return describe(error)
        return ""

    return {ref.digest: why for ref, why in in_lanes(put, sources_of(plan), LANES) if why}


def _put(objects: Objects, ref: SourceImage) -> None:
    name = f"blobs/{ref.digest}"
    if _is_sound(objects, name, _size(ref)):
        return
    data = read_source(ref)
    if not objects.create(name, data) and not _is_sound(objects, name, len(data)):
        objects.replace(name, data)


def _size(ref: SourceImage) -> int | None:
    """How many bytes the source has, as far as can be told without reading it."""
    if isinstance(ref.path, S3Object):
        return ref.path.size
    try:
        return ref.path.stat().st_size if isinstance(ref.path, Path) else None
    except OSError:
        return None


def _is_sound(objects: Objects, name: str, size: int | None) -> bool:
    """Whether what is there has this size, if it is known, and is young or was made so."""
    entry = objects.stat(name)
    if entry is None or size not in (None, entry.size):
        return False
    return abs(time.time() - entry.modified) <= TOUCH_AFTER or objects.touch(name)
