"""Writing a file whole or not at all, over what was there before."""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path


def write_whole(path: Path, data: bytes | str, *, durable: bool = False) -> None:
    """Write ``data`` under ``path`` by a temporary neighbour and a rename, making its folder.

    Most of these files can be made again, so they are not synced one by one; what cannot is asked
    to be ``durable``: there after a power cut once this returns.

    Raises:
        OSError: of the file system; the old file, if any, is intact.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Hidden, and short whatever the final name's length is.
    temporary = path.parent / f".{os.getpid()}-{uuid.uuid4().hex[:12]}.part"
    try:
        with temporary.open("wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        with contextlib.suppress(OSError):  # where the file system can
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
