"""The state folder of ``kontext up``: what was begun there, and which processes are its own.

| name | what it is |
|---|---|
| ``kontext-up.json`` | version of this layout, where pictures go, which database, which ports |
| ``environment`` | what a shell needs to work with it; holds the keys of the S3 server |
| ``logs/``, ``run/`` | one log a process; one note a process that runs |
| ``prefect/``, ``s3/``, ``postgres/`` | what the servers keep |
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sqlite3
from pathlib import Path
from typing import IO

from pydantic import BaseModel, ConfigDict, ValidationError

from flows.up import UpError
from flows.up.launch import noted_process

VERSION = 1
SHEET = "kontext-up.json"
LEAST_ROOM = 500 * 10**6  # bytes; less is full before the first batch is through
MOST_PATH = 85  # bytes: a socket lies in it, whose whole path may be 107
FIRST = {"lock", f".{SHEET}.new"}  # what a start that came to nothing may have left
_NEVER = set("\"'`;\\\n\r\0")  # supervisor's configuration would read them otherwise


class Sheet(BaseModel):
    """What a state folder was begun with, and the ports of the last start by their programs."""

    model_config = ConfigDict(extra="forbid")

    version: int = VERSION
    store: str = ""
    """Empty: the S3 server of its own."""
    postgres: bool = False
    ports: dict[str, int] = {}


class StateFolder:
    """One folder; nothing is read or made yet."""

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.abspath(path))  # noqa: PTH100 - a link stays the link it is
        self.shown = str(path)
        self.logs, self.run = self.path / "logs", self.path / "run"
        self._lock: IO[bytes] | None = None

    @property
    def is_ours(self) -> bool:
        """Whether this process has prepared it, so that what runs of it is its own."""
        return self._lock is not None

    def close(self) -> None:
        """Let go of it; what runs of it goes on."""
        if self._lock is not None:
            self._lock.close()

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    # --- starting

    def prepare(self) -> Sheet:
        """Make it, or look whether it can be gone on with; then it is this process's.

        Raises:
            UpError: it is another version's, another's, in use, full or closed.
        """
        if _NEVER & set(str(self.path)) or len(os.fsencode(self.path)) > MOST_PATH:
            raise UpError(
                f"{self.path}: cannot be a state folder; expected a path of at most {MOST_PATH} "
                "bytes without quotes, ';' and '\\'; give another with --state"
            )
        try:
            self.path.mkdir(mode=0o711, parents=True, exist_ok=True)
            sheet = self._sheet()
            self._claim()
            if not (self / SHEET).exists():
                self.keep(sheet)
            for folder in (self.logs, self.run):
                folder.mkdir(mode=0o700, exist_ok=True)
            (self.run / "down").unlink(missing_ok=True)
        except OSError as error:
            raise UpError(
                f"{self.shown}: cannot be written ({error.strerror or error}); expected a folder "
                "with room that this user may write to; clean it up, or give another with --state"
            ) from None
        free = shutil.disk_usage(self.path).free
        if free < LEAST_ROOM:
            raise UpError(
                f"{self.shown}: {free // 10**6} MB are left on its disk; expected "
                f"{LEAST_ROOM // 10**6} MB at least; make room, or give another with --state"
            )
        return sheet

    def keep(self, sheet: Sheet) -> None:
        """Write the sheet anew, whole."""
        new = self / f".{SHEET}.new"
        new.write_text(sheet.model_dump_json(indent=1) + "\n")
        new.replace(self / SHEET)

    def _sheet(self) -> Sheet:
        if self.path.stat().st_uid != os.geteuid():
            raise UpError(
                f"{self.shown}: belongs to another user; expected a folder of your own; give "
                "another with --state"
            )
        file = self / SHEET
        if not file.exists():
            strange = sorted({found.name for found in self.path.iterdir()} - FIRST)
            if strange:
                raise UpError(
                    f"{self.shown}: is no state folder (it holds {strange[0]}); expected an empty "
                    "or a new one; give another with --state"
                )
            return Sheet()
        text = file.read_text("utf-8", "replace")
        try:
            found = Sheet.model_validate_json(text)
        except ValidationError:
            found = None
        if found is None or found.version != VERSION:
            version = f"version {found.version}" if found else "another version, or damaged"
            raise UpError(
                f"{self.shown}: its {SHEET} is {version}; expected version {VERSION}; use the "
                "program that made it, or give another folder with --state"
            )
        return found

    def _claim(self) -> None:
        # The kernel lets go of the lock when this process ends, so nothing stale is left.
        lock = (self / "lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            taken = True
        else:
            taken = self.supervisor() is not None
        if taken:
            lock.close()
            raise UpError(
                f"{self.shown}: runs already; expected one 'kontext up' a state folder; look with "
                "'kontext status', end it with 'kontext down', or give another with --state"
            )
        self._lock = lock

    def check_database(self) -> None:
        """Whether the database that is there is Prefect's.

        Raises:
            UpError: it holds something else.
        """
        file = self / "prefect" / "prefect.db"
        if not file.exists() or file.stat().st_size == 0:
            return
        try:
            with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as found:
                asked = "select name from sqlite_master where type = 'table'"
                names = {name for (name,) in found.execute(asked)}
        except sqlite3.Error as error:
            names = {str(error)}
        if names and not {"alembic_version", "flow_run"} <= names:
            raise UpError(
                f"{file}: is not empty and no database of Prefect's ({min(names)}); expected its "
                "own; move it away, or give another folder with --state"
            )

    # --- who runs

    def note_purpose(self) -> None:
        """Who ends it from now on does so on purpose: whoever stays with it need not be alarmed."""
        with contextlib.suppress(OSError):
            (self.run / "down").touch()

    def stopped_on_purpose(self) -> bool:
        """Whether 'kontext down' has been called since the start."""
        return (self.run / "down").exists()

    def supervisor(self) -> int | None:
        """The number of the supervisor of this folder, if one is alive."""
        try:
            pid = int((self.run / "supervisord.pid").read_text())
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        return pid if os.fsencode(self / "supervisord.conf") in line.split(b"\0") else None

    def processes(self) -> dict[str, int]:
        """The numbers of its programs that are alive, by their names."""
        found = {file.stem: noted_process(file) for file in sorted(self.run.glob("*.pid"))}
        found.pop("supervisord", None)
        return {name: pid for name, pid in found.items() if pid is not None}

    def last_words(self, name: str) -> str:
        """The last line of a program's log."""
        for file in (self.logs / f"{name}.log", self.logs / "starting.log"):
            try:
                with file.open("rb") as log:
                    log.seek(max(0, file.stat().st_size - 4096))
                    lines = log.read().decode("utf-8", "replace").splitlines()
            except OSError:
                continue
            told = [line.strip() for line in lines if line.strip()]
            if told:
                return told[-1][:300]
        return ""
