"""Cutting a run: what of its plan is missing, as chunks under names that stay."""

from __future__ import annotations

from flows.chunk import TARGET, pack_chunks
from flows.coordination.ledger import ChunkList, ChunkSheet
from flows.coordination.sizing import StepTimes, chunk_seconds
from flows.estimate import SAMPLE
from flows.recipe.step import Plan
from flows.store.keyed import KeyedStore


def cut_run(plan: Plan, store: KeyedStore, engines: int = 1) -> ChunkList:
    """The chunks of what ``store`` lacks; each after those that make its parents.

    Worth about a minute by the times in the store's records, less where there is little to do
    for so many ``engines``.
    """
    held = dict(store.has_all(plan.steps))
    missing = [key for key, found in held.items() if not found]
    times = StepTimes(plan, store.sample(SAMPLE) if missing else ())
    expected = [times.seconds(plan.steps[key]) for key in missing]
    known = [seconds for seconds in expected if seconds is not None]
    target = chunk_seconds(sum(known), engines) if known else TARGET
    chunks = pack_chunks(plan, missing, times.seconds, target=target)
    width = len(str(len(chunks)))
    names = {chunk.id: f"c{number:0{width}d}" for number, chunk in enumerate(chunks, 1)}
    sheets = tuple(
        ChunkSheet(
            name=names[chunk.id],
            keys=chunk.keys,
            after=tuple(sorted(names[one] for one in chunk.after)),
        )
        for chunk in chunks
    )
    cached = tuple(key for key, found in held.items() if found)
    return ChunkList(chunks=sheets, cached=cached)
