"""Cutting a run's work list into chunks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from flows.chunk import TARGET, Chunk, pack_chunks
from flows.execution.sizing import StepTimes, chunk_seconds
from flows.execution.work import Missing
from flows.outputs import keyed_outputs
from flows.recipe.step import Plan
from flows.store.record import Record

OUTPUTS = 256  # files in a chunk that makes no picture


def cut(plan: Plan, missing: Missing, sample: Iterable[Record], engines: int) -> tuple[Chunk, ...]:
    """The chunks of what is missing, each after those that make its parents.

    ``sample`` are records of the store, which tell how long steps take.
    """
    times = StepTimes(plan, sample)
    expected = [times.seconds(plan.steps[key]) for key in missing.keys]
    known = [seconds for seconds in expected if seconds is not None]
    target = chunk_seconds(sum(known), engines) if known else TARGET
    outputs = keyed_outputs(plan)
    steps = (
        replace(chunk, outputs=tuple(key for step in chunk.keys for key in outputs.get(step, ())))
        for chunk in pack_chunks(plan, missing.keys, times.seconds, target=target)
    )
    return (*steps, *_of_outputs(plan, missing.outputs))


def _of_outputs(plan: Plan, wanted: Sequence[str]) -> Iterator[Chunk]:
    """Files of pictures that are there; those of one picture together, for it is read once."""
    left = set(wanted)
    pack: list[str] = []
    for own in keyed_outputs(plan).values():
        lacking = [key for key in own if key in left]
        if pack and len(pack) + len(lacking) > OUTPUTS:
            yield Chunk((), (), 0.0, tuple(pack))
            pack = []
        pack.extend(lacking)
    if pack:
        yield Chunk((), (), 0.0, tuple(pack))
