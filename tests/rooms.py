"""The house as a graph: ``python -m tests.rooms`` prints rooms, floors and arrows.

A room is a folder or a module directly below ``flows``; an arrow is an import between two rooms; a
floor is the depth in that graph.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

FLOWS = Path(__file__).parents[1] / "flows"


def arrows() -> dict[str, set[str]]:
    """For each room the rooms that it imports."""
    found: dict[str, set[str]] = {}
    for file in sorted(FLOWS.rglob("*.py")):
        room = file.relative_to(FLOWS).parts[0].removesuffix(".py")
        if room != "__init__":
            found.setdefault(room, set()).update(set(_imported(file)) - {room})
    return found


def _imported(file: Path) -> Iterator[str]:
    """The rooms that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            raise AssertionError(f"{file}:{node.lineno}: a relative import")
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "flows":
            names = [f"flows.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        yield from (name.split(".")[1] for name in names if name.startswith("flows."))


def floors(graph: Mapping[str, set[str]]) -> dict[str, int]:
    """How deep each room lies: the ground is 1.

    Raises:
        RecursionError: there is a circle.
    """

    @cache
    def depth(room: str) -> int:
        return 1 + max(map(depth, graph[room]), default=0)

    return {room: depth(room) for room in graph}


def circles(graph: Mapping[str, set[str]]) -> list[set[str]]:
    """Rooms that reach themselves, together with those on the way."""
    reach = {room: set(below) for room, below in graph.items()}
    for _ in graph:
        for room, below in reach.items():
            reach[room] = below.union(*(reach[one] for one in below))
    found = []
    for room in sorted(graph):
        if room in reach[room] and not any(room in one for one in found):
            found.append({other for other in reach[room] if room in reach[other]})
    return found


def main() -> int:
    graph = arrows()
    loops = circles(graph)
    levels = {} if loops else floors(graph)
    for room in sorted(graph, key=lambda room: (levels.get(room, 0), room)):
        sys.stdout.write(f"{levels.get(room, '?'):>3} {room:<12} {' '.join(sorted(graph[room]))}\n")
    count = sum(map(len, graph.values()))
    sys.stdout.write(
        f"{len(graph)} rooms, {max(levels.values(), default=0)} floors, {count} arrows, "
        f"{len(loops)} circles {loops or ''}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
