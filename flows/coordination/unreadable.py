"""What can still be told of a run under way that this release cannot read."""

from __future__ import annotations

import json
from uuid import UUID

from flows.coordination.ledger import FOLDER, Order
from flows.store.claims import ORDER
from flows.store.objects import Objects


def what_is_left(objects: Objects, run: str) -> Order:
    """An order of this name, with its parent if that can be read: enough to tell people.

    Raises:
        StoreError: the store fails.
    """
    held = objects.get(f"{FOLDER}{run}/{ORDER}")
    return Order(
        run=run,
        recipe="",
        plan="",
        flow_run=_parent(held.data) if held is not None else None,
        created="",
    )


def _parent(data: bytes) -> str | None:
    try:
        return str(UUID(json.loads(data)["flow_run"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
