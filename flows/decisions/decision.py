"""A decision: one thing that somebody said of one slot of a recipe. Frozen, and never written over.

A *slot* is what is decided about: the label of a step with the axes it depends on, in a recipe of a
project, with those parameters on which it depends and whose values are not the defaults. What is
decided of one slot never reaches another's picture.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flows.store.record import Digest, canonical_json

SCHEMA = "kontext.decision"
VERSION = 1
FOLDER = "decisions/"

Kind = Literal["pick", "approve", "reject", "seed", "undo", "rate", "comment", "vote"]
Line = Literal["hands", "said", "judges"]
SAID: frozenset[Kind] = frozenset({"rate", "comment", "vote"})
MAX_TEXT = 4000  # characters of a comment


class DecisionError(ValueError):
    """These bytes are no decision that can be trusted; the message says why."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Slot(_Frozen):
    """What is decided about. ``parameters`` are names and values, in order."""

    project: str | None = None
    recipe: str
    label: str
    parameters: tuple[tuple[str, str], ...] = ()

    @cached_property
    def digest(self) -> str:
        """What names it in the store."""
        return _short(self.model_dump(mode="json"))

    @property
    def family(self) -> str:
        """What names its recipe there."""
        return family(self.project, self.recipe)

    @property
    def words(self) -> str:
        """What people call it: ``frame[shot=s03]``, and what it was set to."""
        told = ", ".join(f"{name}={value}" for name, value in self.parameters)
        return f"{self.label} with {told}" if told else self.label


class Score(_Frozen):
    """What a judge said of one candidate."""

    score: float
    reason: str = ""


class Decision(_Frozen):
    """``number`` counts within its slot and line; it was made upon the one before.

    ``key`` is the key it speaks of, ``label`` the label of that picture and ``take`` its number.
    ``file`` and ``sha256`` are of the recipe it was made from. ``value`` is a seed, a rating, a
    vote, a comment, or the number that is undone. A judge's pick tells who judged (``judge``: name,
    version, parameters) and what of: ``scores`` by the keys of the judged, ``None`` where there
    was no picture to judge.
    """

    slot: Slot
    kind: Kind
    number: int = Field(ge=1)
    key: Digest | None = None
    label: str = ""
    take: int = Field(default=1, ge=1)
    who: str = Field(min_length=1)
    made: str
    file: str
    sha256: str
    value: int | Annotated[str, Field(max_length=MAX_TEXT)] | None = None
    judge: str = ""
    scores: dict[Digest, Score | None] = Field(default_factory=dict)

    @property
    def line(self) -> Line:
        """Whose numbers it shares."""
        if self.judge:
            return "judges"
        return "said" if self.kind in SAID else "hands"

    @property
    def name(self) -> str:
        """The object's name."""
        return f"{folder(self.line, self.slot.family)}{self.slot.digest}/{self.number:06d}.json"

    @property
    def words(self) -> str:
        """What was decided, for people."""
        what = {
            "pick": f"picked {self.label}",
            "approve": f"approved {self.label}",
            "reject": f"rejected {self.label}",
            "seed": f"gave {self.label} seed {self.value}",
            "undo": f"undid number {self.value}",
            "rate": f"rated {self.label} {self.value}",
            "comment": f"said of {self.label}: {self.value}",
            "vote": f"voted {self.value} for {self.label}",
        }[self.kind]
        return f"{self.who} {what} ({self.made})"


def folder(line: Line, of: str) -> str:
    """Where the decisions of a recipe (``Slot.family``) are."""
    return f"{FOLDER}{line}/{of}/"


def family(project: str | None, recipe: str) -> str:
    """What names a recipe of a project in the store."""
    return _short([project, recipe])


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def encode(decision: Decision) -> bytes:
    """The bytes of a decision; ``decode`` reads them back."""
    body = decision.model_dump(mode="json")
    whole = {"schema": SCHEMA, "version": VERSION, "checksum": _digest(body), "decision": body}
    return json.dumps(whole, sort_keys=True, indent=1, allow_nan=False).encode("ascii") + b"\n"


def decode(data: bytes, name: str | None) -> Decision:
    """The decision in ``data``, which is stored under ``name``, if that is known.

    Raises:
        DecisionError: torn, edited, of another version, or of another name.
    """
    try:
        whole = json.loads(data)
    except (ValueError, RecursionError):
        raise DecisionError("is not JSON") from None
    if not isinstance(whole, dict) or whole.get("schema") != SCHEMA:
        raise DecisionError(f"is not a {SCHEMA}")
    if whole.get("version") != VERSION:
        raise DecisionError(f"has version {whole.get('version')!r}, expected {VERSION}")
    body = whole.get("decision")
    if not isinstance(body, dict) or _digest(body) != whole.get("checksum"):
        raise DecisionError("does not match its own checksum")
    try:
        decision = Decision.model_validate(body)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise DecisionError(f"has no right '{where}'") from None
    if name is not None and decision.name != name:
        raise DecisionError("belongs to another slot or number")
    return decision


def _digest(value: object) -> str:
    return hashlib.sha256(canonical_json(value)).hexdigest()


def _short(value: object) -> str:
    return _digest(value)[:32]
