"""Reading everything: what no run reads, because it takes it for there, is hashed here.

A run looks at records alone (``flows/run/look.py``), so what a disk loses in silence shows
where somebody reads it. This reads all there is, and sets aside what is damaged: the next run that
needs it makes it again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flows.store.keyed import KeyedStore
from flows.store.lanes import LANES, in_lanes
from flows.store.outputs import FOLDER as OUTPUTS
from flows.store.outputs import decode_output_record
from flows.store.record import RecordError

Tell = Callable[[str, int, int], None]  # what is done, how many, of how many


@dataclass(frozen=True, slots=True)
class Verified:
    """How many objects were read, and the names of those that were damaged, each with why."""

    read: int
    damaged: tuple[str, ...]


def verify(store: KeyedStore, tell: Tell) -> Verified:
    """Read and hash all blobs, then hold all records against them.

    Safe beside runs and clean-ups: what changes meanwhile is looked at again, by itself.

    Raises:
        StoreError: the home fails.
    """
    sound: set[str] = set()
    damaged: list[str] = []
    read = 0

    def blob(digest: str) -> str:
        why = store.check_blob(digest)
        if not why:
            sound.add(digest)
        return why

    def record(key: str) -> str:
        held = store.peek(key)
        if (held is not None and held.blob in sound) or store.find(key) is not None:
            return ""
        return "it or its picture is damaged"

    def output(key: str) -> str:
        held = store.objects.get(OUTPUTS + key)
        if held is None:
            return ""
        try:
            if decode_output_record(held.data, key).blob in sound:
                return ""
        except RecordError as error:
            why = str(error)
        else:
            why = "its file is damaged"
        store.objects.remove(OUTPUTS + key, held.version)
        return why

    for prefix, check in (("blobs/", blob), ("records/", record), (OUTPUTS, output)):
        names = [one.name.removeprefix(prefix) for one in store.objects.list(prefix)]
        for done, (name, why) in enumerate(in_lanes(check, names, LANES), 1):
            tell(f"reading {prefix}", done, len(names))
            if why:
                damaged.append(f"{prefix}{name}: {why}")
        read += len(names)
    return Verified(read, tuple(damaged))
