"""From an input's entry to files on this disk, or to objects in S3.

Which files a recipe may read is told in ``flows.recipe.reach``; ``flows.sources.remote`` has the
same for S3.
"""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath, PurePosixPath

from flows.problems import did_you_mean
from flows.recipe.axes import Value
from flows.recipe.entries import InputEntry
from flows.recipe.naming import is_text, legible, name_files, slug
from flows.recipe.node import Loc, short
from flows.recipe.reach import absolute, is_allowed, refused
from flows.recipe.recipe import Recipe
from flows.recipe.review import Review
from flows.sources.place import Place, S3Object
from flows.sources.remote import RemoteError, find_objects, is_pattern, is_remote
from kontext_engine.picture import SUFFIXES  # what a glob picks up; else a file may have any name

MAX_FILES = 10_000
_KINDS_TOLD = 6


def resolve_input(
    review: Review, name: str, entries: Sequence[InputEntry]
) -> tuple[tuple[Value, ...], bool]:
    """An input's values and whether it is an axis to show: whether it is a list or a glob.

    A glob passes over files that are listed beside it, so that these keep their variables. Files
    without a ``name`` are named after themselves, and so that all names differ.
    """
    recipe = review.recipe
    node = recipe.source.node(("inputs", name))
    listed = node is not None and node.items is not None
    globs = [_is_glob(recipe, entry) for entry in entries]
    plain = [entry for entry, globbed in zip(entries, globs, strict=True) if not globbed]
    explicit = {_written(recipe, entry) for entry in plain}
    found: list[tuple[Loc, str | None, Value]] = []
    matched: set[str] = set()
    for index, (entry, globbed) in enumerate(zip(entries, globs, strict=True)):
        loc: Loc = ("inputs", name, index) if listed else ("inputs", name)
        for value in resolve_entry(review, loc, entry):
            if globbed and str(value.path) in explicit | matched:
                continue
            if globbed:
                matched.add(str(value.path))
            found.append((loc, entry.name, value))
    return _named(review, name, found), listed or any(globs)


def _named(
    review: Review, name: str, found: Sequence[tuple[Loc, str | None, Value]]
) -> tuple[Value, ...]:
    own = [_relative(review.recipe, value.path) for _, given, value in found if given is None]
    told = iter(name_files(own, {given for _, given, _ in found if given is not None}))
    values: dict[str, Value] = {}
    for loc, given, value in found:
        called = given or next(told)
        named = replace(
            value, name=called, text=called, attributes={**value.attributes, "name": called}
        )
        if values.setdefault(called, named) is not named:
            text = (
                f"two files of '{name}' are named '{called}'; expected different names; "
                "give one of them a 'name'"
            )
            review.wrong(loc, text)
    return tuple(values.values())


def resolve_entry(review: Review, loc: Loc, entry: InputEntry) -> list[Value]:
    """The pictures that one entry means, in order of name; none when there is a problem."""
    where: Loc = (*loc, "file")
    places: Sequence[Place] = ()
    passed: Sequence[str] = ()
    globbed = _is_glob(review.recipe, entry)
    wrong = _refused(review, entry.file)
    try:
        if wrong is not None:
            pass
        elif is_remote(entry.file):
            places, passed = find_objects(entry.file, review.settings, SUFFIXES.keys())
        elif globbed:
            places, passed = _matches(review, entry.file)
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
    if passed:
        review.note(where, _passed_over(entry.file, passed))
    if odd := [place.name for place in places if not is_text(str(place))]:
        more = f" and {len(odd) - 1} more" if len(odd) > 1 else ""
        text = f"names that are not UTF-8 are spelt by their bytes: '{legible(odd[0])}'{more}"
        review.note(where, f"{text}; expected UTF-8; rename the files")
    return [_value(entry, place, where) for place in places]


def resolve_file(review: Review, loc: Loc, text: str, what: str = "a picture") -> Path | None:
    """The one file that a text means; ``None`` when there is a problem, which is noted."""
    wrong = _refused(review, text)
    if wrong is None and is_remote(text):
        wrong = f"'{short(text)}' is in S3; expected a file here; name it under 'inputs'"
    path = _absolute(review.recipe, text)
    wrong = wrong or _unusable(path, text, what, one=True)
    if wrong is not None:
        review.wrong(loc, wrong)
    return None if wrong else path


def _value(entry: InputEntry, place: Place, where: Loc) -> Value:
    name = entry.name or slug(place.stem)
    known = {"folder": place.folder if isinstance(place, S3Object) else place.parent.name}
    known |= {"name": name} | (entry.__pydantic_extra__ or {})
    return Value(name, name, known, place, where)


def _passed_over(pattern: str, passed: Sequence[str]) -> str:
    """What is told of files that a glob matches and that no picture's ending has."""
    kinds = Counter(PurePath(name).suffix.lower() or "without an ending" for name in passed)
    told = [f"{kind} {count}" for kind, count in kinds.most_common(_KINDS_TOLD)]
    more = ", …" if len(kinds) > _KINDS_TOLD else ""
    files = "1 file" if len(passed) == 1 else f"{len(passed)} files"
    return f"'{short(pattern)}': {files} passed over: {', '.join(told)}{more}"


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


def _unusable(path: Path, text: str, what: str = "a picture", *, one: bool = False) -> str | None:
    try:
        if path.is_file():
            return None
        if path.is_dir():
            advice = "name a file in it" if one else f"write '{text.rstrip('/')}/*' for all in it"
            return f"'{text}' is a folder; expected {what}; {advice}"
        if path.exists():
            return f"'{text}' is a pipe or a device; expected {what}; name a file"
        siblings = [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        return f"'{short(text)}' cannot be read ({reason}); expected {what}; check the path"
    folder = text[: len(text) - len(Path(text).name)]
    if hint := did_you_mean(text, [folder + name for name in siblings]):
        return f"no file '{text}': {hint}"
    return f"no file '{text}'; expected {what} in '{path.parent.name}'; check the path"


def _matches(review: Review, pattern: str) -> tuple[list[Path], list[str]]:
    """The pictures that a glob means, and the names of what else it matches."""
    # Path.glob refuses absolute patterns, which are fine inside the allowed folders.
    found = glob.iglob(pattern, root_dir=review.recipe.folder, recursive=True)  # noqa: PTH207
    paths = {_absolute(review.recipe, name) for name in found}
    files = [path for path in paths if _allowed(review, path) and path.is_file()]
    pictures = [path for path in files if path.suffix.lower() in SUFFIXES]
    passed = [path.name for path in files if path.suffix.lower() not in SUFFIXES]
    pictures.sort(key=lambda path: (path.name, str(path)))
    return pictures, passed


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


def _relative(recipe: Recipe, place: Place | None) -> PurePath:
    """A place as the same recipe would find it on another machine."""
    if isinstance(place, S3Object):
        return PurePosixPath(place.key)
    return Path(os.path.relpath(place or "", Path.cwd() / recipe.folder))


def _allowed(review: Review, path: Path) -> bool:
    return is_allowed(path, review.recipe.folder, review.settings)
