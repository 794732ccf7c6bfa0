"""Pieces: connected parts of what is missing that one engine makes from end to end.

A piece that is too long is cut where several branches leave it: what they share becomes a piece of
its own, is made once, and the branches come after it. One without branches (a long chain) is cut
into even stretches, each after the one before.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from flows.plan.step import Plan, Step

_OVERLONG = 1.5  # times the target; what is shorter is not worth cutting
_TRUNK = 0.75  # of a piece's steps; a larger shared part leaves too little beside it


@dataclass(frozen=True, slots=True)
class Piece:
    """Steps that are not cut any further, in the plan's order; ``cost`` in seconds.

    ``level`` counts the pieces that must come before; ``look`` is equal for pieces whose requests
    can share batches.
    """

    keys: tuple[str, ...]
    cost: float
    level: int
    look: tuple[str, ...]


def cut_pieces(
    plan: Plan, order: Sequence[str], cost: Mapping[str, float], target: float, most: float
) -> Iterator[Piece]:
    """The pieces of ``order``, none before one that it waits for.

    They are about ``target`` seconds long or shorter, and longer than ``most`` only where one step
    is.
    """
    parts = (
        part for keys in connected(plan, order) for part in _cut(plan, keys, cost, target, most)
    )
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
        look = tuple(shape_hint(plan.steps[key]) for key in keys)
        yield Piece(keys, sum(cost[key] for key in keys), level, look)


def _cut(
    plan: Plan, keys: tuple[str, ...], cost: Mapping[str, float], target: float, most: float
) -> Iterator[tuple[str, ...]]:
    """A connected piece in parts that are not too long, parents' parts first.

    Each round leaves at most ``_TRUNK`` of the steps to cut further: linear in all.
    """
    total = sum(cost[key] for key in keys)
    if total <= min(_OVERLONG * target, most):
        yield keys
        return
    trunk = _trunk(plan, keys)
    if not 0 < len(trunk) <= _TRUNK * len(keys):
        count = max(math.floor(total / target), math.ceil(total / most))
        yield from _stretches(keys, cost, total / count)
        return
    for part in ([key for key in keys if key in trunk], [key for key in keys if key not in trunk]):
        for piece in connected(plan, part):
            yield from _cut(plan, piece, cost, target, most)


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


def shape_hint(step: Step) -> str:
    """What is known of a request's shape before its pictures are opened; equal is batchable."""
    params = step.params
    cfg = params.true_cfg > 1.0
    return f"{params.steps} {params.size or 'match'} {len(step.contexts)} {params.fit} {cfg}"


def connected(plan: Plan, order: Sequence[str]) -> list[tuple[str, ...]]:
    """The connected pieces of ``order``, each in its order. Takes time by ``order`` alone.

    Steps that are done connect nothing: two chains that grow from one stored picture are two.
    """
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
