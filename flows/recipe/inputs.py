"""From an input's entry to files on this disk, or to objects in S3.

Which files a recipe may read is told in ``flows.recipe.reach``; ``flows.sources.remote`` has the
same for S3.
"""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from flows.problems import did_you_mean
from flows.recipe.axes import Value
from flows.recipe.naming import slug
from flows.recipe.node import Loc, short
from flows.recipe.reach import absolute, is_allowed, refused
from flows.recipe.recipe import Recipe
from flows.recipe.review import Review
from flows.recipe.schema import InputEntry
from flows.sources.place import Place
from flows.sources.remote import RemoteError, find_objects, is_pattern, is_remote

# What a glob picks up; a file named in full may have any name.
PICTURE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif"}
)
MAX_FILES = 10_000


def resolve_input(
    review: Review, name: str, entries: Sequence[InputEntry]
) -> tuple[tuple[Value, ...], bool]:
    """An input's values and whether it is an axis to show: whether it is a list or a glob.

    A glob passes over files that are listed beside it, so that these keep their variables.
    """
    recipe = review.recipe
    node = recipe.source.node(("inputs", name))
    listed = node is not None and node.items is not None
    globs = [_is_glob(recipe, entry) for entry in entries]
    plain = [entry for entry, globbed in zip(entries, globs, strict=True) if not globbed]
    explicit = {_written(recipe, entry) for entry in plain}
    values: dict[str, Value] = {}
    for index, (entry, globbed) in enumerate(zip(entries, globs, strict=True)):
        loc: Loc = ("inputs", name, index) if listed else ("inputs", name)
        for value in resolve_entry(review, loc, entry):
            if globbed and str(value.path) in explicit:
                continue
            before = values.setdefault(value.name, value)
            if before is not value and not (globbed and before.path == value.path):
                text = (
                    f"two files of '{name}' are named '{value.name}'; expected different names; "
                    "give one of them a 'name'"
                )
                review.wrong(loc, text)
    return tuple(values.values()), listed or any(globs)


def resolve_entry(review: Review, loc: Loc, entry: InputEntry) -> list[Value]:
    """The pictures that one entry means, in order of name; none when there is a problem."""
    where: Loc = (*loc, "file")
    places: Sequence[Place] = ()
    globbed = _is_glob(review.recipe, entry)
    wrong = _refused(review, entry.file)
    try:
        if wrong is not None:
            pass
        elif is_remote(entry.file):
            places = find_objects(entry.file, review.settings, PICTURE_SUFFIXES)
        elif globbed:
            places = _matches(review, entry.file)
        else:
            places = [path := _absolute(review.recipe, entry.file)]
            wrong = _unusable(path, entry.file)
        if wrong is None and globbed:
            wrong = _miscounted(entry, len(places))
    except RemoteError as error:
        wrong = str(error)
    if wrong is not None:
        review.wrong(where, wrong)
        return []
    extra = entry.__pydantic_extra__ or {}
    names = [entry.name or slug(place.stem) for place in places]
    return [
        Value(name, name, {"name": name, **extra}, place, where)
        for name, place in zip(names, places, strict=True)
    ]


def _miscounted(entry: InputEntry, count: int) -> str | None:
    if not count:
        return f"no picture matches '{entry.file}'; expected at least one; check the pattern"
    if count > MAX_FILES:
        return f"'{entry.file}' matches more than {MAX_FILES} files; expected fewer; narrow it"
    if entry.name is not None and count > 1:
        return (
            f"'{entry.file}' matches {count} files that would all be named "
            f"'{entry.name}'; expected one; remove 'name' or name the file"
        )
    return None


def _refused(review: Review, text: str) -> str | None:
    if is_remote(text) and text.isprintable():
        return None  # has rules of its own
    return refused(text, review.recipe.folder, review.settings)


def _unusable(path: Path, text: str) -> str | None:
    try:
        if path.is_dir():
            every = f"{text.rstrip('/')}/*"
            return f"'{text}' is a folder; expected a picture; write '{every}' for all in it"
        if path.is_file():
            return None
        siblings = [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        return f"'{short(text)}' cannot be read ({reason}); expected a picture; check the path"
    folder = text[: len(text) - len(Path(text).name)]
    if hint := did_you_mean(text, [folder + name for name in siblings]):
        return f"no file '{text}': {hint}"
    return f"no file '{text}'; expected a picture in '{path.parent.name}'; check the path"


def _matches(review: Review, pattern: str) -> list[Path]:
    # Path.glob refuses absolute patterns, which are fine inside the allowed folders.
    found = glob.iglob(pattern, root_dir=review.recipe.folder, recursive=True)  # noqa: PTH207
    paths = {_absolute(review.recipe, name) for name in found}
    pictures = [
        path
        for path in paths
        if path.suffix.lower() in PICTURE_SUFFIXES and _allowed(review, path) and path.is_file()
    ]
    return sorted(pictures, key=lambda path: (path.name, str(path)))


def _is_glob(recipe: Recipe, entry: InputEntry) -> bool:
    if is_remote(entry.file):
        return is_pattern(entry.file)
    if not glob.has_magic(entry.file):
        return False
    try:
        return not _absolute(recipe, entry.file).exists()
    except OSError:
        return True


def _written(recipe: Recipe, entry: InputEntry) -> str:
    """An entry's place, spelled as the places that a glob finds."""
    return entry.file if is_remote(entry.file) else str(_absolute(recipe, entry.file))


def _absolute(recipe: Recipe, text: str) -> Path:
    return absolute(recipe.folder, text)


def _allowed(review: Review, path: Path) -> bool:
    return is_allowed(path, review.recipe.folder, review.settings)
