"""Prefect's settings for this software, before Prefect is imported. No Prefect here."""

from __future__ import annotations

import os
from pathlib import Path


def prepare_environment() -> None:
    """Prefect's settings for a worker, before Prefect is imported; what people have set stays.

    Results are one word each, and never read; they lie under the user's state folder.
    """
    root = os.environ.get("XDG_STATE_HOME") or str(Path("~/.local/state").expanduser())
    os.environ.setdefault("PREFECT_LOCAL_STORAGE_PATH", str(Path(root) / "kontext" / "results"))
    # Own loops ask again; with five retries waiting callers move half a minute after the return.
    os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", "2")
    os.environ.setdefault("PREFECT_API_REQUEST_TIMEOUT", "15")
