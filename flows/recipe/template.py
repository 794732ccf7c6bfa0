"""Prompt and file-name templates: ``put the {product.noun} {scene.words}``.

A placeholder is a name, or a name and one of its variables after a dot. ``{{`` and ``}}`` stand
for braces. Nothing else is interpreted: a template can compute nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

_TOKEN = re.compile(r"\{\{|\}\}|\{[^{}]*\}|[{}]")
_PLACEHOLDER = re.compile(r"([A-Za-z][\w-]*)(?:\.([A-Za-z][\w-]*))?\Z")


class TemplateError(ValueError):
    """The template cannot be read; ``token`` is the piece of text that is wrong."""

    def __init__(self, message: str, token: str) -> None:
        super().__init__(message)
        self.token = token


@dataclass(frozen=True, slots=True)
class Placeholder:
    """``{name}`` or ``{name.attribute}``; ``token`` is how it was written."""

    name: str
    attribute: str | None
    token: str


@dataclass(frozen=True, slots=True)
class Template:
    """Literal texts and placeholders in order."""

    parts: tuple[str | Placeholder, ...]

    @property
    def placeholders(self) -> tuple[Placeholder, ...]:
        """The placeholders in order, repeated ones repeatedly."""
        return tuple(part for part in self.parts if isinstance(part, Placeholder))

    def render(self, lookup: Callable[[Placeholder], str]) -> str:
        """The text with each placeholder replaced by what ``lookup`` says."""
        return "".join(part if isinstance(part, str) else lookup(part) for part in self.parts)


def parse_template(text: str) -> Template:
    """Read a template.

    Raises:
        TemplateError: a brace without its partner, or something other than a name between braces.
    """
    parts: list[str | Placeholder] = []
    at = 0
    for token in _TOKEN.finditer(text):
        parts.append(text[at : token.start()])
        at = token.end()
        if token[0] in ("{{", "}}"):
            parts.append(token[0][0])
        elif token[0] in "{}":
            line = text[token.start() :].splitlines()[0]
            raise TemplateError(_unpaired(token[0]), line)
        else:
            parts.append(_placeholder(token[0]))
    parts.append(text[at:])
    return Template(tuple(part for part in parts if part != ""))


def _placeholder(token: str) -> Placeholder:
    found = _PLACEHOLDER.match(token[1:-1].strip())
    if found is None:
        raise TemplateError(
            f"'{token}' is no variable; expected {{name}} or {{name.variable}}; "
            "write {{ and }} for braces that are meant as such",
            token,
        )
    return Placeholder(found[1], found[2], token)


def _unpaired(brace: str) -> str:
    partner = "a '}' that closes it" if brace == "{" else "a '{' that opens it"
    return f"a '{brace}' has no partner; expected {partner}; write '{brace * 2}' for a brace itself"
