"""How attempts get to workers: the conductor's only way to the scheduler. Prefect is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Protocol

from flows.coordination.ledger import AttemptName, Order
from flows.coordination.standing import Standing


class Delivery(StrEnum):
    """Where the scheduler has an attempt."""

    WAITING = "waiting"  # in a queue; no worker has it
    RUNNING = "running"  # a worker says that it has it
    GONE = "gone"  # ended, or never heard of


class DispatchError(Exception):
    """The scheduler cannot be asked now; nothing is lost, and it is asked again."""


class Dispatcher(Protocol):
    """Every method may raise ``DispatchError``; all may be repeated."""

    def send(self, order: Order, attempts: Sequence[AttemptName]) -> None:
        """See to it that each of these is in the queue once, however often it is sent."""

    def where(
        self, order: Order, attempts: Sequence[AttemptName]
    ) -> Mapping[AttemptName, Delivery]:
        """Where each of these is now."""

    def recall(self, order: Order, attempts: Sequence[AttemptName]) -> None:
        """Stop these; what has not begun never begins."""

    def wants_to_stop(self, order: Order) -> bool:
        """Whether a person has cancelled the run."""

    def tell(self, order: Order, standing: Standing) -> None:
        """Show people how far the run is."""

    def refuse(self, order: Order, why: str) -> None:
        """The run cannot be gone on with; show people why. Of its order only the names count."""

    def finished(self, order: Order, standing: Standing, report: str) -> None:
        """The run has ended; show people how."""
