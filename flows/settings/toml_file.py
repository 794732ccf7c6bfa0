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

from flows.problems import Mark, Problem
from flows.settings import SettingsError

FILE_NAME = "kontext.toml"
CONFIG_VARIABLE = "KONTEXT_CONFIG"
RECIPE = "recipe"  # the table that is for recipes, and no setting
MAX_BYTES = 64 * 1024

Names = tuple[str, ...]

_TOKEN = re.compile(
    r"""(?P<gap>[ \t\r.]+|\#[^\n]*)
    |(?P<sign>[\n,=\[\]{}])
    |(?P<text>\"{3}(?:\\.|[^\\])*?\"{3,5}|'{3}.*?'{3,5}|"(?:\\.|[^"\\])*"|'[^']*')
    |(?P<bare>[^\s.,=\[\]{}"'\#]+)""",
    re.VERBOSE | re.DOTALL,
)
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


def find_toml(near: Path | None = None) -> TomlFile | None:
    """The file that holds for the folder ``near`` (a recipe's), else for the current one, read.

    Raises:
        SettingsError: it cannot be read, is no TOML, or lies in a parent folder and is another
            user's.
    """
    named = os.environ.get(CONFIG_VARIABLE)
    if named is not None:
        return read_toml(Path(named).expanduser(), f"{CONFIG_VARIABLE}: {named}") if named else None
    found = toml_above(near) if near is not None else None
    return found or toml_above(Path())


def toml_above(folder: Path, *, trusted: bool = False) -> TomlFile | None:
    """The nearest file in a folder or above it, read, whatever ``KONTEXT_CONFIG`` names.

    ``trusted``: another user's will do, as for what is beside a recipe that is read anyway.

    Raises:
        SettingsError: as ``find_toml``.
    """
    here = Path.cwd()
    start = Path(os.path.normpath(here / folder))
    for above in _folders(start):
        path = above / FILE_NAME
        if path.is_file():
            shown = os.path.relpath(path, here)
            if above != here and not trusted:
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
        return TomlFile(path, name, tomllib.loads(text), _places(text + "\n"))
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


def _places(text: str) -> dict[Names, Place]:
    """Every name of a valid file and where it stands; the standard library's parser keeps none."""
    found: dict[Names, Place] = {}
    inside: list[Names | None] = [()]  # names of the tables that are open; None: within a list
    key: Names = ()
    begin = 0  # of the key
    header = valued = due = False  # in [brackets]; behind a '='; right behind it

    def note(names: Names, at: int) -> None:
        place = Place(_mark(text, begin), _mark(text, at))
        for count in range(1, len(names) + 1):
            found.setdefault(names[:count], place)

    for token in _TOKEN.finditer(text):
        sign, at, table = token["sign"], token.start(), inside[-1]
        if due and table is not None and not token["gap"]:
            note((*table, *key), at)
            due = False
        if sign in {"[", "{"} and (valued or table is None):
            inside.append(None if sign == "[" or table is None else (*table, *key))
            key, valued = (), False
        elif sign in {"]", "}"} and not header:
            inside.pop()
            valued = True
        elif table is None or token["gap"]:
            continue
        elif sign == "=":
            valued = due = True
        elif sign == "[":
            key, begin, header = (), begin if header else at, True
        elif sign in {"\n", ","}:
            if header:
                note(key, begin)
                inside = [key]
            key, header, valued = (), False, False
        elif sign is None and not valued:
            begin = begin if key or header else at
            key = (*key, token[0].strip("\"'"))
    return found


def _mark(text: str, at: int) -> Mark:
    return Mark(text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at))


def _fatal(name: str, mark: Mark | None, text: str) -> SettingsError:
    return SettingsError((Problem(name, mark, text),))
