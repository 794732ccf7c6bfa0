"""Outputs and thumbnails, made from pictures in hand and stored at once, each under its own name.

An output is encoded once: from the picture just made, or from the stored one where its file is
missing. What cannot be encoded is noted, and ends nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from PIL import Image

from flows.plan.step import Plan, PlannedOutput
from flows.run.asking import CancelSignal, describe
from flows.run.encoders import MEDIA_TYPES
from flows.run.look import Wanted
from flows.run.outputs import OutputError, encode_output
from flows.run.pictures import decode_png
from flows.run.signing import UNSIGNED, Signing
from flows.run.thumbs import keep_thumbnail
from flows.store.base import BlobDamaged, StoreError
from flows.store.keyed import KeyedStore
from flows.store.lanes import in_lanes
from flows.store.outputs import OutputRecord, OutputStore
from flows.store.record import Record
from kontext_engine.errors import Cancelled

log = logging.getLogger(__name__)

LANES = 8  # stored pictures read and encoded at once


@dataclass
class Keeper:
    """Makes the ``wanted`` outputs of a plan, and thumbnails.

    ``problems``, by output key, tell why some could not be encoded. ``cancelled`` is asked before
    each stored picture that is read; files are signed with ``signing``.
    """

    plan: Plan
    wanted: Wanted
    store: KeyedStore
    cancelled: CancelSignal
    signing: Signing = UNSIGNED
    problems: dict[str, str] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)  # of steps, none asked for
    shown: set[str] = field(default_factory=set)  # digests of those that have thumbnails

    def opened(self, digest: str, picture: Image.Image) -> None:
        """A source, or what differs from one, is in hand: its thumbnail is made."""
        if digest not in self.shown:
            self.shown.add(digest)
            self._thumbnail(digest, picture)

    def made(self, record: Record, picture: Image.Image) -> None:
        """A step's picture is in hand: its outputs and its thumbnail are made."""
        self.records[record.key] = record
        self._thumbnail(record.blob, picture)
        for key, planned in self.wanted.get(record.key, {}).items():
            self.problems.pop(key, None)
            if problem := _guarded(partial(self._put, key, planned, record, picture)):
                self.problems[key] = problem

    def found(self, records: Mapping[str, Record]) -> list[str]:
        """The wanted outputs of stored pictures are made; keys of pictures that prove damaged."""
        self.records.update(records)
        asked = [record for key, record in records.items() if key in self.wanted]
        return [record.key for record, sound in in_lanes(self._complete, asked, LANES) if not sound]

    def _complete(self, record: Record) -> bool:
        """Make what a stored picture lacks; whether that is sound."""
        if self.cancelled():
            raise Cancelled("asked to stop")
        try:
            data = self.store.read(record)
        except BlobDamaged:
            return False
        try:
            picture = decode_png(data)
        except Exception as error:
            self.problems.update(dict.fromkeys(self.wanted[record.key], describe(error)))
            return True
        self.made(record, picture)
        return True

    def _put(self, key: str, planned: PlannedOutput, record: Record, picture: Image.Image) -> None:
        sign = self.signing.for_output(self.plan, planned)
        data = encode_output(self.plan, planned, record, self.records.get, picture, sign=sign)
        media = MEDIA_TYPES[planned.format]
        file = OutputRecord.of(key, record.key, record.blob, data, media)
        OutputStore(self.store).put(file, data)

    def _thumbnail(self, digest: str, picture: Image.Image) -> None:
        if problem := _guarded(lambda: keep_thumbnail(self.store.objects, digest, picture)):
            log.warning("no thumbnail of %s: %s", digest[:12], problem)


def _guarded(act: Callable[[], object]) -> str:
    """Do it; why it could not be done, if it is not the store that fails."""
    try:
        act()
    except StoreError:
        raise
    except OutputError as error:
        return str(error)
    except Exception as error:  # encoders raise nearly anything
        log.debug("a picture could not be encoded", exc_info=True)
        return describe(error)
    return ""
