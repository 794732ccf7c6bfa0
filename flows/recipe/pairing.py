"""Which values of the axes go together: each with each, side by side (``zip``), or by ``join``.

``Slots`` enumerates combinations in the axes' order: a group that is zipped is one slot of whole
rows, at the place of its first axis. What cannot be joined is left out on the way, so that a
hundred scenes beside a thousand products cost what their matches cost.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from flows.problems import unknown, unknown_name
from flows.recipe.axes import Axis, Value
from flows.recipe.expand import Join
from flows.recipe.node import Loc, Source
from flows.recipe.review import Review
from flows.recipe.tables import some_lines

MAX_COMBINATIONS = 200_000  # looked at, before ``exclude`` leaves some out

Combo = tuple[Value, ...]


class TooManyError(ValueError):
    """More combinations than anybody wants looked at."""


@dataclass(frozen=True, slots=True)
class _Slot:
    """Axes (by their numbers) that move together, and the rows of values that they have."""

    axes: tuple[int, ...]
    rows: tuple[tuple[Value, ...], ...]


class Slots:
    """The combinations of some axes; what is wrong with zip and join is noted when it is made."""

    def __init__(self, review: Review, axes: Mapping[str, Axis]) -> None:
        self.review = review
        self.axes = axes
        self.order = {name: at for at, name in enumerate(axes)}
        self.groups = [group for at, group in enumerate(review.recipe.document.zip)
                       if self._is_group(at, group)]  # fmt: skip
        self.joins = [join for join in review.recipe.joins if self._is_join(join)]

    def combos(self, known: Mapping[str, Value] | None = None) -> Iterator[Combo]:
        """All of them in order; those axes in ``known`` have that one value.

        Two axes that are both in ``known`` need not be joined: somebody named them together.

        Raises:
            TooManyError: more than ``MAX_COMBINATIONS``.
        """
        known = known or {}
        slots = self._slots(known)
        if not self.groups and not self.joins:
            if math.prod(len(slot.rows) for slot in slots) > MAX_COMBINATIONS:
                raise TooManyError
            yield from itertools.product(*([row[0] for row in slot.rows] for slot in slots))
            return
        joins = [j for j in self.joins if not (j.axis in known and j.other in known)]
        names = list(self.axes)
        partial: list[dict[int, Value]] = [{}]
        seen: set[str] = set()
        for slot in slots:
            own = {names[at] for at in slot.axes}
            ends = [j for j in joins if (j.axis in own) != (j.other in own) and
                    {j.axis, j.other} <= seen | own]  # fmt: skip
            inner = [j for j in joins if {j.axis, j.other} <= own]
            rows = [row for row in slot.rows if all(self._agrees(j, slot, row) for j in inner)]
            index: defaultdict[tuple[str, ...], list[dict[int, Value]]] = defaultdict(list)
            for row in rows:
                at = dict(zip(slot.axes, row, strict=True))
                index[tuple(self._side(j, at, j.axis in own) for j in ends)].append(at)
            grown = []
            for have in partial:
                key = tuple(self._side(j, have, j.axis not in own) for j in ends)
                grown += [{**have, **row} for row in index.get(key, ())]
                if len(grown) > MAX_COMBINATIONS:
                    raise TooManyError
            partial = grown
            seen |= own
        for have in partial:
            yield tuple([have[at] for at in range(len(names))])

    def check_matches(self) -> None:
        """Every value that another axis is joined to must have a match; the others are noted."""
        for (axis, other), joins in itertools.groupby(
            sorted(self.joins, key=lambda j: (j.axis, j.other)), key=lambda j: (j.axis, j.other)
        ):
            pairs = list(joins)
            near = {self._key(pairs, v, own=True): v for v in self.axes[axis].values}
            far = [(self._key(pairs, v, own=False), v) for v in self.axes[other].values]
            lost = [value for key, value in far if key not in near]
            loc = pairs[0].loc
            if lost:
                text = (
                    f"{len(lost)} of {len(far)} values of '{other}' match no '{axis}' "
                    f"({self._where(lost)}); expected one for each; add rows, or leave them out "
                    "by 'where'"
                )
                self._wrong(loc, text)
                continue
            used = {key for key, _ in far}
            idle = [v for v in self.axes[axis].values if self._key(pairs, v, own=True) not in used]
            if idle:
                text = (
                    f"{len(idle)} of {len(self.axes[axis].values)} values of '{axis}' match no "
                    f"'{other}' and are not used ({self._where(idle)})"
                )
                self.review.warnings.append(str(self._written.problem(loc, text)))

    def _slots(self, known: Mapping[str, Value]) -> list[_Slot]:
        slots: list[_Slot] = []
        grouped = {name: group for group in self.groups for name in group}
        for name, axis in self.axes.items():
            group = grouped.get(name)
            if group is None:
                rows = ((known[name],),) if name in known else tuple((v,) for v in axis.values)
                slots.append(_Slot((self.order[name],), rows))
            elif name == min(group, key=self.order.__getitem__):
                members = tuple(self.order[one] for one in group)
                slots.append(_Slot(members, self._rows(group, known)))
        return slots

    def _rows(self, group: Sequence[str], known: Mapping[str, Value]) -> tuple[Combo, ...]:
        if all(name in known for name in group):
            return (tuple(known[name] for name in group),)
        rows = zip(*(self.axes[name].values for name in group), strict=True)
        return tuple(
            row
            for row in rows
            if all(
                known[name] == value for name, value in zip(group, row, strict=True)
                if name in known
            )
        )  # fmt: skip

    def _agrees(self, join: Join, slot: _Slot, row: Combo) -> bool:
        at = dict(zip(slot.axes, row, strict=True))
        return self._side(join, at, True) == self._side(join, at, False)

    def _side(self, join: Join, have: Mapping[int, Value], own: bool) -> str:
        name = join.axis if own else join.other
        return _text(have[self.order[name]], join.column if own else join.attribute)

    def _key(self, joins: Sequence[Join], value: Value, *, own: bool) -> tuple[str, ...]:
        return tuple(_text(value, j.column if own else j.attribute) for j in joins)

    def _where(self, values: Sequence[Value]) -> str:
        """The rows of values from one table, else their names."""
        nodes = [self.review.recipe.source.node(value.loc) for value in values if value.loc]
        files = {node.file for node in nodes if node is not None}
        file = next(iter(files), None)
        if len(files) == 1 and file is not None and len(nodes) == len(values):
            lines = sorted({node.mark.line for node in nodes if node is not None})
            return f"{file} {some_lines(lines)}"
        shown = ", ".join(f"'{value.name}'" for value in values[:8])
        return shown if len(values) <= 8 else f"{shown} and {len(values) - 8} more"

    def _wrong(self, loc: Loc, text: str) -> None:
        # Where a table stood, there are its rows now.
        self.review.problems.append(self._written.problem(loc, text))

    @property
    def _written(self) -> Source:
        return self.review.recipe.written

    def _is_group(self, at: int, group: Sequence[str]) -> bool:
        before = len(self.review.problems)
        loc = ("zip", at) if self._is_nested() else ("zip",)
        for index, name in enumerate(group):
            if name not in self.axes:
                text = unknown_name("axis", name, "zip", self.axes, "matrix")
                self.review.wrong((*loc, index), text)
            elif sum(name in other for other in self.review.recipe.document.zip) > 1 or (
                group.count(name) > 1
            ):
                text = f"'{name}' is zipped twice; expected each axis once; remove one"
                self.review.wrong((*loc, index), text)
        if len(self.review.problems) > before:
            return False
        counts = {name: len(self.axes[name].values) for name in group}
        if len(set(counts.values())) > 1:
            shown = " and ".join(f"{count} of '{name}'" for name, count in counts.items())
            text = f"values that run side by side differ in number: {shown}; expected as many of "
            self.review.wrong(loc, f"{text}each; add or remove some")
            return False
        return True

    def _is_nested(self) -> bool:
        node = self.review.recipe.source.node(("zip", 0))
        return node is not None and node.items is not None

    def _is_join(self, join: Join) -> bool:
        if join.other not in self.axes or join.other == join.axis:
            others = [name for name in self.axes if name != join.axis]
            text = unknown("axis", join.other, "join", others, "write 'column: axis.variable'")
            self._wrong(join.loc, text)
            return False
        if join.attribute is None:
            return True
        for value in self.axes[join.other].values:
            if join.attribute not in value.attributes:
                text = unknown("variable", join.attribute, f"'{join.other}'", value.attributes)
                self._wrong(join.loc, text)
                return False
        return True


def _text(value: Value, attribute: str | None) -> str:
    # What ``include`` defines may lack it, and matches nothing then.
    return value.text if attribute is None else value.attributes.get(attribute, "")
