"""What can be wrong with something that people wrote, said in one line each, with its place.

ProblemsError
 └─ problems: one or more ``Problem``, sorted by place; ``str(problem)`` is
    ``path:line:column: what; what was expected; what to do``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

LINES = 20  # of one kind that anybody wants to read at once


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in a file: line and column count from 1, as editors do."""

    line: int = 1
    column: int = 1


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake, where it is, and what to do about it.

    ``mark`` is ``None`` for what has no place in the file (the file is missing, a command-line
    option is wrong). ``loc`` is its place in a recipe's tree: what is wrong there, whatever file it
    was written in; ``()`` where that is nowhere in particular.
    """

    path: str
    mark: Mark | None
    text: str
    loc: tuple[str | int, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        place = f":{self.mark.line}:{self.mark.column}" if self.mark else ""
        return f"{self.path}{place}: {one_line(self.text)}"


class ProblemsError(Exception):
    """What was written cannot be used as it stands; ``problems`` lists why, in order of place."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        unique = dict.fromkeys(problems)
        self.problems: tuple[Problem, ...] = tuple(
            sorted(unique, key=lambda p: (p.path, p.mark or Mark(0, 0)))
        )
        super().__init__("\n".join(few(list(map(str, self.problems)))))


def few(lines: Sequence[str], limit: int = LINES) -> list[str]:
    """At most so many lines, and how many more there are."""
    more = len(lines) - limit
    return [*lines[:limit], f"… and {more} more"] if more > 0 else list(lines)


def one_line(text: str) -> str:
    """Control characters and line breaks made visible, so that an error stays one line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``did you mean 'hero'?``, or nothing when no known word is close."""
    match = nearest(word, known)
    return f"did you mean '{match}'?" if match is not None else ""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is close to this one, if one is."""
    names = list(known)
    close = difflib.get_close_matches(word.lower(), [n.lower() for n in names], n=1, cutoff=0.6)
    return next((name for name in names if close and name.lower() == close[0]), None)


def unknown(
    what: str, word: str, where: str, known: Iterable[str], remedy: str = "remove or rename it"
) -> str:
    """``unknown step 'hreo' in image: did you mean 'hero'?``, or what there is to choose from."""
    names = list(known)
    subject = f"unknown {what} '{word}' in {where}"
    if hint := did_you_mean(word, names):
        return f"{subject}: {hint}"
    return f"{subject}; {f'expected {one_of(names)}' if names else 'there is none yet'}; {remedy}"


def unknown_name(what: str, word: str, where: str, known: Iterable[str], section: str) -> str:
    """``unknown`` for what a recipe itself names, in this section of it."""
    names, declare = list(known), f"declare it under '{section}:'"
    # What has a dot is no name: a file is meant.
    remedy = "write one of these" if names and "." not in word else declare
    return unknown(what, word, where, names, remedy)


def one_of(names: Sequence[str], limit: int = 12) -> str:
    """``'a', 'b' or 'c'``; a long list is cut."""
    shown = [f"'{name}'" for name in names[:limit]]
    if len(names) > limit:
        return f"{', '.join(shown)} or {len(names) - limit} more"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} or {shown[-1]}"
