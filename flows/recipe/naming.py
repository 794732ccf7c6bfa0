"""Names that are safe as parts of labels and of file names."""

from __future__ import annotations

import hashlib
import re
import unicodedata

MAX_NAME = 60

_UNSAFE = re.compile(r"[^\w.-]+")
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?\Z", re.IGNORECASE)


def slug(text: str) -> str:
    """Letters, digits, ``.``, ``_`` and ``-`` only; never empty, never ``..``, at most 60 long.

    Cut or emptied text gets a short digest at its end, so that two texts keep two names.
    """
    whole = _UNSAFE.sub("-", unicodedata.normalize("NFC", text)).strip("-.")
    if whole and len(whole) <= MAX_NAME and not is_reserved(whole):
        return whole
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{whole[: MAX_NAME - 9].rstrip('-.')}-{digest}".lstrip("-")


def legible(name: str) -> str:
    """A file's name, or a text with one, that can be written: other bytes than UTF-8 are spelt.

    Python reads the byte 0xE9 of such a name as half a character, which no file can hold.
    """
    return name.encode("utf-8", "backslashreplace").decode()


def is_reserved(name: str) -> bool:
    """Whether Windows keeps this file name for a device."""
    return _RESERVED.match(name) is not None
