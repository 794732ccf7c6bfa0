"""``RECIPE.picks.yaml``: what holds of a recipe's decisions, for review in version control."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flows.decisions.decision import Decision, Kind, Slot
from flows.problems import Mark, Problem
from flows.recipe.errors import RecipeError
from flows.recipe.node import to_plain
from flows.recipe.source import read_source
from flows.run.desk import Desk
from flows.store.record import Digest
from kontext_engine.files import write_whole

_HEADER = "# What was decided, by 'kontext decide --export'; '--import' brings it into a store.\n"
_IN_FILE: tuple[Kind, ...] = ("pick", "approve", "reject", "seed")


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid")

    slot: str
    kind: Kind
    label: str = ""
    key: Digest | None = None
    take: int = Field(default=1, ge=1)
    value: int | None = None
    parameters: dict[str, str] = Field(default_factory=dict)
    who: str = Field(min_length=1)
    made: str = ""


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: int
    recipe: str
    decisions: list[_Row]


def picks_path(recipe: Path) -> Path:
    """Where the decisions of a recipe are exported to."""
    return recipe.with_name(f"{recipe.stem}.picks.yaml")


def export(desk: Desk, path: Path) -> int:
    """Write what holds, over what was there; how many decisions.

    Raises:
        RecipeError: the file cannot be written.
    """
    rows = [_row(one) for one in desk.in_force() if not one.judge and one.kind in _IN_FILE]
    rows.sort(key=lambda row: (row["slot"], row["kind"], row.get("take", 1)))
    body = {"version": 1, "recipe": desk.plan.recipe, "decisions": rows}
    text = yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=100)
    try:
        write_whole(path, _HEADER + text, durable=True)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        text = f"cannot be written ({reason}); expected a writable folder; check its permissions"
        raise RecipeError([Problem(str(path), None, text)]) from None
    return len(rows)


def _row(one: Decision) -> dict[str, Any]:
    said: dict[str, Any] = {"slot": one.slot.label, "kind": one.kind}
    for name in ("label", "key", "value"):
        if getattr(one, name) not in (None, ""):
            said[name] = getattr(one, name)
    if one.take > 1:
        said["take"] = one.take
    if one.slot.parameters:
        said["parameters"] = dict(one.slot.parameters)
    return said | {"who": one.who, "made": one.made}


def changes(desk: Desk, path: Path) -> Iterator[Decision]:
    """What importing the file would decide: all of it that does not hold already.

    Raises:
        RecipeError: it is no such file, or of another recipe; with its line.
    """
    source = read_source(path)
    try:
        read = _File.model_validate(to_plain(source.root))
    except ValidationError as error:
        found = error.errors(include_url=False)[0]
        loc = tuple(found["loc"])
        while loc and source.node(loc) is None:
            loc = loc[:-1]
        node = source.node(loc)
        mark = node.mark if node is not None else Mark()
        text = f"{'.'.join(map(str, found['loc']))}: {found['msg'].lower()}; expected what "
        text += "'kontext decide --export' writes; mend it"
        raise RecipeError([Problem(str(path), mark, text)]) from None
    if read.version != 1 or read.recipe != desk.plan.recipe:
        text = f"is of recipe '{read.recipe}', version {read.version}; expected "
        text += f"'{desk.plan.recipe}', version 1; export it anew"
        raise RecipeError([Problem(str(path), None, text)])
    for row in read.decisions:
        slot = Slot(
            project=desk.plan.project,
            recipe=desk.plan.recipe,
            label=row.slot,
            parameters=tuple(sorted(row.parameters.items())),
        )
        made = desk.decided.make(
            row.kind, slot, row.who, desk.plan.recipe_text,
            key=row.key, label=row.label, take=row.take, value=row.value,
        )  # fmt: skip
        if not _holds(desk, made):
            yield made


def _holds(desk: Desk, made: Decision) -> bool:
    state = desk.decided.state(made.slot)
    if made.kind == "pick":
        return state.pick is not None and state.pick.key == made.key
    if made.kind == "seed":
        now = state.seeds.get(made.take)
        return now is not None and now.value == made.value
    return made.key in (state.approved if made.kind == "approve" else state.rejected)
