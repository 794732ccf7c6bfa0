"""Where the steps of a file were computed, as it travels beside what decides its pixels.

It is in no key: a batch of another size moves a few values by a level. In the same, none moves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flows.plan.step import Plan, PlannedOutput
from flows.run.deciding import numbered
from flows.run.manifest import Manifest, OutputEntry
from flows.run.provenance import batch_of
from flows.store.record import Record
from kontext_engine.api import InBatch

MAX_SIZE = 64  # requests that are handed to an engine at once, so no batch has more

Found = Callable[[str], Record | None]  # a step's record, by its key


def told_batches(plan: Plan, planned: PlannedOutput, found: Found) -> str:
    """Of each step from the sources to the picture: ``place:size``, or ``-`` where none is known.

    Empty where nothing is known: what other chunks made is not asked for. The steps' order is that
    of ``flows.run.deciding``.
    """
    keys = numbered(planned.keys, lambda key: plan.steps[key].parents)
    records = map(found, keys)
    return _words({} if record is None else record.geometry for record in records)


def batches_of(manifest: Manifest, entry: OutputEntry) -> str:
    """The same of a file of a run, by its manifest, in which ``deciding_of`` finds its steps."""
    steps = {step.key: step for step in manifest.steps}
    asked = (entry.key, entry.alpha) if entry.alpha else (entry.key,)

    def parents(key: str) -> list[str]:
        return [one.name for one in steps[key].contexts if one.kind == "step"]

    return _words(steps[key].geometry for key in numbered(asked, parents))


def _words(geometries: Iterable[Mapping[str, Any]]) -> str:
    batches = map(batch_of, geometries)
    told = ["-" if one is None else f"{one.place}:{one.size}" for one in batches]
    return "" if set(told) == {"-"} else " ".join(told)


def read_batches(text: str) -> tuple[InBatch | None, ...]:
    """What was told, step by step; ``None`` for what is not known, or is none."""
    return tuple(map(_read, text.split()))


def _read(word: str) -> InBatch | None:
    match = re.fullmatch(r"(\d{1,2}):(\d{1,2})", word)
    found = InBatch(0, 0) if match is None else InBatch(int(match[1]), int(match[2]))
    return found if found.place < found.size <= MAX_SIZE else None
