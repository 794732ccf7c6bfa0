"""Files made of several pictures, once all of these are there: by whoever publishes the run.

A file with another step's transparency, and a contact sheet. Each is stored under its own key, like
any output, and made where it is not there yet; what cannot be made is told, and ends nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from PIL import Image

from flows.plan.step import Plan, PlannedOutput, PlannedSheet, Tile
from flows.run.asking import describe
from flows.run.delivery import Delivered, SheetSeen
from flows.run.encoders import MEDIA_TYPES
from flows.run.outputs import OutputError, encode_output, output_key
from flows.run.pictures import decode_png, read_source
from flows.run.sheets import Frame, draw, reduced
from flows.run.signing import Signing
from flows.run.telling import sheet_facts
from flows.store.base import BlobDamaged, StoreError
from flows.store.keyed import KeyedStore
from flows.store.lanes import in_lanes
from flows.store.outputs import OutputRecord, OutputStore
from flows.store.record import Record

LANES = 4  # files made at once: each holds its pictures


@dataclass(frozen=True, slots=True)
class Composer:
    """Makes what of ``plan`` is made of several pictures; ``records`` are those that are there."""

    plan: Plan
    store: KeyedStore
    records: Mapping[str, Record]
    signing: Signing

    def compose(self, there: Delivered) -> Mapping[str, str]:
        """Make what is not there yet, nor delivered; by output key, why some cannot be.

        Raises:
            StoreError: the store fails.
        """
        asked: dict[str, Callable[[], str]] = {}
        for planned in self.plan.outputs:
            record = self.records.get(planned.key)
            if planned.alpha and record is not None and not there.has(planned, record):
                key = output_key(self.plan, planned)
                asked.setdefault(key, partial(self._make, key, planned))
        for sheet in self.plan.sheets:
            seen = SheetSeen.of(sheet, self.records)
            if there.current_sheet(sheet, seen) is None:
                asked.setdefault(seen.key, partial(self._draw, sheet, seen))
        made = in_lanes(lambda one: self._guarded(one[1]), asked.items(), LANES)
        return {key: problem for (key, _), problem in made if problem}

    def _guarded(self, make: Callable[[], str]) -> str:
        """Make one file; why it could not be made."""
        try:
            return make()
        except BlobDamaged as error:
            return str(error)
        except StoreError:
            raise
        except OutputError as error:
            return str(error)
        except Exception as error:  # encoders raise nearly anything
            return describe(error)

    def _make(self, key: str, planned: PlannedOutput) -> str:
        record, other = self.records[planned.key], self.records.get(planned.alpha)
        if other is None:
            return f"needs '{self.plan.steps[planned.alpha].label}', which has no picture"
        files = OutputStore(self.store)
        if files.find(key, record.blob) is not None:
            return ""
        sign = self.signing.for_output(self.plan, planned)
        picture, alpha = self._picture(record), self._picture(other)
        data = encode_output(self.plan, planned, record, self.records.get, picture, alpha, sign)
        media = MEDIA_TYPES[planned.format]
        files.put(OutputRecord.of(key, record.key, record.blob, data, media), data)
        return ""

    def _draw(self, sheet: PlannedSheet, seen: SheetSeen) -> str:
        if seen.missing and (sheet.missing == "fail" or seen.missing == len(sheet.tiles)):
            return (
                f"{seen.missing} of {len(sheet.tiles)} pictures are missing; expected all; run "
                "again to make them"
            )
        files = OutputStore(self.store)
        if files.find(seen.key, seen.frames) is not None:
            return ""
        frames = [self._frame(sheet, tile) for tile in sheet.tiles]
        font = None if sheet.font is None else read_source(sheet.font)
        sign = self.signing.for_sheet(self.plan, sheet)
        data = draw(sheet, frames, font, sheet_facts(self.plan, sheet))
        data = data if sign is None else sign(data)
        media = MEDIA_TYPES[sheet.format]
        files.put(OutputRecord.of(seen.key, seen.key, seen.frames, data, media), data)
        return ""

    def _frame(self, sheet: PlannedSheet, tile: Tile) -> Frame:
        record = self.records.get(tile.key)
        picture = None if record is None else reduced(self._picture(record), sheet)
        return Frame(tile.caption, picture)

    def _picture(self, record: Record) -> Image.Image:
        return decode_png(self.store.read(record))
