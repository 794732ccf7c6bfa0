"""Roots: what a store must keep, as a manifest, a living claim or a run under way names it.

A claim lives while it is young: its run renews it. A run of several workers takes its claim away
when its worker must end before it does; what it needs is in its stages then (``underway``).

Reading is over-careful on purpose: a manifest, a living claim or the plan of a run under way that
cannot be read makes its reader *blind* (``Roots.blind``), and then nothing that it might have named
may go.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from pydantic import ValidationError

from flows.decisions.decision import FOLDER as DECISIONS
from flows.decisions.decision import Decision, decode
from flows.decisions.ledger import replay
from flows.gc.kinds import ORDERED_FOR
from flows.gc.reading import Reader
from flows.gc.underway import Keys, UnderWay, UnderWayReader, unreadable
from flows.pull.listing import PINS, RUN_NAME
from flows.run.manifest import FILE_NAME, Manifest
from flows.store.base import StoreError
from flows.store.claims import Claim, read_claims
from flows.store.lanes import LANES, in_lanes
from flows.store.objects import Entry, Objects
from flows.store.runfolder import RUNS

ORDERS = "orders/"

_DIGEST = re.compile(rb"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run: when its manifest was written, and the keys and blobs that it names."""

    written: float
    named: Keys


@dataclass(frozen=True)
class Roots:
    """What must stay, read at one moment.

    ``runs`` are those with a manifest, ``bare`` the folders without one, ``claims`` the living and
    ``dead`` the names of those that are not; ``under_way`` the runs of several workers, ``ordered``
    the blobs of what was ordered, ``decided`` the keys that hands' decisions in force speak of.
    ``blind`` says, for people, what could not be read.
    """

    runs: Mapping[str, Run]
    bare: frozenset[str]
    claims: tuple[Claim, ...]
    dead: frozenset[str]
    pins: frozenset[str]
    blind: tuple[str, ...]
    under_way: UnderWay
    ordered: frozenset[str]
    decided: frozenset[str] = frozenset()

    @cached_property
    def keys(self) -> frozenset[str]:
        """The keys of steps."""
        named = (run.named[0] for run in self.runs.values())
        claimed = (claim.keys for claim in self.claims)
        return self.under_way.keys.union(self.decided, *named, *claimed)

    @cached_property
    def blobs(self) -> frozenset[str]:
        """The blobs that are named as such; a claim's keys may be source pictures."""
        named = (run.named[1] for run in self.runs.values())
        claimed = (claim.keys for claim in self.claims)
        return self.under_way.blobs.union(self.ordered, *named, *claimed)

    @cached_property
    def running(self) -> frozenset[str]:
        """Names of runs that hold a living claim."""
        return frozenset(claim.run for claim in self.claims)

    def may_drop(self, run: str) -> bool:
        """Whether a folder is a run's, and the run neither pinned nor running.

        What else people keep under ``runs/`` is not ours.
        """
        known = RUN_NAME.fullmatch(run) is not None
        return known and run not in self.pins and run not in self.running

    def may_expire(self, run: str, oldest: float) -> bool:
        """Whether a finished run is old and neither pinned nor running."""
        found = self.runs.get(run)
        return found is not None and found.written < oldest and self.may_drop(run)

    def without(self, gone: Collection[str]) -> Roots:
        """As if these runs' manifests were gone already."""
        return replace(self, runs={k: v for k, v in self.runs.items() if k not in gone})


class RootReader:
    """Reads ``Roots`` again and again; an unchanged manifest is read once."""

    def __init__(self, objects: Objects, grace: float) -> None:
        self._objects = objects
        self._grace = grace
        self._under_way = UnderWayReader(objects)
        self._manifests = Reader(objects, _of_manifest)
        self._decisions = Reader(objects, lambda data, _: decode(data, None))

    def read(self, now: float) -> Roots:
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
        decided, damaged = self._decided()
        blind += damaged
        ordered = self._ordered(now - ORDERED_FOR)
        pins = frozenset(entry.name.removeprefix(PINS) for entry in self._objects.list(PINS))
        folders = sorted(self._objects.folders(f"{RUNS}/"))
        found = dict(in_lanes(self._run, folders, LANES))
        blind += (told for told in found.values() if isinstance(told, str))
        return Roots(
            runs={name: run for name, run in found.items() if isinstance(run, Run)},
            bare=frozenset(name for name, run in found.items() if run is None),
            claims=tuple(claim for claim in claims if claim.name not in dead),
            dead=frozenset(dead),
            pins=pins,
            blind=tuple(blind),
            under_way=under_way,
            ordered=ordered,
            decided=decided,
        )

    def _decided(self) -> tuple[frozenset[str], list[str]]:
        """What hands have picked, approved or rejected and not undone, of every recipe; and what
        cannot be read of it.
        """
        slots: dict[str, list[Decision]] = {}
        blind: list[str] = []
        listed = list(self._objects.list(f"{DECISIONS}hands/"))
        for _, told in in_lanes(self._decision, listed, LANES):
            if isinstance(told, str):
                blind.append(told)
            elif told is not None:
                slots.setdefault(f"{told.slot.digest} {told.file}", []).append(told)
        keys: set[str] = set()
        for row in slots.values():
            state = replay(sorted(row, key=lambda one: one.number))
            if state.pick is not None and state.pick.key is not None:
                keys.add(state.pick.key)
            keys |= state.approved.keys() | state.rejected.keys()
        return frozenset(keys), blind

    def _decision(self, entry: Entry) -> Decision | str | None:
        try:
            return self._decisions.read(entry)
        except ValueError as why:
            return f"{entry.name}: a decision that {why}"

    def _ordered(self, oldest: float) -> frozenset[str]:
        """The blobs of orders: whatever looks like a digest, so that other releases' count too."""
        names = [one.name for one in self._objects.list(ORDERS) if one.modified >= oldest]
        found = in_lanes(self._objects.get, names, LANES)
        texts = (held.data for _, held in found if held is not None)
        return frozenset(digest.decode() for text in texts for digest in _DIGEST.findall(text))

    def _run(self, run: str) -> Run | str | None:
        """A run by its manifest; ``None`` when it has none; why it cannot be read."""
        name = f"{RUNS}/{run}/{FILE_NAME}"
        try:
            entry = self._objects.stat(name)
            named = None if entry is None else self._manifests.read(entry)
        except ValidationError as error:
            return f"{name}: not a manifest this version can read ({unreadable(error)})"
        except (StoreError, ValueError) as error:
            return f"{name}: {error}"
        return None if entry is None or named is None else Run(entry.modified, named)


def _of_manifest(data: bytes, _: str) -> Keys:
    manifest = Manifest.model_validate_json(data)
    blobs = {step.blob for step in manifest.steps}
    blobs |= {blob for out in manifest.outputs for blob in (out.blob, out.sha256)}
    keys = {step.key for step in manifest.steps} | {out.key for out in manifest.outputs}
    return frozenset(keys), frozenset(blob for blob in blobs if blob)
