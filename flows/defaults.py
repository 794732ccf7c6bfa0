"""What a run is given when nobody says otherwise. Light: the command line reads it at its start."""

from __future__ import annotations

from pathlib import Path

DEFAULT_OUT = Path("out")
DEFAULT_BATCH = 8
