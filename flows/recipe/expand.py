"""What stands for values, replaced by them: variables in texts, list parameters, tables.

A table's rows become entries of the tree as if they had been written there, each with the table's
name and its line, so that whoever reads the tree later tells of mistakes where they are.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from flows.problems import Mark, Problem
from flows.recipe.entries import AxisTable, InputTable
from flows.recipe.errors import RecipeError
from flows.recipe.fields import IDENTIFIER_PATTERN
from flows.recipe.node import Field, Loc, Node, Source, replaced, to_plain
from flows.recipe.reach import Fetch, absolute, unusable
from flows.recipe.tables import ENDINGS, Row, Table, read_table, some_lines
from flows.recipe.template import Placeholder, TemplateError, parse_template
from flows.recipe.validate import validate_part
from flows.recipe.where import CellError, Test, WhereError, read_where
from flows.settings import Settings

_TOKEN = re.compile(r"\{\{|\}\}|\{\s*([A-Za-z][\w-]*)\s*\}")
_LIST = re.compile(r"\{\s*([A-Za-z][\w-]*)\s*\}\Z")
_NAME = re.compile(IDENTIFIER_PATTERN)


@dataclass(frozen=True, slots=True)
class Join:
    """Values of ``axis`` go with those of ``other`` whose ``attribute`` is their ``column``."""

    axis: str
    column: str
    other: str
    attribute: str | None
    loc: Loc


@dataclass(frozen=True, slots=True)
class Getter:
    """What a row has for one of an entry's own fields; ``column`` where it is a column's cell."""

    of: Callable[[Mapping[str, str]], str]
    column: str | None


@dataclass(slots=True)
class Expanded:
    """The tree, what joins its axes, the tables that were read, and what is wrong."""

    source: Source
    joins: list[Join] = field(default_factory=list)
    files: dict[Path, Table] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def filled(text: str, variables: Mapping[str, str]) -> str:
    """The text with the variables in it; all other braces stay as they are."""
    if "{" not in text:
        return text

    def value(found: re.Match[str]) -> str:
        return variables.get(found[1], found[0]) if found[1] else found[0]

    return _TOKEN.sub(value, text)


def settled(variables: Mapping[str, str], source: Source) -> dict[str, str]:
    """Variables with the variables in them filled in.

    Raises:
        RecipeError: some hold each other.
    """
    done: dict[str, str] = {}

    def settle(name: str, way: tuple[str, ...]) -> str:
        if name in way:
            circle = [*way[way.index(name) :], name]
            text = (
                f"the variables {' <- '.join(circle)} hold each other; expected each to hold only "
                "others; change one"
            )
            raise RecipeError([source.problem(("variables", circle[0]), text)])
        if name not in done:
            text = variables[name]
            inner = {m[1] for m in _TOKEN.finditer(text) if m[1] in variables}
            done[name] = filled(text, {one: settle(one, (*way, name)) for one in inner})
        return done[name]

    return {name: settle(name, ()) for name in variables}


def expand(
    source: Source,
    folder: Path,
    settings: Settings,
    variables: Mapping[str, str],
    lists: Mapping[str, Sequence[str]],
    fetch: Fetch | None = None,
) -> Expanded:
    """The tree with all of it; ``folder`` is the recipe's, and ``fetch`` as in ``compose``."""
    found = Expanded(source)
    model = source.node(("model",))
    if model is not None and (new := _filled(model, variables)) is not model:
        found.source = replace(source, root=replaced(source.root, ("model",), new))
    for section in ("inputs", "matrix"):
        node = source.node((section,))
        for name, entry in ((node.fields if node is not None else None) or {}).items():
            loc: Loc = (section, name)
            if section == "matrix" and name in ("exclude", "include"):
                new = _filled(entry.node, variables)
            elif entry.node.fields is not None and "table" in entry.node.fields:
                new = _Reading(found, loc, folder, settings, variables, fetch).values(entry.node)
            else:
                new = _listed(entry.node, lists) or _filled(entry.node, variables)
            if new is not entry.node:
                found.source = replace(found.source, root=replaced(found.source.root, loc, new))
    return found


