"""Seeds that a re-roll chose, kept beside the recipe: ``<recipe>.overrides.yaml``.

A small file that people may read, edit and commit::

    version: 1
    seeds:
      "on_scene[product=handbag,scene=beach]": 2821543810

Every later plan of the recipe reads it, so that the frame stays as it was chosen.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flows.problems import Problem, unknown
from flows.recipe.errors import RecipeError
from flows.recipe.node import Source, to_plain
from flows.recipe.source import read_source
from flows.recipe.stepspec import MAX_SEED
from kontext_engine.files import write_whole

KEPT = (".overrides", ".picks")  # what is kept beside a recipe is none itself
_HEADER = (
    "# Seeds that 'kontext run --reroll' chose; 'kontext decide RECIPE undo' takes one back.\n"
)


@dataclass(frozen=True, slots=True)
class Overrides:
    """Seeds by step label, and the file they are from."""

    path: Path
    seeds: Mapping[str, int] = field(default_factory=dict)


def overrides_path(recipe: Path) -> Path:
    """Where the overrides of a recipe are kept."""
    return recipe.with_name(f"{recipe.stem}.overrides.yaml")


@contextlib.contextmanager
def one_at_a_time(recipe: Path) -> Iterator[None]:
    """Keep others from changing the overrides between reading and writing them.

    The recipe's folder is locked, which leaves no file behind; the kernel lets go when the holder
    dies. Where folders cannot be locked (NFS) nothing is held.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            descriptor = os.open(recipe.parent, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def load_overrides(recipe: Path) -> Overrides:
    """The overrides beside a recipe; none when there is no such file.

    Raises:
        RecipeError: the file is there but wrong; with line and column.
    """
    path = overrides_path(recipe)
    if not path.is_file():
        return Overrides(path)
    source = read_source(path)
    problems = _problems(source)
    if problems:
        raise RecipeError(problems)
    seeds = to_plain(source.root)["seeds"]
    return Overrides(path, seeds)


def save_overrides(overrides: Overrides) -> None:
    """Write the file whole, over what was there.

    Raises:
        RecipeError: the folder cannot be written; the old file is intact.
    """
    lines = [
        f"  {json.dumps(label, ensure_ascii=False)}: {seed}\n"
        for label, seed in sorted(overrides.seeds.items())
    ]
    seeds = f"seeds:\n{''.join(lines)}" if lines else "seeds: {}\n"
    try:
        # A seed that was drawn is nowhere else.
        write_whole(overrides.path, f"{_HEADER}version: 1\n{seeds}", durable=True)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        text = f"cannot be written ({reason}); expected a writable folder; check its permissions"
        raise RecipeError([Problem(str(overrides.path), None, text)]) from None


def _problems(source: Source) -> list[Problem]:
    fields = source.root.fields or {}
    problems = [
        source.problem(
            (name,), unknown("key", name, "the overrides", ["version", "seeds"]), key=True
        )
        for name in fields
        if name not in ("version", "seeds")
    ]
    if "version" not in fields or fields["version"].node.value != 1:
        problems.append(source.problem(("version",), "expected 'version: 1'; write it", key=True))
    if "seeds" not in fields or fields["seeds"].node.fields is None:
        text = "expected 'seeds:' with a seed for each label; write 'seeds: {}' for none"
        problems.append(source.problem(("seeds",), text, key=True))
        return problems
    for label, entry in (fields["seeds"].node.fields or {}).items():
        value = entry.node.value
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_SEED:
            text = f"the seed is {entry.node.kind}; expected a whole number from 0; write one"
            problems.append(source.problem(("seeds", label), text))
    return problems
