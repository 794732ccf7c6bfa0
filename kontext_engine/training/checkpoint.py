"""Atomic training checkpoints: a killed trainer always finds the last whole one.

Torch's own pickle format is read with ``weights_only``: nothing in a checkpoint is executed.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from kontext_engine.training.errors import TrainingError

_NAME = re.compile(r"step-(\d{8})\.pt")
KEEP = 2


def save(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write ``state`` as ``folder/step-00000123.pt``; the newest two are kept.

    Raises:
        OSError: no space or no rights; the former checkpoint is untouched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"step-{step:08d}.pt"
    draft = folder / f".{final.name}.{os.getpid()}"
    try:
        with draft.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(final)
    finally:
        draft.unlink(missing_ok=True)
    for _, old in listed(folder)[:-KEEP]:
        old.unlink(missing_ok=True)
    return final


def listed(folder: Path) -> list[tuple[int, Path]]:
    """(step, path) of every checkpoint, oldest first."""
    found = [(int(m[1]), p) for p in folder.glob("step-*.pt") if (m := _NAME.fullmatch(p.name))]
    return sorted(found)


def load_newest(folder: Path) -> dict[str, Any] | None:
    """The newest checkpoint's state on the CPU, or ``None`` where there is none.

    Raises:
        TrainingError: it is damaged; the message names the one before it.
    """
    found = listed(folder)
    if not found:
        return None
    path = found[-1][1]
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, KeyError, ValueError, UnpicklingError) as error:
        reason = (str(error).splitlines() or [""])[0]
        rest = f"goes on from step {found[-2][0]}" if len(found) > 1 else "begins anew"
        raise TrainingError(
            f"{path}: not a whole checkpoint ({type(error).__name__}: {reason}); delete it, and "
            f"the same command {rest}"
        ) from error
    return state
