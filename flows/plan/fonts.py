"""Fonts of contact sheets: the one that is shipped, files of one's own, and what they lack."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path

SHIPPED = Path(__file__).parent / "fonts" / "NotoSans-Regular.ttf"
_SPACES = frozenset("\n\t ")


class FontError(ValueError):
    """A file that is no font to write with; the message says why."""


def lacking(font: Path, texts: Iterable[str]) -> str:
    """The signs of these texts that a font has no picture of, each once, in their order.

    Raises:
        FontError: it is no TrueType font.
        OSError: it cannot be read.
    """
    known = _signs(font, font.stat().st_mtime_ns)
    signs = dict.fromkeys("".join(texts))
    return "".join(sign for sign in signs if ord(sign) not in known and sign not in _SPACES)


@functools.lru_cache(maxsize=8)
def _signs(font: Path, _changed: int) -> frozenset[int]:
    """The code points that a font has."""
    from reportlab.pdfbase.ttfonts import TTFError, TTFontFile

    try:
        return frozenset(TTFontFile(str(font)).charToGlyph)
    except OSError:
        raise
    except (TTFError, Exception) as error:  # parsers of untrusted data raise nearly anything
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FontError(why[:1].lower() + why[1:]) from None
