"""A source picture in the store: what a plan has in a file's place once it is read elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field

from flows.store.objects import Objects


class SourceGone(Exception):  # noqa: N818 - a state of the store, named as people name it
    """A source picture is not in the store; the message says what to do."""


@dataclass(frozen=True, slots=True)
class StoredSource:
    """A picture's bytes in ``home`` under ``blobs/<digest>``; ``name`` is the file's it was."""

    name: str
    digest: str
    home: Objects | None = field(default=None, repr=False, compare=False)

    def read_bytes(self) -> bytes:
        """The bytes as they are stored, not verified.

        Raises:
            SourceGone: there are none.
            StoreError: the home fails.
        """
        held = self.home.get(f"blobs/{self.digest}") if self.home is not None else None
        if held is None:
            raise SourceGone("is not in the store any more; start the run again where the file is")
        return held.data
