"""``kontext.toml``: where it is found, what it says, and at which line each name stands.

It is looked for in the current folder and then in its parents, up to the first that holds a
``.git`` or is the home folder. ``KONTEXT_CONFIG`` names another file, or none when it is empty.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.recipe.errors import Mark, Problem
from flows.settings import SettingsError

FILE_NAME = "kontext.toml"
CONFIG_VARIABLE = "KONTEXT_CONFIG"
MAX_BYTES = 64 * 1024

Names = tuple[str, ...]

_PART = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_KEY = re.compile(rf"[ \t]*(?P<key>{_PART}(?:[ \t]*\.[ \t]*{_PART})*)[ \t]*=[ \t]*")
_TEXT = re.compile(r"""\"(?:\\.|[^"\\])*\"|'[^']*'""")
_AT = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a name and its value stand."""

    name: Mark
    value: Mark


@dataclass(frozen=True, slots=True)
class TomlFile:
    """A file as read: ``shown`` is what messages call it."""

    path: Path
    shown: str
    data: Mapping[str, Any]
    places: Mapping[Names, Place]

    def place(self, names: Names) -> Place:
        """The place of a setting, or of the nearest table around it."""
        for count in range(len(names), 0, -1):
            if (found := self.places.get(names[:count])) is not None:
                return found
        return Place(Mark(), Mark())


def find_toml() -> TomlFile | None:
    """The file that holds for the current folder, read.

    Raises:
        SettingsError: it cannot be read, is no TOML, or lies in a parent folder and is another
            user's.
    """
    named = os.environ.get(CONFIG_VARIABLE)
    if named is not None:
        return read_toml(Path(named).expanduser(), f"{CONFIG_VARIABLE}: {named}") if named else None
    here = Path.cwd()
    for folder in _folders(here):
        path = folder / FILE_NAME
        if path.is_file():
            shown = os.path.relpath(path, here)
            if folder != here:
                _check_owner(path, shown)
            return read_toml(path, shown)
    return None


def _folders(here: Path) -> Iterator[Path]:
    home = Path.home()
    for folder in (here, *here.parents):
        yield folder
        if folder == home or (folder / ".git").exists():
            return


def _check_owner(path: Path, shown: str) -> None:
    # In a shared parent folder (/tmp) anybody could put a file that sends pictures elsewhere.
    if hasattr(os, "getuid") and path.stat().st_uid not in {0, os.getuid()}:
        text = (
            f"belongs to another user; expected a file of your own in a parent folder; "
            f"set {CONFIG_VARIABLE} to it if you trust it"
        )
        raise _fatal(shown, None, text)


def read_toml(path: Path, shown: str | None = None) -> TomlFile:
    """Read a file of settings.

    Raises:
        SettingsError: missing, too large, not UTF-8 or not TOML.
    """
    name = shown or str(path)
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        text = f"cannot be read ({reason}); expected a TOML file; check the name"
        raise _fatal(name, None, text) from None
    if len(data) > MAX_BYTES:
        text = f"is larger than {MAX_BYTES // 1024} KiB; expected settings only; shorten it"
        raise _fatal(name, None, text)
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
        return TomlFile(path, name, tomllib.loads(text), dict(_places(text)))
    except UnicodeDecodeError:
        raise _fatal(name, None, "is not UTF-8; expected a TOML file; save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise _syntax(name, text, str(error)) from None
    except RecursionError:
        what = "is nested too deeply; expected one level of sections; flatten it"
        raise _fatal(name, None, what) from None


def _syntax(name: str, text: str, message: str) -> SettingsError:
    mark = Mark(text.count("\n") + 1, 1)
    if (at := _AT.search(message)) is not None:
        message = message[: at.start()]
        mark = Mark(int(at[1]), int(at[2])) if at[1] else mark
    what = f"not valid TOML ({message[:1].lower()}{message[1:]}); expected name = value; mend it"
    return _fatal(name, mark, what)


def _places(text: str) -> Iterator[tuple[Names, Place]]:
    """Every name of a valid file and where it stands.

    The parser of the standard library keeps no places. A valid file is a row of statements; each
    is the shortest run of lines that is valid TOML alone.
    """
    table: Names = ()
    lines = text.split("\n")
    first = 0
    while first < len(lines):
        last = first + 1
        while (said := _parsed("\n".join(lines[first:last]))) is None and last < len(lines):
            last += 1
        statement = "\n".join(lines[first:last])
        indent = len(statement) - len(statement.lstrip(" \t"))
        mark = Mark(first + 1, indent + 1)
        if statement.lstrip().startswith("["):
            table = next(iter(_leaves(said or {}, empty=True)), ())
            yield table, Place(mark, mark)
        elif said:
            yield from _statement(statement, mark, table, said)
        first = last


def _statement(
    text: str, mark: Mark, table: Names, said: Mapping[str, Any]
) -> Iterator[tuple[Names, Place]]:
    key = _KEY.match(text)
    begin, depth = (key.end(), len(re.findall(_PART, key["key"]))) if key else (0, 1)
    value = Place(mark, _after(mark, text, begin))
    for names in _leaves(said):
        for count in range(1, len(names) + 1):
            yield (*table, *names[:count]), value
        if len(names) <= depth:
            continue
        # One of an inline table, { attempts = 3 }; not what some text in it looks like.
        bare = _TEXT.sub(lambda found: "-" * len(found[0]), text[begin:])
        if (inner := re.search(rf"\b{re.escape(names[-1])}[ \t]*=[ \t]*", bare)) is not None:
            at = [_after(mark, text, begin + index) for index in inner.span()]
            yield (*table, *names), Place(*at)


def _after(mark: Mark, text: str, index: int) -> Mark:
    before = text[:index]
    if "\n" not in before:
        return Mark(mark.line, index + 1)
    return Mark(mark.line + before.count("\n"), len(before) - before.rfind("\n"))


def _leaves(said: Any, *, empty: bool = False) -> Iterator[Names]:
    """The paths of names down to what is no table (or, with ``empty``, is an empty one)."""
    if isinstance(said, list) and said and isinstance(said[0], dict) and empty:
        said = said[0]
    if not isinstance(said, dict) or (empty and not said):
        yield ()
        return
    for name, value in said.items():
        for rest in _leaves(value, empty=empty):
            yield (name, *rest)


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _fatal(name: str, mark: Mark | None, text: str) -> SettingsError:
    return SettingsError((Problem(name, mark, text),))
