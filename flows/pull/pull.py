"""Pulling a run: its folder, brought from a store to a place of this machine.

Outputs are compared with, and verified by, the digests in the manifest. Thumbnails, the report and
the recipe have none; of them, ``.kontext-pull.json`` in the target remembers which version was
pulled with which digest. A file is written whole or not at all, ``manifest.json`` last: where it
is, everything that it names is. So pulling again fetches only what is missing or differs, after
whatever end.

The store is not trusted: a name that leaves the target, by its parts or through a link in the
target, is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from flows.pull.part import Part, Wanted, delivered
from flows.pull.target import Memory, PullError, Refused, clean, inside, target_errors
from flows.run.manifest import FILE_NAME as MANIFEST
from flows.run.manifest import parse_manifest
from flows.store.base import NameLeaves
from flows.store.objects import Held, Objects
from flows.store.runfolder import RUNS
from kontext_engine.files import write_whole

JOBS = 16
_TURNS = 3  # how often a run may change while it is pulled

Tell = Callable[["PullProgress"], None]


@dataclass(frozen=True, slots=True)
class PullProgress:
    """How far a pull is."""

    files: int
    of_files: int
    bytes: int
    of_bytes: int


def ignore(progress: PullProgress) -> None:
    """Tell nobody."""


@dataclass
class Pulled:
    """What came of a pull. ``fetched`` are paths, ``problems`` lines for people."""

    run: str
    target: Path
    files: int = 0
    fetched: list[str] = field(default_factory=list)
    bytes: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def there(self) -> int:
        """Files that were there already."""
        return self.files - len(self.fetched) - len(self.problems)


def pull(
    objects: Objects,
    run: str,
    target: Path,
    *,
    prefix: str = "",
    since: str = "",
    only_approved: bool = False,
    jobs: int = JOBS,
    tell: Tell = ignore,
) -> Pulled:
    """Bring ``run`` to ``target``, so that both hold the same; files of others there stay.

    With ``prefix`` only the outputs whose path begins so, with ``since``, another run, only those
    that it does not have the same, with ``only_approved`` only those whose pictures are approved as
    they are; in all three cases neither page nor manifest.

    Raises:
        PullError: there is no such run or output, or the target cannot be written.
        ManifestError: this version cannot read the run's manifest.
        StoreError: the store fails as a whole.
    """
    before = delivered(objects, since) if since else None
    for _ in range(_TURNS):
        held = objects.get(f"{RUNS}/{run}/{MANIFEST}")
        if held is None:
            raise PullError(
                f"{objects.where}/{RUNS}/{run}: no {MANIFEST} here, so this run has not ended; "
                "expected a finished run; wait for it, or run its recipe again"
            )
        turn = _Pull(objects, run, target, held, Part(prefix, before, only_approved), tell)
        done = turn.work(jobs)
        if not turn.outdated:
            return done
    done.files += 1
    done.problems.append(
        f"{objects.where}/{RUNS}/{run}/{MANIFEST}: was written anew each of {_TURNS} times that it "
        "was pulled; expected a run that stays as it is; wait until nobody runs it, then pull again"
    )
    return done


class _Pull:
    """One pass over the run as one version of its manifest tells it.

    ``outdated`` afterwards: the manifest was written anew meanwhile, so what was fetched may be
    partly of the one publication and partly of the other; the target's manifest is not written.
    """

    def __init__(
        self, objects: Objects, run: str, target: Path, held: Held, part: Part, tell: Tell
    ) -> None:
        self._objects = objects
        self._folder = f"{RUNS}/{run}/"
        self._target = target
        self._held = held
        self._part = part
        self._tell = tell
        self._manifest = parse_manifest(held.data, f"{objects.where}/{self._folder}{MANIFEST}")
        self._memory = Memory(target)
        self._done = Pulled(run, target)
        self.outdated = False

    def work(self, jobs: int) -> Pulled:
        with target_errors(self._target):
            self._target.mkdir(parents=True, exist_ok=True)
            clean(self._target)
            self._memory.read()
            chosen = self._part.of(self._objects, self._folder, self._manifest)
            self._done.files += len(chosen.wanted) + len(chosen.problems)
            self._done.problems += chosen.problems
            self._done.notes += chosen.notes
            try:
                self._fetch_all(chosen.wanted, jobs)
            finally:
                self._memory.write()
            now = self._objects.stat(self._folder + MANIFEST)
            self.outdated = now is not None and now.version != self._held.version
            if self._part.is_all and not self.outdated:
                self._finish()
        return self._done

    def _fetch_all(self, wanted: Sequence[Wanted], jobs: int) -> None:
        total, came = sum(item.size for item in wanted), 0
        pool = ThreadPoolExecutor(max(1, min(jobs, len(wanted))), thread_name_prefix="pull")
        try:
            futures = {pool.submit(self._fetch, item): item for item in wanted}
            for ended, future in enumerate(as_completed(futures), 1):
                item = futures[future]
                try:
                    self._note(item.path, future.result())
                except (NameLeaves, Refused) as why:
                    self._done.problems.append(str(why))
                came += item.size
                self._tell(PullProgress(ended, len(wanted), came, total))
        finally:
            pool.shutdown(cancel_futures=True)

    def _note(self, path: str, fetched: int | None) -> None:
        if fetched is not None:
            self._done.fetched.append(path)
            self._done.bytes += fetched

    def _fetch(self, item: Wanted) -> int | None:
        """Fetch one file unless it is there; how many bytes.

        Raises:
            Refused, NameLeaves: it cannot be brought, and the others can.
        """
        where = f"{self._objects.where}/{self._folder}{item.path}"
        path = inside(self._target, item.path)
        if self._is_there(item, path):
            return None
        held = self._objects.get(self._folder + item.path)
        if held is None:
            raise Refused(f"{where}: is missing; run its recipe again to write it anew")
        digest = hashlib.sha256(held.data).hexdigest()
        if item.sha256 and digest != item.sha256:
            raise Refused(
                f"{where}: is damaged: it has another digest than the manifest names; not "
                "written; run its recipe again to write it anew"
            )
        try:
            write_whole(path, held.data)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as why:
            raise Refused(
                f"{path}: {(why.strerror or str(why)).lower()}; move what is in the way"
            ) from None
        if not item.sha256:
            self._memory.remember(item.path, held.version, digest)
        return len(held.data)

    def _is_there(self, item: Wanted, path: Path) -> bool:
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return False
        return digest == item.sha256 or self._memory.knows(item.path, item.version, digest)

    def _finish(self) -> None:
        """The manifest, once everything that it names is there."""
        self._done.files += 1
        try:
            path = inside(self._target, MANIFEST)
        except Refused as why:
            self._done.problems.append(str(why))
            return
        if self._done.problems:
            self._done.problems.append(
                f"{path}: not written, because not everything that it names is there"
            )
        elif not (path.is_file() and path.read_bytes() == self._held.data):
            write_whole(path, self._held.data)
            self._note(MANIFEST, len(self._held.data))
