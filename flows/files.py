"""Writing files of a run's folder: whole or not at all, over what was there before."""

from __future__ import annotations

import os
import uuid
from pathlib import Path


def write_whole(path: Path, data: bytes | str) -> None:
    """Write ``data`` under ``path`` by a temporary neighbour and a rename, making its folder.

    These files can be made again from the store, so they are not synced one by one.

    Raises:
        OSError: of the file system; the old file, if any, is intact.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Hidden, and short whatever the final name's length is.
    temporary = path.parent / f".{os.getpid()}-{uuid.uuid4().hex[:12]}.part"
    try:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
