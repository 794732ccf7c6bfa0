"""What a recipe may read on this machine: one rule for its pictures, tables and what it extends.

A path is taken from the recipe's folder. The file it means must lie in that folder or in the
current one, or below either, or below one of ``inputs.roots`` of the settings: a recipe that was
sent to you reads nothing else. ``..`` is fine as long as it ends inside. What a link inside those
folders points to was put there by their owner.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from flows.problems import did_you_mean
from flows.recipe.node import short
from flows.settings import Settings
from flows.settings.secrecy import masked

# Brings the file that a text means to this path, or tells why not.
Fetch = Callable[[str, Path], str | None]


def absolute(folder: Path, text: str) -> Path:
    """Where a path that a recipe in ``folder`` writes leads."""
    return _absolute(os.getcwd(), folder, text)  # noqa: PTH109 - thousands of times


@functools.lru_cache(maxsize=4096)
def _absolute(here: str, folder: Path, text: str) -> Path:
    # Lexically, so that a link inside the folder stays usable wherever it points.
    return Path(os.path.normpath(os.path.join(here, folder, text)))  # noqa: PTH118


def is_allowed(path: Path, folder: Path, settings: Settings) -> bool:
    """Whether a recipe in ``folder`` may read it."""
    name = os.path.normcase(path)
    for root in (folder, Path(), *settings.inputs.roots):
        top = os.path.normcase(absolute(root, "."))
        # As is_relative_to, in a tenth of the time; both are absolute, without '..'.
        if name == top or name.startswith(os.path.join(top, "")):  # noqa: PTH118
            return True
    return False


def refused(text: str, folder: Path, settings: Settings) -> str | None:
    """Why a recipe in ``folder`` may not read the file ``text``, if it may not."""
    if not text.isprintable():
        return f"'{text}' holds a control character; expected a path; remove the character"
    if "://" in text:
        scheme = masked(text).split("://", 1)[0]
        return (
            f"'{scheme}://' is not read in version 1; expected a file or s3://bucket/key; "
            "download it first"
        )
    if "file" not in settings.inputs.schemes:
        return (
            f"'{short(text)}' is a file, and 'file' is not among inputs.schemes; expected "
            "s3://bucket/key; upload it first or allow it in kontext.toml"
        )
    if is_allowed(absolute(folder, text), folder, settings):
        return None
    return (
        f"'{text}' lies outside the recipe's folder and the current folder; expected a file below "
        "one of them; move it there or start from a folder above it"
    )


def unusable(
    text: str,
    path: Path,
    kind: tuple[str, Sequence[str]],
    folder: Path,
    settings: Settings,
    fetch: Fetch | None,
) -> str | None:
    """Why a recipe in ``folder`` cannot use the file ``text``, which leads to ``path``.

    ``kind`` is what it is to be (``a table``), and how such files end. What ``fetch`` brings lies
    where the recipe does, and has rules of its own.
    """
    if "://" not in text and fetch is None:
        way = os.path.relpath(path, absolute(folder, "."))
        wrong = refused(text if Path(text).is_absolute() else way, folder, settings)
        if wrong is not None:
            return wrong
    return _unreadable(text, path, *kind, fetch)


def _unreadable(
    text: str, path: Path, what: str, endings: Sequence[str], fetch: Fetch | None
) -> str | None:
    listed = f"{', '.join(endings[:-1])} or {endings[-1]}"
    if "://" in text:
        return f"'{masked(text)}' is no file; expected {what} beside this one; download it first"
    if path.suffix.lower() not in endings:
        kind = what.rsplit(maxsplit=1)[-1]
        return f"'{text}' is no {kind}; expected {listed}; save it as one of these"
    if fetch is not None and (wrong := fetch(text, path)) is not None:
        return wrong
    if path.is_file():
        return None
    if path.exists():
        return f"'{text}' is a folder, a pipe or a device; expected {what}; name a file"
    folder = text[: len(text) - len(Path(text).name)]
    try:
        beside = [folder + item.name for item in path.parent.iterdir()]
    except OSError:
        beside = []
    hint = did_you_mean(text, [name for name in beside if name.endswith(tuple(endings))])
    return f"no file '{text}': {hint}" if hint else f"no file '{text}'; expected {what}; check it"
