"""Chunks: connected pieces of a plan, the unit of scheduling.

A chain stays together, so that one engine makes it from end to end and nothing waits on a store
of another host; pieces that share no missing step can be done anywhere, in any order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from flows.recipe.step import Plan, Step


@dataclass(frozen=True, slots=True)
class Chunk:
    """Keys of steps connected by parentage, in the plan's (topological) order."""

    keys: tuple[str, ...]


def cut_chunks(plan: Plan, missing: Collection[str]) -> tuple[Chunk, ...]:
    """The connected pieces of ``missing``, in the plan's order of their first steps.

    Steps that are done connect nothing: two chains that grow from one stored picture are two
    chunks.
    """
    leader: dict[str, str] = {}

    def find(key: str) -> str:
        while leader[key] != key:
            leader[key] = leader[leader[key]]  # halve the path, so that long chains stay cheap
            key = leader[key]
        return key

    wanted = set(missing)
    order = [key for key in plan.steps if key in wanted]
    for key in order:
        leader[key] = key
        for parent in plan.steps[key].parents:
            if parent in leader:
                leader[find(key)] = find(parent)
    pieces: dict[str, list[str]] = {}
    for key in order:
        pieces.setdefault(find(key), []).append(key)
    return tuple(Chunk(tuple(keys)) for keys in pieces.values())


def group_chunks(plan: Plan, chunks: Sequence[Chunk], width: int) -> Iterator[tuple[str, ...]]:
    """Keys of chunks to be worked on side by side, so that requests of one shape meet.

    Chunks that look alike come together; a group is closed when it starts at least ``width``
    pictures at once, so that finished variants appear early also in a long run.
    """
    group: list[str] = []
    starts = 0
    for chunk in sorted(chunks, key=lambda chunk: _look(plan, chunk)):
        inside = set(chunk.keys)
        group.extend(chunk.keys)
        starts += sum(inside.isdisjoint(plan.steps[key].parents) for key in chunk.keys)
        if starts >= width:
            yield tuple(group)
            group, starts = [], 0
    if group:
        yield tuple(group)


def _look(plan: Plan, chunk: Chunk) -> tuple[str, ...]:
    return tuple(shape_hint(plan.steps[key]) for key in chunk.keys)


def shape_hint(step: Step) -> str:
    """What is known of a request's shape before its pictures are opened; equal is batchable."""
    params = step.params
    cfg = params.true_cfg > 1.0
    return f"{params.steps} {params.size or 'match'} {len(step.contexts)} {params.fit} {cfg}"
