"""Cutting a run: what of its plan is missing, as chunks under names that stay."""

from __future__ import annotations

from flows.chunk import cut_chunks
from flows.coordination.ledger import ChunkList, ChunkSheet
from flows.recipe.step import Plan
from flows.store.keyed import KeyedStore


def cut_run(plan: Plan, store: KeyedStore) -> ChunkList:
    """The chunks of what ``store`` lacks; each after those that make its parents."""
    held = dict(store.has_all(plan.steps))
    missing = [key for key, found in held.items() if not found]
    chunks = cut_chunks(plan, missing)
    width = len(str(len(chunks)))
    names = [f"c{number:0{width}d}" for number in range(1, len(chunks) + 1)]
    maker = {key: name for name, chunk in zip(names, chunks, strict=True) for key in chunk.keys}
    sheets = []
    for name, chunk in zip(names, chunks, strict=True):
        parents = {parent for key in chunk.keys for parent in plan.steps[key].parents}
        after = {maker[parent] for parent in parents if parent in maker} - {name}
        sheets.append(ChunkSheet(name=name, keys=chunk.keys, after=tuple(sorted(after))))
    cached = tuple(key for key, found in held.items() if found)
    return ChunkList(chunks=tuple(sheets), cached=cached)
