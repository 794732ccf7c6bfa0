"""What may go of a store, by kind, and how old it must be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

WEEK = 7 * 24 * 3600.0
ORDERED_FOR = 30 * 24 * 3600.0  # seconds for which what was ordered may wait to be begun


class Kind(StrEnum):
    """What may go, in the order in which it goes."""

    RUNS = "expired runs"
    UNFINISHED = "unfinished runs"
    CLAIMS = "claims of dead runs"
    QUARANTINE = "quarantine"
    LEFTOVERS = "leftovers"
    FORMER = "leftovers of an earlier release"
    UPLOADS = "unfinished uploads"
    STAGES = "plans of ended runs"
    VERDICTS = "verdicts of ended runs"
    ORDERS = "ordered recipes"
    FAILURES = "failure notes"
    OUTPUTS = "records of output files"
    RECORDS = "records"
    THUMBS = "thumbnails"
    BLOBS = "blobs"

    @property
    def is_clear(self) -> bool:
        """Whether nobody's result depends on it: it may go even where roots are unknown."""
        return self not in _RESULTS


_RESULTS = frozenset(
    {
        *(Kind.RUNS, Kind.UNFINISHED, Kind.FAILURES, Kind.OUTPUTS),
        *(Kind.RECORDS, Kind.THUMBS, Kind.BLOBS),
    }
)


@runtime_checkable
class Uploads(Protocol):
    """A home in which uploads in parts stay, if not completed, until somebody gives them up."""

    def abandoned(self, older_than: float) -> Iterator[Any]:
        """Those begun more than so many seconds ago."""

    def abort(self, upload: Any) -> None:
        """Give one up."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How old (seconds, by the home's clock) something must be to go.

    ``runs_older`` ``None`` keeps every finished run. ``grace`` must be at least twice the store's
    ``touch_after``: a picture that a new record names is at most that old when it is named.
    """

    grace: float = WEEK
    runs_older: float | None = None

    @property
    def fresh(self) -> float:
        """Seconds for which a reading of all records may be used."""
        return self.grace / 4

    def age(self, kind: Kind) -> float:
        """How old one of this kind must be."""
        return max(self.grace, ORDERED_FOR) if kind is Kind.ORDERS else self.grace
