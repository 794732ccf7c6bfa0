"""What a store must keep: whatever a manifest, a living claim or a run under way names.

A claim lives while it is young: its run renews it. A run of several workers takes its claim away
when its worker must end before it does; what it needs is in its stages then (``underway``).

Reading is over-careful on purpose: a manifest, a living claim or the plan of a run under way that
cannot be read makes its reader *blind* (``Needs.blind``), and then nothing that it might have named
may go.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from pydantic import ValidationError

from flows.execution import stages
from flows.gc.underway import LONGEST, StageNeeds, UnderWay, UnderWayReader, unreadable
from flows.listing import PINS
from flows.manifest import FILE_NAME, Manifest, one_large
from flows.store.base import StoreError
from flows.store.claims import Claim, read_claims
from flows.store.lanes import LANES, in_lanes
from flows.store.objects import Entry, Objects
from flows.store.runfolder import RUNS

ORDERS = "orders/"
ORDERED_FOR = LONGEST  # seconds for which what was ordered may wait to be begun

_DIGEST = re.compile(rb"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Named:
    """What one run's manifest names, and the manifest's object."""

    run: str
    manifest: Entry
    keys: frozenset[str]
    blobs: frozenset[str]


@dataclass(frozen=True, slots=True)
class Needs:
    """What must stay, read at one moment.

    ``runs`` are those with a manifest, ``bare`` the folders without one, ``claims`` the living and
    ``dead`` the names of those that are not; ``under_way`` the runs of several workers, ``ordered``
    the blobs of what was ordered. ``blind`` says, for people, what could not be read.
    """

    runs: Mapping[str, Named]
    bare: frozenset[str]
    claims: tuple[Claim, ...]
    dead: frozenset[str]
    pins: frozenset[str]
    blind: tuple[str, ...]
    under_way: UnderWay
    ordered: frozenset[str]
    keys: frozenset[str] = field(init=False)
    blobs: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        claimed = [claim.keys for claim in self.claims]
        keys = self.under_way.keys.union(*(run.keys for run in self.runs.values()), *claimed)
        object.__setattr__(self, "keys", keys)
        # A claim may name blobs among its keys: source pictures that no record names.
        named = (run.blobs for run in self.runs.values())
        blobs = self.under_way.blobs.union(self.ordered, *named, *claimed)
        object.__setattr__(self, "blobs", blobs)

    @property
    def running(self) -> frozenset[str]:
        """Names of runs that hold a living claim."""
        return frozenset(claim.run for claim in self.claims)

    def without(self, runs: Iterable[str]) -> Needs:
        """As if these runs' manifests were gone already."""
        gone = set(runs)
        return replace(self, runs={k: v for k, v in self.runs.items() if k not in gone})


class NeedsReader:
    """Reads ``Needs`` again and again; an unchanged manifest is read once."""

    def __init__(
        self, objects: Objects, grace: float, stage_needs: StageNeeds = stages.needs
    ) -> None:
        self._objects = objects
        self._grace = grace
        self._under_way = UnderWayReader(objects, stage_needs)
        self._known: dict[str, Named] = {}

    def read(self, now: float) -> Needs:
        """What must stay at this moment; ``now`` by the home's clock.

        Claims come first: a run writes its stage under its claim, and takes the claim away only
        afterwards. Then stages and verdicts, then manifests: a run writes its manifest before its
        verdict, and takes its claim away after both.

        Raises:
            StoreError: the home cannot be listed.
        """
        claims, unread = read_claims(self._objects)
        oldest = now - self._grace
        dead = {claim.name for claim in claims if claim.renewed < oldest}
        dead.update(name for name, renewed, _ in unread if renewed < oldest)
        blind = [
            f"{name}: a running run's claim that cannot be read"
            for name, _, _ in unread
            if name not in dead
        ]
        under_way = self._under_way.read(now, self._grace)
        blind += under_way.blind
        ordered = self._ordered(now - ORDERED_FOR)
        pins = frozenset(entry.name.removeprefix(PINS) for entry in self._objects.list(PINS))
        runs: dict[str, Named] = {}
        bare: set[str] = set()
        folders = sorted(self._objects.folders(f"{RUNS}/"))
        for folder, found in in_lanes(self._manifest, folders, LANES):
            if isinstance(found, Named):
                runs[folder] = found
            elif found is None:
                bare.add(folder)
            else:
                blind.append(found)
        self._known = runs
        return Needs(
            runs=runs,
            bare=frozenset(bare),
            claims=tuple(claim for claim in claims if claim.name not in dead),
            dead=frozenset(dead),
            pins=pins,
            blind=tuple(blind),
            under_way=under_way,
            ordered=ordered,
        )

    def _ordered(self, oldest: float) -> frozenset[str]:
        """The blobs of orders: whatever looks like a digest, so that other releases' count too."""
        names = [one.name for one in self._objects.list(ORDERS) if one.modified >= oldest]
        found = in_lanes(self._objects.get, names, LANES)
        texts = (held.data for _, held in found if held is not None)
        return frozenset(digest.decode() for text in texts for digest in _DIGEST.findall(text))

    def _manifest(self, run: str) -> Named | str | None:
        """What the run's manifest names; ``None`` when it has none; why it cannot be read."""
        name = f"{RUNS}/{run}/{FILE_NAME}"
        try:
            entry = self._objects.stat(name)
            if entry is None:
                return None
            known = self._known.get(run)
            if known is not None and known.manifest == entry:
                return known
            with one_large(entry.size):
                return self._named(run, entry)
        except ValidationError as error:
            return f"{name}: not a manifest this version can read ({unreadable(error)})"
        except (StoreError, ValueError) as error:
            return f"{name}: {error}"

    def _named(self, run: str, entry: Entry) -> Named | None:
        held = self._objects.get(entry.name)
        if held is None:
            return None
        manifest = Manifest.model_validate_json(held.data)
        # Written again meanwhile? Then the version tells, and the next look reads it again.
        entry = replace(entry, version=held.version)
        blobs = {step.blob for step in manifest.steps}
        blobs |= {blob for out in manifest.outputs for blob in (out.blob, out.sha256)}
        keys = {step.key for step in manifest.steps} | {out.key for out in manifest.outputs}
        return Named(run, entry, frozenset(keys), frozenset(blob for blob in blobs if blob))
