"""Chunks: pieces of a plan, the unit of scheduling.

A chain stays together, so that one engine makes it from end to end and nothing waits on a store
of another host; pieces that share no missing step can be done anywhere, in any order. Small
pieces are joined and long ones cut, until each chunk is worth about a minute of an engine.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from flows.recipe.step import Plan, Step

TARGET = 60.0  # seconds of engine time
COUNT = 16  # steps in a chunk when nothing has been measured
MOST = 512  # steps in a chunk however quick: it is what one lost worker loses
_OVERLONG = 1.5  # times the target; what is shorter is not worth cutting
_TRUNK = 0.75  # of a piece's steps; a larger shared part leaves too little beside it

Seconds = Callable[[Step], float | None]


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


@dataclass(frozen=True, slots=True)
class _Piece:
    """Steps that are not cut any further; ``level`` counts the pieces that must come before."""

    keys: tuple[str, ...]
    cost: float
    level: int
    look: tuple[str, ...]


def cut_chunks(plan: Plan, missing: Collection[str]) -> tuple[Chunk, ...]:
    """The connected pieces of ``missing``, in the plan's order of their first steps.

    Steps that are done connect nothing: two chains that grow from one stored picture are two
    chunks.
    """
    return tuple(Chunk(keys) for keys in _connected(plan, _in_order(plan, missing)))


def pack_chunks(
    plan: Plan,
    missing: Collection[str],
    seconds: Seconds | None = None,
    *,
    target: float = TARGET,
) -> tuple[Chunk, ...]:
    """``missing`` in chunks of about ``target`` seconds; every step in exactly one of them.

    Connected pieces that look alike are joined until they are worth it. A piece that is longer
    than half as much again is cut where several branches leave it: what they share becomes a
    chunk of its own, is made once, and the branches come ``after`` it. One without branches (a
    long chain) is cut into even stretches, each after the one before.

    Chunks come in an order in which none is before one it waits for; those of one look stand
    together. ``seconds`` tells what a step will take; ``COUNT`` unknown ones are worth a chunk.
    """
    order = _in_order(plan, missing)
    expected = {key: seconds(plan.steps[key]) if seconds else None for key in order}
    cost = {
        key: max(target / COUNT if known is None else known, target / MOST)
        for key, known in expected.items()
    }
    parts = (part for keys in _connected(plan, order) for part in _cut(plan, keys, cost, target))
    packer = _Packer(plan, expected, {key: at for at, key in enumerate(order)})
    load, level = 0.0, 0
    for piece in sorted(_pieces(plan, parts, cost), key=lambda piece: (piece.level, piece.look)):
        # Joined where that comes nearer to the target than stopping short of it.
        if piece.level != level or load + piece.cost / 2 > target:
            packer.close()
            load, level = 0.0, piece.level
        packer.keys.extend(piece.keys)
        load += piece.cost
    packer.close()
    return tuple(packer.chunks)


class _Packer:
    """Closes one chunk after the other; knows which chunk holds which key."""

    def __init__(
        self, plan: Plan, expected: Mapping[str, float | None], place: Mapping[str, int]
    ) -> None:
        self.chunks: list[Chunk] = []
        self.keys: list[str] = []
        self._plan = plan
        self._expected = expected
        self._place = place
        self._holder: dict[str, str] = {}

    def close(self) -> None:
        if not self.keys:
            return
        keys = tuple(sorted(self.keys, key=self._place.__getitem__))
        times = [self._expected[key] for key in keys]
        known = [time for time in times if time is not None]
        after = {
            self._holder[parent]: None
            for key in keys
            for parent in self._plan.steps[key].parents
            if parent in self._holder
        }
        whole = sum(known) if len(known) == len(times) else None
        chunk = Chunk(keys, tuple(after), whole)
        self._holder.update(dict.fromkeys(keys, chunk.id))
        self.chunks.append(chunk)
        self.keys = []


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


def _in_order(plan: Plan, keys: Collection[str]) -> list[str]:
    wanted = set(keys)
    return [key for key in plan.steps if key in wanted]


def _connected(plan: Plan, order: Sequence[str]) -> list[tuple[str, ...]]:
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


def _cut(
    plan: Plan, keys: tuple[str, ...], cost: Mapping[str, float], target: float
) -> Iterator[tuple[str, ...]]:
    """A connected piece in parts that are not too long, parents' parts first.

    Each round leaves at most ``_TRUNK`` of the steps to cut further: linear in all.
    """
    total = sum(cost[key] for key in keys)
    if total <= _OVERLONG * target:
        yield keys
        return
    trunk = _trunk(plan, keys)
    if not 0 < len(trunk) <= _TRUNK * len(keys):
        yield from _stretches(keys, cost, total / math.ceil(total / target))
        return
    for part in ([key for key in keys if key in trunk], [key for key in keys if key not in trunk]):
        for piece in _connected(plan, part):
            yield from _cut(plan, piece, cost, target)


def _trunk(plan: Plan, keys: Sequence[str]) -> set[str]:
    """The steps that several others of ``keys`` read, and the ancestors of these."""
    inside = set(keys)
    readers = Counter(
        parent
        for key in keys
        for parent in dict.fromkeys(plan.steps[key].parents)
        if parent in inside
    )
    trunk: set[str] = set()
    for key in reversed(keys):  # children come before their parents
        if key in trunk or readers[key] > 1:
            trunk.add(key)
            trunk.update(parent for parent in plan.steps[key].parents if parent in inside)
    return trunk


def _stretches(
    keys: Sequence[str], cost: Mapping[str, float], length: float
) -> Iterator[tuple[str, ...]]:
    """Consecutive steps, about ``length`` of cost in each stretch."""
    stretches: dict[int, list[str]] = {}
    before = 0.0
    for key in keys:
        stretches.setdefault(int((before + cost[key] / 2) / length), []).append(key)
        before += cost[key]
    return (tuple(stretch) for stretch in stretches.values())


def _pieces(
    plan: Plan, parts: Iterator[tuple[str, ...]], cost: Mapping[str, float]
) -> Iterator[_Piece]:
    levels: dict[str, int] = {}
    for keys in parts:
        inside = set(keys)
        before = (
            levels[parent]
            for key in keys
            for parent in plan.steps[key].parents
            if parent in levels and parent not in inside
        )
        level = 1 + max(before, default=-1)
        levels.update(dict.fromkeys(keys, level))
        yield _Piece(keys, sum(cost[key] for key in keys), level, _look(plan, keys))