def _listed(node: Node, lists: Mapping[str, Sequence[str]]) -> Node | None:
    """A list parameter's texts, where an axis is one."""
    name = _LIST.match(node.text) if node.text else None
    if name is None or name[1] not in lists:
        return None
    items = tuple([replace(node, value=text, text=text) for text in lists[name[1]]])
    return replace(node, value=None, text="", items=items)


def _filled(node: Node, variables: Mapping[str, str]) -> Node:
    """The tree with the variables in its texts; itself where there is none."""
    if node.fields is not None:
        below = {name: _filled(entry.node, variables) for name, entry in node.fields.items()}
        if all(below[name] is entry.node for name, entry in node.fields.items()):
            return node
        fields = {n: Field(entry.key, below[n]) for n, entry in node.fields.items()}
        return replace(node, fields=fields)
    if node.items is not None:
        items = tuple([_filled(item, variables) for item in node.items])
        same = all(new is old for new, old in zip(items, node.items, strict=True))
        return node if same else replace(node, items=items)
    text = filled(node.text, variables)
    return node if text == node.text else replace(node, text=text, value=text)


class _Reading:
    """One axis from a table."""

    def __init__(
        self,
        found: Expanded,
        loc: Loc,
        folder: Path,
        settings: Settings,
        variables: Mapping[str, str],
        fetch: Fetch | None,
    ) -> None:
        self.found = found
        self.loc = loc
        self.folder = folder
        self.settings = settings
        self.variables = variables
        self.fetch = fetch
        self.of_files = loc[0] == "inputs"

    def values(self, node: Node) -> Node:
        """The rows as entries; the node itself where something is wrong, which is noted."""
        before = len(self.found.problems)
        try:
            made = self._values(node)
        except RecipeError as error:
            self.found.problems += [replace(one, loc=self.loc) for one in error.problems]
            made = ()
        return replace(node, fields=None, items=made) if self._sound(before) else node

    def _values(self, node: Node) -> tuple[Node, ...]:
        source, before = self.found.source, len(self.found.problems)
        model = InputTable if self.of_files else AxisTable
        spec = validate_part(source, self.loc, model, to_plain(node, as_text=True))
        table = self._table(filled(spec.table, self.variables))
        if table is None:
            return ()
        chosen = {
            name: getter
            for name in (("file", "name") if self.of_files else ("name", "value"))
            if (getter := self._choice(table, name, getattr(spec, name))) is not None
        }
        self._joins(table, spec.join)
        test = self._test(table, spec.where) if spec.where is not None else None
        if not self._sound(before):
            return ()
        rows = list(self._kept(table, test))
        if self._sound(before) and not rows:
            self.wrong(("where",), f"no row of {table.shown} is left; expected one; mend it")
        self._check_names(table, rows, chosen)
        return tuple([self._entry(table, row, chosen) for row in rows])

    def _table(self, text: str) -> Table | None:
        path = absolute(self.folder, text)
        kind = ("a table", ENDINGS)
        wrong = unusable(text, path, kind, self.folder, self.settings, self.fetch)
        if wrong is not None:
            self.wrong(("table",), wrong)
            return None
        if path not in self.found.files:
            self.found.files[path] = read_table(path, str(self.folder / text))
        return self.found.files[path]

    def _choice(self, table: Table, name: str, asked: str | None) -> Getter | None:
        """What fills ``name`` of each row: a column, or a template over columns and variables."""
        if asked is None:
            needed = (name == "file") if self.of_files else (name == "name")
            if (column := table.column(name)) is not None:
                return Getter(operator.itemgetter(column), column)
            if needed and not (name == "name" and table.column("value") is not None):
                text = f"{table.shown} has no column '{name}'; expected which column it is; "
                self.wrong(("table",), f"{text}add '{name}: COLUMN'")
            return None
        if "{" not in asked:
            if (column := table.column(asked)) is not None:
                return Getter(operator.itemgetter(column), column)
            self.wrong((name,), table.lacks(asked))
            return None
        try:
            template = parse_template(asked)
        except TemplateError as error:
            self.wrong((name,), str(error), error.token)
            return None
        for item in template.placeholders:
            known = table.column(item.name) is not None or item.name in self.variables
            if not known or item.attribute is not None:
                self.wrong((name,), table.lacks(item.token[1:-1]), item.token)

        def value(item: Placeholder, cells: Mapping[str, str]) -> str:
            column = table.column(item.name)
            return self.variables[item.name] if column is None else cells[column]

        return Getter(lambda cells: template.render(lambda item: value(item, cells)), None)

    def _joins(self, table: Table, join: Mapping[str, str]) -> None:
        for column, other in join.items():
            variable = table.column(column)
            if variable is None:
                self.wrong(("join", column), table.lacks(column), key=True)
                continue
            axis, _, attribute = other.partition(".")
            shadowed = f"{variable}_column" if variable in self._own() else variable
            loc = (*self.loc, "join", column)
            self.found.joins.append(Join(str(self.loc[1]), shadowed, axis, attribute or None, loc))

    def _test(self, table: Table, text: str) -> Test | None:
        try:
            return read_where(
                filled(text, self.variables),
                {name: name for name in table.columns.values()} | dict(table.columns),
            )
        except WhereError as error:
            self.wrong(("where",), str(error), error.token)
            return None

    def _kept(self, table: Table, test: Test | None) -> Iterator[Row]:
        for row in table.rows:
            try:
                if test is None or test(row.cells):
                    yield row
            except CellError as error:
                self.at_row(table, row, str(error))

    def _check_names(self, table: Table, rows: Sequence[Row], chosen: Mapping[str, Getter]) -> None:
        """No two rows of a name, and none without one, without a file."""
        lines: dict[str, list[int]] = {}
        for row in rows:
            for name, getter in chosen.items():
                text = getter.of(row.cells)
                if not text:
                    what = f"'{name}' of this row is empty; expected one; fill in the cell"
                    self.at_row(table, row, what)
                elif name == "name":
                    lines.setdefault(text, []).append(row.line)
        for text, places in lines.items():
            if len(places) > 1:
                where = some_lines(places)
                what = f"two rows are named '{text}' ({where}); expected different names; "
                self.found.problems.append(
                    Problem(table.shown, Mark(places[1], 1), f"{what}rename one", self.loc)
                )

    def _entry(self, table: Table, row: Row, chosen: Mapping[str, Getter]) -> Node:
        mark = Mark(row.line, 1)

        def leaf(text: str) -> Field:
            return Field(mark, Node(mark, text, text, (0, 1), file=table.shown))

        fields = {name: leaf(getter.of(row.cells)) for name, getter in chosen.items()}
        for name, text in row.cells.items():
            own = name in self._own()
            if _NAME.match(name) and not (own and name in chosen and chosen[name].column == name):
                # What labels say keeps its name, and a column of that name gets another.
                fields[f"{name}_column" if own else name] = leaf(text)
        return Node(mark, fields=fields, file=table.shown)

    def _own(self) -> tuple[str, ...]:
        return ("file", "name") if self.of_files else ("name", "value")

    def _sound(self, before: int) -> bool:
        return len(self.found.problems) == before

    def wrong(self, loc: Loc, text: str, find: str = "", *, key: bool = False) -> None:
        where = (*self.loc, *loc)
        self.found.problems.append(self.found.source.problem(where, text, key=key, find=find))

    def at_row(self, table: Table, row: Row, text: str) -> None:
        self.found.problems.append(Problem(table.shown, Mark(row.line, 1), text, self.loc))
