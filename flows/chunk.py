"""Chunks: pieces of a plan, the unit of scheduling.

A chain stays together, so that one engine makes it from end to end and nothing waits on a store
of another host; pieces that share no missing step can be done anywhere, in any order. How a run
is cut into chunks for many engines, ``flows.execution.cutting`` knows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from flows.recipe.step import Plan, Step


@dataclass(frozen=True, slots=True)
class Chunk:
    """Keys of steps to be made by one engine, in the plan's (topological) order.

    ``after`` are ids of chunks that hold parents of these steps: when they have ended, this one
    may begin. ``seconds`` of engine time are expected; ``None`` when nothing was measured.
    ``outputs`` are keys of output files to be encoded: of these steps, or, in a chunk without
    steps, of pictures that are there; that takes no engine.
    """

    keys: tuple[str, ...]
    after: tuple[str, ...] = ()
    seconds: float | None = None
    outputs: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """16 hex digits that name the work: the same steps (without any, outputs) are the same."""
        named = "".join(self.keys or self.outputs)
        return hashlib.sha256(named.encode("ascii")).hexdigest()[:16]


def cut_chunks(plan: Plan, missing: Collection[str]) -> tuple[Chunk, ...]:
    """The connected pieces of ``missing``, in the plan's order of their first steps.

    Steps that are done connect nothing: two chains that grow from one stored picture are two
    chunks.
    """
    return tuple(Chunk(keys) for keys in connected(plan, in_order(plan, missing)))


def rank(plan: Plan, chunk: Chunk, priority: int = 0) -> tuple[int, str, str, tuple[str, ...]]:
    """Sorts chunks of many plans, of those that may begin: urgent first, then as little reloaded
    as can be: by model, then by shape. A higher ``priority`` is more urgent.
    """
    shapes = sorted({shape_hint(plan.steps[key]) for key in chunk.keys})
    return -priority, plan.model.name, plan.model.digest, tuple(shapes)


def group_chunks(plan: Plan, chunks: Sequence[Chunk], width: int) -> Iterator[tuple[str, ...]]:
    """Keys of chunks to be worked on side by side, so that requests of one shape meet.

    Chunks that look alike come together; a group is closed when it starts at least ``width``
    pictures at once, so that finished variants appear early also in a long run.
    """
    group: list[str] = []
    starts = 0
    for chunk in sorted(chunks, key=lambda chunk: _look(plan, chunk.keys)):
        inside = set(chunk.keys)
        group.extend(chunk.keys)
        starts += sum(inside.isdisjoint(plan.steps[key].parents) for key in chunk.keys)
        if starts >= width:
            yield tuple(group)
            group, starts = [], 0
    if group:
        yield tuple(group)


def shape_hint(step: Step) -> str:
    """What is known of a request's shape before its pictures are opened; equal is batchable."""
    params = step.params
    cfg = params.true_cfg > 1.0
    return f"{params.steps} {params.size or 'match'} {len(step.contexts)} {params.fit} {cfg}"


def _look(plan: Plan, keys: Sequence[str]) -> tuple[str, ...]:
    return tuple(shape_hint(plan.steps[key]) for key in keys)


def in_order(plan: Plan, keys: Collection[str]) -> list[str]:
    """These keys in the plan's order."""
    wanted = set(keys)
    return [key for key in plan.steps if key in wanted]


def connected(plan: Plan, order: Sequence[str]) -> list[tuple[str, ...]]:
    """The connected pieces of ``order``, each in its order. Takes time by ``order`` alone."""
    leader: dict[str, str] = {}

    def find(key: str) -> str:
        while leader[key] != key:
            leader[key] = leader[leader[key]]  # halve the path, so that long chains stay cheap
            key = leader[key]
        return key

    for key in order:
        leader[key] = key
        for parent in plan.steps[key].parents:
            if parent in leader:
                leader[find(key)] = find(parent)
    pieces: dict[str, list[str]] = {}
    for key in order:
        pieces.setdefault(find(key), []).append(key)
    return [tuple(keys) for keys in pieces.values()]
