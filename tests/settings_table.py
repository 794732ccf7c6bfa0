"""The table of settings as ``docs/settings.md`` has it: ``python -m tests.settings_table``.

Names, variables, flags and defaults are the class's own; the words are what is below each field.
"""

from __future__ import annotations

import ast
from itertools import pairwise
from pathlib import Path

from flows.settings import Settings
from flows.settings.load import Names, flag, leaves, variable

FOLDER = Path(__file__).parents[1] / "flows" / "settings"


def words() -> dict[tuple[str, str], str]:
    """What is said below each field, by its class and its name."""
    found = {}
    for file in (FOLDER / "__init__.py", FOLDER / "sections.py"):
        for part in ast.parse(file.read_text("utf-8")).body:
            body = part.body if isinstance(part, ast.ClassDef) else []
            for field, below in pairwise(body):
                if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
                    text = ast.literal_eval(below.value)
                    found[part.name, field.target.id] = " ".join(text.split())
    return found


def owner(names: Names) -> str:
    model = Settings
    for name in names[:-1]:
        model = model.model_fields[name].annotation
    return model.__name__


def table() -> str:
    said = words()
    rows = ["| setting | variable | flag | default | what it is |", "|---|---|---|---|---|"]
    for names, field in leaves():
        default = field.default
        shown = "" if default is None or default == () else getattr(default, "value", default)
        shown = ", ".join(shown) if isinstance(shown, tuple) else shown
        cells = (
            f"`{'.'.join(names)}`",
            f"`{variable(names)}`",
            f"`{flag(names)}`" if flag(names) else "",
            f"`{shown}`" if shown != "" else "",
            said[owner(names), names[-1]],
        )
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(row.replace("|  |", "| |").replace("|  |", "| |") for row in rows) + "\n"


if __name__ == "__main__":
    print(table(), end="")  # noqa: T201
