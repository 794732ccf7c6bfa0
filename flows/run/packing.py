"""Packing pieces into loads of one to five minutes, so that few are left over and none waits long.

Pieces of one level wait for nothing of the same level, so they may be joined in any way. A level
that has less than a minute in all is joined with the beginning of the next one, which waits for it
anyway; the last such level with the end of the one before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate, groupby

from flows.run.pieces import Piece

LEAST = 60.0  # seconds of engine time that a chunk is worth, if there is so much
MOST = 300.0  # seconds; only a single step may take longer
ROOM = MOST - LEAST  # what a piece may be, so that a load that is still too small can take it

SHARE = 6  # loads an engine should get of a run, so that the last ones end about together
USUAL = 160.0  # seconds in a load where there is more than enough work

Load = list[Piece]


def load_seconds(total: float, engines: int) -> float:
    """What a load should hold of ``total`` seconds of work for so many engines.

    A minute at least, so that scheduling it (1 to 2 s) hardly shows; more where each engine gets
    several all the same. Loads turn out longer and shorter than this: hence ``SHARE`` where three
    would do, and ``USUAL`` well below what one may be.
    """
    return min(USUAL, max(LEAST, total / (SHARE * max(1, engines))))


def pack(pieces: Iterable[Piece], target: float) -> list[Load]:
    """All pieces in loads of about ``target`` seconds, none before one that it waits for."""
    loads: list[Load] = []
    waiting: Load = []  # levels that are too small alone
    by_level = sorted(pieces, key=lambda piece: (piece.level, piece.look))
    for _, group in groupby(by_level, key=lambda piece: piece.level):
        found = _filled([*waiting, *group], target, soon=bool(waiting))
        waiting = found[0] if len(found) == 1 and _cost(found[0]) < LEAST else []
        if not waiting:
            loads.extend(found)
    if waiting:
        before = loads.pop() if loads else []
        loads.extend(_halved([*before, *waiting]))
    return loads


def _filled(pieces: Sequence[Piece], target: float, *, soon: bool) -> list[Load]:
    """Loads in the order of the pieces; ``soon``: others wait for the first, so it is short."""
    loads: list[Load] = []
    load: Load = []
    cost, left = 0.0, _cost(pieces)  # of the load, and of it and all that is not loaded yet
    for piece in pieces:
        first = soon and not loads
        if cost < LEAST <= piece.cost and cost + piece.cost > target and not first:
            loads.append([piece])  # it needs none of the small ones, which will find others
            left -= piece.cost
            continue
        # Evenly, so that little is left over; joined where that comes nearer than stopping short.
        wanted = LEAST if first else left / max(1, min(round(left / target), int(left / LEAST)))
        full = cost + piece.cost / 2 > wanted or cost + piece.cost > MOST
        if load and cost >= LEAST and full:
            loads.append(load)
            load, cost, left = [], 0.0, left - cost
        load.append(piece)
        cost += piece.cost
    if loads and cost < LEAST:
        return [*loads[:-1], *_halved([*loads[-1], *load])]
    return [*loads, load]


def _halved(load: Load) -> list[Load]:
    """Two loads where both are worth it or one would be too much; else one.

    The first waits for nothing of the second.
    """
    whole = _cost(load)
    if len(load) < 2:
        return [load]
    firsts = list(accumulate(piece.cost for piece in load[:-1]))
    evenest = max(range(len(firsts)), key=lambda place: min(firsts[place], whole - firsts[place]))
    if whole <= MOST and min(firsts[evenest], whole - firsts[evenest]) < LEAST:
        return [load]
    return [load[: evenest + 1], load[evenest + 1 :]]


def _cost(load: Sequence[Piece]) -> float:
    return sum(piece.cost for piece in load)
