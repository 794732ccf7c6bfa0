"""Cutting a run's work list into chunks: pieces of work for one engine each, to be scheduled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from flows.chunk import Chunk, in_order
from flows.execution.packing import LEAST, ROOM, pack
from flows.execution.pieces import cut_pieces
from flows.execution.sizing import StepTimes, chunk_seconds
from flows.execution.work import Missing
from flows.outputs import keyed_outputs
from flows.recipe.step import Plan
from flows.store.record import Record

COUNT = 16  # steps that count as a minute when nothing has been measured
STEPS = 4096  # in a chunk of the usual length, however quick they are
OUTPUTS = 256  # files in a chunk that makes no picture


def cut(plan: Plan, missing: Missing, sample: Iterable[Record], engines: int) -> tuple[Chunk, ...]:
    """The chunks of what is missing, none before one that it comes ``after``.

    Each is worth one to five minutes by the times in ``sample``, records of the store (all there
    is, if that is less; a single step may take longer). Where there is work enough, each of
    ``engines`` gets several, so that none idles while work is ready. Alike steps stand together.
    """
    times = StepTimes(plan, sample)
    expected = {key: times.seconds(plan.steps[key]) for key in in_order(plan, missing.keys)}
    return (*_of_steps(plan, expected, engines), *_of_outputs(plan, missing.outputs))


def _of_steps(plan: Plan, expected: Mapping[str, float | None], engines: int) -> Iterator[Chunk]:
    known = {key: LEAST / COUNT if time is None else time for key, time in expected.items()}
    target = chunk_seconds(sum(known.values()), engines)
    cost = {key: max(time, target / STEPS) for key, time in known.items()}
    place = {key: at for at, key in enumerate(expected)}
    outputs = keyed_outputs(plan)
    holder: dict[str, str] = {}
    for load in pack(cut_pieces(plan, list(expected), cost, target, ROOM), target):
        keys = tuple(sorted((key for piece in load for key in piece.keys), key=place.__getitem__))
        inside = set(keys)
        parents = (parent for key in keys for parent in plan.steps[key].parents)
        after = {holder[one]: None for one in parents if one in holder and one not in inside}
        files = tuple(file for key in keys for file in outputs.get(key, ()))
        chunk = Chunk(keys, tuple(after), _sum(expected[key] for key in keys), files)
        holder.update(dict.fromkeys(keys, chunk.id))
        yield chunk


def _sum(times: Iterable[float | None]) -> float | None:
    whole = 0.0
    for time in times:
        if time is None:
            return None
        whole += time
    return whole


def _of_outputs(plan: Plan, wanted: Sequence[str]) -> Iterator[Chunk]:
    """Files of pictures that are there; those of one picture together, for it is read once."""
    left = set(wanted)
    files: list[str] = []
    for own in keyed_outputs(plan).values():
        lacking = [key for key in own if key in left]
        if files and len(files) + len(lacking) > OUTPUTS:
            yield Chunk((), (), 0.0, tuple(files))
            files = []
        files.extend(lacking)
    if files:
        yield Chunk((), (), 0.0, tuple(files))
