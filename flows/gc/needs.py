"""What a store must keep: whatever a manifest or a living claim names.

A claim lives while it is young, or while its run is under way for several workers: their
coordinator, which renews it, may be away for longer than any grace period.

Reading is over-careful on purpose: a manifest or a living claim that cannot be read, or a run under
way without a claim, makes its reader *blind* (``Needs.blind``), and then nothing that it might have
named may go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from pydantic import ValidationError

from flows.listing import PINS
from flows.manifest import FILE_NAME, Manifest, one_large
from flows.store.base import StoreError
from flows.store.claims import FOLDER as CLAIMS
from flows.store.claims import ORDER, UNDER_WAY, Claim, is_under_way, read_claims
from flows.store.lanes import LANES, in_lanes
from flows.store.objects import Entry, Objects
from flows.store.record import RecordError, decode_record
from flows.store.runfolder import RUNS


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
    ``dead`` the names of those that are not; ``blind`` says, for people, what could not be read.
    """

    runs: Mapping[str, Named]
    bare: frozenset[str]
    claims: tuple[Claim, ...]
    dead: frozenset[str]
    pins: frozenset[str]
    blind: tuple[str, ...]
    keys: frozenset[str] = field(init=False)
    blobs: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        keys = frozenset().union(
            *(run.keys for run in self.runs.values()), *(claim.keys for claim in self.claims)
        )
        object.__setattr__(self, "keys", keys)
        # A claim may name blobs among its keys: source pictures that no record names.
        claimed = (claim.keys for claim in self.claims)
        blobs = frozenset().union(*(run.blobs for run in self.runs.values()), *claimed)
        object.__setattr__(self, "blobs", blobs)

    @property
    def running(self) -> frozenset[str]:
        """Names of runs that hold a living claim."""
        return frozenset(claim.run for claim in self.claims)

    def without(self, runs: Iterable[str]) -> Needs:
        """As if these runs' manifests were gone already."""
        gone = set(runs)
        left = {name: run for name, run in self.runs.items() if name not in gone}
        return Needs(left, self.bare, self.claims, self.dead, self.pins, self.blind)


class NeedsReader:
    """Reads ``Needs`` again and again; an unchanged manifest is read once."""

    def __init__(self, objects: Objects, grace: float) -> None:
        self._objects = objects
        self._grace = grace
        self._known: dict[str, Named] = {}

    def read(self, now: float) -> Needs:
        """What must stay at this moment; ``now`` by the home's clock.

        Orders of runs under way come first: one that is entered later has a young claim by then.
        Claims come before manifests: a run writes its manifest before it takes its claim away.

        Raises:
            StoreError: the home cannot be listed.
        """
        under_way = self._under_way(self._objects.folders(UNDER_WAY))
        claims, unreadable = read_claims(self._objects)
        oldest = now - self._grace
        dead = {
            claim.name for claim in claims if claim.renewed < oldest and claim.run not in under_way
        }
        if not under_way:  # else it may be the claim of one of these
            dead.update(name for name, renewed, _ in unreadable if renewed < oldest)
        blind = [
            f"{name}: a running run's claim that cannot be read"
            for name, _, _ in unreadable
            if name not in dead
        ]
        # Asked again: a run that has ended meanwhile took its claim away after its order.
        bereft = self._under_way(under_way - {claim.run for claim in claims})
        blind += (
            f"{UNDER_WAY}{run}/{ORDER}: a run under way that no claim protects; expected one in "
            f"{CLAIMS}; start this store's coordinator, which makes it anew"
            for run in sorted(bereft)
        )
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
        alive = tuple(claim for claim in claims if claim.name not in dead)
        return Needs(runs, frozenset(bare), alive, frozenset(dead), pins, tuple(blind))

    def _under_way(self, runs: Iterable[str]) -> frozenset[str]:
        """Those of them that are under way; in a folder, the empty folders of ended ones stay."""

        def has_order(run: str) -> bool:
            try:
                return is_under_way(self._objects, run)
            except ValueError:  # not what a run may be called
                return False

        return frozenset(run for run, has in in_lanes(has_order, runs, LANES) if has)

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
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            return f"{name}: not a manifest this version can read ({where}: {first['msg']})"
        except (StoreError, ValueError) as error:
            return f"{name}: {error}"

    def _named(self, run: str, entry: Entry) -> Named | None:
        held = self._objects.get(entry.name)
        if held is None:
            return None
        manifest = Manifest.model_validate_json(held.data)
        # Written again meanwhile? Then the version tells, and the next look reads it again.
        entry = replace(entry, version=held.version)
        blobs = {step.blob for step in manifest.steps} | {out.blob for out in manifest.outputs}
        keys = {step.key for step in manifest.steps} | {out.key for out in manifest.outputs}
        return Named(run, entry, frozenset(keys), frozenset(blob for blob in blobs if blob))


class RecordIndex:
    """Which blob each record names; a record is read once per version."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._versions: dict[str, str] = {}
        self._blobs: dict[str, str | None] = {}

    def read(self, entries: Iterable[Entry], tell: Callable[[int], None]) -> None:
        """Take these records into account, and forget what is not among them."""
        wanted = {entry.name: entry for entry in entries}
        new = [name for name, entry in wanted.items() if self._versions.get(name) != entry.version]
        for name in set(self._blobs) - set(wanted):
            del self._blobs[name]
            self._versions.pop(name, None)
        for done, (name, blob) in enumerate(in_lanes(self._blob, new, LANES), 1):
            self._blobs[name] = blob
            self._versions[name] = wanted[name].version
            tell(done)

    def add(self, names: Iterable[str]) -> None:
        """Read these records too, unless they are known."""
        new = [name for name in names if name not in self._blobs]
        self._blobs.update(in_lanes(self._blob, new, LANES))

    def blobs(self) -> frozenset[str]:
        """The blobs that the records name."""
        return frozenset(blob for blob in self._blobs.values() if blob is not None)

    def _blob(self, name: str) -> str | None:
        # A record that is damaged or gone keeps nothing: its key is not done.
        held = self._objects.get(name)
        if held is None:
            return None
        try:
            return decode_record(held.data, name.rpartition("/")[2]).blob
        except RecordError:
            return None
