"""``where: "status != 'sold out' and tier <= 2"``: which rows of a table are meant.

Read by Python's own grammar, of which a few forms are allowed: comparisons, ``and``, ``or``,
``not`` and ``in`` over columns, quoted texts, numbers and lists of these. Nothing is evaluated as
code. A cell is a number where it is compared with one, or by ``<``; else it is its text.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from flows.problems import unknown

MAX_LENGTH = 1000

Cells = Mapping[str, str]
Test = Callable[[Cells], bool]
_Side = Callable[[Cells], Any]

_NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,3})?\Z")
_ORDER: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_SAME: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_FORMS = "expected such as \"tier <= 2 and status != 'sold out'\""


class WhereError(ValueError):
    """The condition cannot be read; ``token`` is the piece of text that is wrong."""

    def __init__(self, message: str, token: str = "") -> None:
        super().__init__(message)
        self.token = token


class CellError(ValueError):
    """A cell of this row is no number; the message says which."""


def read_where(text: str, columns: Mapping[str, str]) -> Test:
    """The test of a row; ``columns`` are the variables by what conditions may call them.

    Raises:
        WhereError: it is no condition, or has a form that is not allowed.
    """
    if len(text) > MAX_LENGTH:
        raise WhereError(f"the condition is longer than {MAX_LENGTH} characters; {_FORMS}")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise WhereError(f"'{text}' is no condition; {_FORMS}; mend it") from None
    return _Reader(text.strip(), columns).test(tree.body)


class _Reader:
    """Walks the tree, and refuses every form that it does not know."""

    def __init__(self, text: str, columns: Mapping[str, str]) -> None:
        self.text = text
        self.columns = columns

    def test(self, node: ast.expr) -> Test:
        if isinstance(node, ast.BoolOp):
            tests = [self.test(one) for one in node.values]
            if isinstance(node.op, ast.And):
                return lambda cells: all(one(cells) for one in tests)
            return lambda cells: any(one(cells) for one in tests)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            inner = self.test(node.operand)
            return lambda cells: not inner(cells)
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            pairs = [
                self.comparison(left, kind, right)
                for left, kind, right in zip(sides, node.ops, sides[1:], strict=False)
            ]
            return lambda cells: all(one(cells) for one in pairs)
        if isinstance(node, ast.Name):
            self.column(node)
            token = f"{node.id} == 'yes'"
            raise self.wrong(node, f"is a column and no condition; write it out, as {token}")
        raise self.wrong(node, "is not allowed in a condition; " + _FORMS)

    def comparison(self, left: ast.expr, kind: ast.cmpop, right: ast.expr) -> Test:
        if isinstance(kind, (ast.In, ast.NotIn)):
            return self.membership(left, right, wanted=isinstance(kind, ast.In))
        compare = _ORDER.get(type(kind)) or _SAME.get(type(kind))
        if compare is None:
            raise self.wrong(left, "is compared by a sign that is not allowed; " + _FORMS)
        texts = [side for side in (left, right) if self.is_text(side)]
        if texts and type(kind) in _ORDER:
            raise self.wrong(texts[0], "is a text, which has no order; compare it by == or !=")
        numeric = type(kind) in _ORDER or self.is_number(left) or self.is_number(right)
        if numeric and texts:
            raise self.wrong(texts[0], "is a text compared with a number; remove the quotes")
        one, other = self.side(left, numeric=numeric), self.side(right, numeric=numeric)
        return lambda cells: compare(one(cells), other(cells))

    def membership(self, left: ast.expr, right: ast.expr, *, wanted: bool) -> Test:
        if isinstance(right, (ast.List, ast.Tuple, ast.Set)):
            numbers = [self.is_number(item) for item in right.elts]
            if not right.elts or any(numbers) != all(numbers):
                raise self.wrong(right, "mixes texts and numbers, or is empty; write one kind")
            items = [self.constant(item) for item in right.elts]
            one = self.side(left, numeric=all(numbers))
            return lambda cells: (one(cells) in items) is wanted
        if self.is_number(left) or self.is_number(right):
            raise self.wrong(right, "is no text to search in; expected a column, or a list")
        part, whole = self.side(left, numeric=False), self.side(right, numeric=False)
        return lambda cells: (part(cells) in whole(cells)) is wanted

    def side(self, node: ast.expr, *, numeric: bool) -> _Side:
        if isinstance(node, ast.Name):
            name = self.column(node)
            if not numeric:
                return lambda cells: cells[name]
            return lambda cells: _number(cells[name], node.id)
        value = self.constant(node)
        return lambda _: value

    def constant(self, node: ast.expr) -> str | float:
        if self.is_number(node):
            return float(ast.literal_eval(node))
        if self.is_text(node):
            return str(ast.literal_eval(node))
        raise self.wrong(node, "is not allowed in a condition; " + _FORMS)

    def column(self, node: ast.Name) -> str:
        if node.id not in self.columns:
            text = unknown("column", node.id, "where", self.columns, "quote it if it is a text")
            raise WhereError(text, node.id)
        return self.columns[node.id]

    def is_number(self, node: ast.expr) -> bool:
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
            node = node.operand
        is_constant = isinstance(node, ast.Constant)
        return is_constant and type(node.value) in (int, float)  # type: ignore[attr-defined]

    def is_text(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Constant) and isinstance(node.value, str)

    def wrong(self, node: ast.expr, text: str) -> WhereError:
        piece = ast.get_source_segment(self.text, node) or self.text
        shown = piece if piece[0] in "'\"" else f"'{piece}'"
        return WhereError(f"{shown} {text}", piece)


def _number(text: str, column: str) -> float:
    if _NUMBER.match(text) is None:
        raise CellError(
            f"'{column}' is '{text}', which is no number; expected one to compare; mend the cell"
        )
    return float(text)
