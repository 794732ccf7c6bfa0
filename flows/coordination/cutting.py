"""Cutting a run: what of its plan is missing, as chunks under names that stay."""

from __future__ import annotations

from flows.coordination.ledger import ChunkList, ChunkSheet
from flows.estimate import SAMPLE
from flows.execution.cutting import cut
from flows.execution.work import Missing
from flows.recipe.step import Plan
from flows.store.keyed import KeyedStore


def cut_run(plan: Plan, store: KeyedStore, engines: int = 1) -> ChunkList:
    """The chunks of what ``store`` lacks; each after those that make its parents.

    Worth a minute or more by the times in the store's records.
    """
    held = dict(store.has_all(plan.steps))
    missing = tuple(key for key, found in held.items() if not found)
    sample = store.sample(SAMPLE) if missing else ()
    chunks = cut(plan, Missing(missing, ()), sample, engines)
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
