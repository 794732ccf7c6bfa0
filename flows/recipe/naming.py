"""Names that are safe as parts of labels and of file names, on every system."""

from __future__ import annotations

import functools
import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from pathlib import PurePath

MAX_NAME = 60  # characters
MAX_BYTES = 120  # of them in UTF-8: three names and an ending make a file name of 255

_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?\Z", re.IGNORECASE)
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_DIGEST = 8  # characters of one in a name
# Marks that no letter needs: they choose between pictures and text, and show nothing themselves.
_VARIATIONS = (range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))


@functools.lru_cache(maxsize=4096)  # a catalogue names each of its values thousands of times
def slug(text: str) -> str:
    """Letters with their marks, digits, ``.``, ``_`` and ``-`` only; at most 60, and 120 bytes.

    Never empty, never ``..``, no device of Windows; a slug is its own slug. Cut or emptied text
    gets a short digest at its end, so that two texts keep two names. What was replaced in it is
    not told by the name alone: see ``name_texts``.
    """
    whole = _safe(unicodedata.normalize("NFC", text)).strip("-.")
    if is_reserved(whole):
        return _with_digest(whole.replace(".", "-"), text)
    return whole if whole and _cut(whole, 0) == whole else _with_digest(whole, text)


def run_slug(recipe: str) -> str:
    """What a run's folder calls a recipe; who looks for the recipe's runs asks by the same."""
    return re.sub("-{2,}", "-", slug(recipe))


def name_texts(texts: Sequence[str], taken: Collection[str] = ()) -> list[str]:
    """The slug of each text; where those of several are the same, with a digest of the text.

    So ``C++`` and ``C#`` are told apart. A text that is its own slug needs none; ``taken`` are
    names that others have. No name depends on the order.
    """
    return _apart([slug(text) for text in texts], taken, [_by_text(texts)])


def name_files(files: Sequence[PurePath], taken: Collection[str] = ()) -> list[str]:
    """A name for each file, by its own without the ending, like ``name_texts``.

    Where names are the same, the first of these that differs is added: a digest of the name, the
    parent folder, the ending, a digest of the whole path.
    """
    stems = [file.stem for file in files]
    folders, endings = [file.parent.name for file in files], [file.suffix[1:] for file in files]
    paths = list(map(str, files))
    stages: list[_Stage] = [
        _by_text(stems),
        (folders, lambda name, at: _joined(folders[at], name)),
        (endings, lambda name, at: _joined(name, endings[at])),
        (paths, lambda name, at: _with_digest(name, paths[at])),
    ]
    return _apart([slug(stem) for stem in stems], taken, stages)


# What may tell items apart, and an item's name with it, by the present one and the item's place.
_Stage = tuple[Sequence[str], Callable[[str, int], str]]


def _by_text(texts: Sequence[str]) -> _Stage:
    return texts, lambda name, at: name if name == texts[at] else _with_digest(name, texts[at])


def _joined(*parts: str) -> str:
    return slug("-".join(slug(part) for part in parts if part))


def _apart(names: list[str], taken: Collection[str], stages: Sequence[_Stage]) -> list[str]:
    for differing, named in stages:
        places: defaultdict[str, list[int]] = defaultdict(list)
        for at, name in enumerate(names):
            places[name].append(at)
        for name, alike in places.items():
            if name in taken or len({differing[at] for at in alike}) > 1:
                for at in alike:
                    names[at] = named(name, at)
    return names


def _safe(text: str) -> str:
    """The text with ``-`` for every run of what cannot be in a name."""
    if text.isascii():  # as below, in a twentieth of the time: a catalogue has thousands
        return _UNSAFE.sub("-", text)
    kept: list[str] = []
    for char in text:
        lettered = bool(kept) and kept[-1] not in "._-\0"
        marked = lettered and unicodedata.category(char) in ("Mn", "Mc")
        plain = char.isalnum() or char in "._-"
        shows = not any(ord(char) in some for some in _VARIATIONS)
        kept.append(char if plain or (marked and shows) else "\0")
    return re.sub("\0+", "-", "".join(kept))


def _with_digest(name: str, text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
    return f"{_cut(name, _DIGEST + 1).rstrip('-.')}-{digest}".lstrip("-")


def _cut(name: str, less: int) -> str:
    """As much of it as leaves room for so many more characters."""
    name = name[: MAX_NAME - less]
    while len(name.encode("utf-8", "surrogatepass")) > MAX_BYTES - less:
        name = name[:-1]
    return name


def is_text(name: str) -> bool:
    """Whether a name from the file system is UTF-8: other bytes come as halves of characters."""
    return not any("\ud800" <= char <= "\udfff" for char in name)


def legible(name: str) -> str:
    """A file's name, or a text with one, that can be written: other bytes than UTF-8 are spelt.

    Python reads the byte 0xE9 of such a name as half a character, which no file can hold.
    """
    return name.encode("utf-8", "backslashreplace").decode()


def is_reserved(name: str) -> bool:
    """Whether Windows keeps this file name for a device."""
    return _RESERVED.match(name) is not None
