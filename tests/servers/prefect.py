"""A real Prefect server for the tests: loopback, its own port and home, analytics off.

``with Prefect(folder) as server`` starts and stops it; ``kill9`` and ``start`` again keep port and
data. ``database`` is a SQLAlchemy address (``Postgres.url``); without one it is SQLite's. With
``auth`` (user:password) it lets nobody else in.
"""

from __future__ import annotations

import http.client
import os
import sys
import urllib.request
from pathlib import Path

from .process import HOST, Service


class Prefect(Service):
    """One server; ``folder`` holds its home, its log and, with SQLite, its data."""

    READY_SECONDS = 600.0  # its first start makes the tables: 10 s, or minutes on a busy machine

    def __init__(
        self, folder: Path, database: str | None = None, *, ui: bool = False, auth: str = ""
    ) -> None:
        super().__init__("server", folder)
        self.auth = auth
        self._database = database
        self._ui = ui

    @property
    def api(self) -> str:
        """Its ``PREFECT_API_URL``; ``PrefectClient(server.api)`` asks it, whatever is set."""
        return f"http://{HOST}:{self.port}/api"

    @property
    def environment(self) -> dict[str, str]:
        """Variables for another process that is to use it."""
        return {
            "PREFECT_API_URL": self.api,
            "PREFECT_HOME": str(self.folder / "client"),
            **({"PREFECT_API_AUTH_STRING": self.auth} if self.auth else {}),
            **QUIET,
        }

    def _launch(self) -> None:
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        database = self._database or f"sqlite+aiosqlite:///{home / 'prefect.db'}"
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(home),
            "PREFECT_HOME": str(home),
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": database,
            "PREFECT_SERVER_UI_ENABLED": str(self._ui).lower(),
            "PREFECT_API_URL": self.api,
            **({"PREFECT_SERVER_API_AUTH_STRING": self.auth} if self.auth else {}),
            **QUIET,
        }
        command = [
            *(sys.executable, "-m", "prefect", "server", "start"),
            *("--host", HOST, "--port", str(self.port), "--analytics-off"),
        ]
        self.launch(command, environment, self.folder)

    def _is_ready(self) -> bool:
        try:
            url = f"{self.api}/ready"
            with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own
                return answer.status == 200
        except (OSError, http.client.HTTPException):
            return False


# Nothing leaves the machine, and nothing of the machine's own settings comes in.
QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    "PREFECT_CLI_PROMPT": "false",
    "NO_PROXY": HOST,
    "no_proxy": HOST,
}
