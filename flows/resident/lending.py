"""Who gets which engine next: by priority, then by arrival, with an eye on what is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flows.resident.messages import Model
from flows.resident.process import EngineProcess

PATIENCE = 4  # how often one may be passed over by later ones of its priority


@dataclass(slots=True, eq=False)
class Waiter:
    """Somebody who waits for an engine that holds (or is to load) ``model``.

    A lower ``priority`` goes first. ``engine`` is the number of the one lent, ``lent`` its process
    at that moment: when that dies before its borrower has woken, another has the number.
    ``passed`` is how often a later one was served before, because it wanted what an engine held.
    """

    model: Model
    priority: int
    arrival: int
    engine: int | None = None
    lent: EngineProcess | None = None
    passed: int = 0
    cancelled: bool = False

    @property
    def turn(self) -> tuple[int, int]:
        """Sorts by who is first."""
        return (self.priority, self.arrival)


def next_loan(waiting: Sequence[Waiter], idle: Mapping[int, Model | None]) -> Waiter | None:
    """Lend one of the ``idle`` engines (by number, with what each holds); who got it.

    The first in turn gets the engine that holds its model, else an empty one. If both would cost
    a load, one of the same priority who needs none goes before it, at most ``PATIENCE`` times;
    so two models' work does not make two engines swap at every turn.
    """
    if not waiting or not idle:
        return None
    first = min(waiting, key=lambda waiter: waiter.turn)
    choice = _suited(first.model, idle)
    if choice is None and first.passed < PATIENCE:
        for waiter in sorted(waiting, key=lambda waiter: waiter.turn):
            fit = _holding(waiter.model, idle)
            if waiter.priority == first.priority and fit is not None:
                first.passed += 1
                waiter.engine = fit
                return waiter
    first.engine = choice if choice is not None else min(idle)
    return first


def _suited(model: Model, idle: Mapping[int, Model | None]) -> int | None:
    holding = _holding(model, idle)
    if holding is not None:
        return holding
    return next((number for number, held in idle.items() if held is None), None)


def _holding(model: Model, idle: Mapping[int, Model | None]) -> int | None:
    return next((number for number, held in idle.items() if held == model), None)
