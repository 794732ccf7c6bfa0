"""Cutting a run's work list into chunks: pieces of work for one engine each, to be scheduled.

A chain stays together where it can, so that one engine makes it from end to end; pieces that share
no missing step can be done anywhere, in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from flows.plan.estimate import StepTimes
from flows.plan.step import Plan
from flows.run.look import Look
from flows.run.outputs import keyed_outputs
from flows.run.packing import LEAST, ROOM, load_seconds, pack
from flows.run.pieces import cut_pieces
from flows.run.stages import ChunkSheet
from flows.store.record import Record

COUNT = 16  # steps that count as a minute when nothing has been measured
STEPS = 4096  # in a chunk of the usual length, however quick they are
OUTPUTS = 256  # files in a chunk that makes no picture

Keys = tuple[str, ...]


def cut(
    plan: Plan, seen: Look, sample: Iterable[Record], engines: int, prefix: str
) -> tuple[ChunkSheet, ...]:
    """The chunks of what is missing, ``<prefix>-<number>``, none before one that it comes after.

    Each is worth one to five minutes by the times in ``sample``, records of the store (all there
    is, if that is less; a single step may take longer). Where there is work enough, each of
    ``engines`` gets several, so that none idles while work is ready. Alike steps stand together.
    """
    times = StepTimes(plan, sample)
    rows = [*_of_steps(plan, seen.missing, times, engines), *(((), one) for one in _of_files(seen))]
    width = len(str(len(rows)))
    holder: dict[str, str] = {}
    chunks: list[ChunkSheet] = []
    for number, (keys, files) in enumerate(rows, 1):
        name, inside = f"{prefix}-{number:0{width}d}", set(keys)
        parents = (parent for key in keys for parent in plan.steps[key].parents)
        after = {holder[one] for one in parents if one in holder and one not in inside}
        seconds = times.total(plan.steps[key] for key in keys) if keys else 0.0
        row = ChunkSheet(
            name=name, keys=keys, outputs=files, after=tuple(sorted(after)), seconds=seconds
        )
        chunks.append(row)
        holder.update(dict.fromkeys(keys, name))
    return tuple(chunks)


def _of_steps(
    plan: Plan, missing: Keys, times: StepTimes, engines: int
) -> Iterator[tuple[Keys, Keys]]:
    """Keys of steps, and of their output files, for each chunk."""
    expected = ((key, times.seconds(plan.steps[key])) for key in missing)
    known = {key: LEAST / COUNT if time is None else time for key, time in expected}
    target = load_seconds(sum(known.values()), engines)
    cost = {key: max(time, target / STEPS) for key, time in known.items()}
    place = {key: at for at, key in enumerate(missing)}
    outputs = keyed_outputs(plan)
    for load in pack(cut_pieces(plan, missing, cost, target, ROOM), target):
        keys = tuple(sorted((key for piece in load for key in piece.keys), key=place.__getitem__))
        yield keys, tuple(file for key in keys for file in outputs.get(key, ()))


def _of_files(seen: Look) -> Iterator[Keys]:
    """Files of pictures that are there; those of one picture together, for it is read once."""
    files: Keys = ()
    for step, own in seen.wanted.items():
        if step not in seen.records:
            continue
        if files and len(files) + len(own) > OUTPUTS:
            yield files
            files = ()
        files += tuple(own)
    if files:
        yield files
