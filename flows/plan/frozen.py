"""Frozen dataclasses of which a plan makes hundreds of thousands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

__all__ = ["many"]

if TYPE_CHECKING:
    from dataclasses import dataclass as many
else:

    def many(*, frozen: bool, slots: bool):
        """``dataclass``, and types are checked as for it; at run time nothing keeps a field from
        being written to: a frozen one takes three times as long to make.
        """
        return dataclass(slots=slots, unsafe_hash=frozen)
