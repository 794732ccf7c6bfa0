"""A recipe with all that it refers to, in the store: what ``kontext run --prefect`` orders.

``orders/<sha256>`` lists the recipe, its overrides and its pictures by their places relative to
the recipe and their digests; the bytes are in ``blobs/<sha256>``. A parent on any host unpacks it
into a folder for as long as it plans.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import quote_from_bytes, unquote_to_bytes

from pydantic import BaseModel, ConfigDict, ValidationError

from flows.plan.beside import files_beside, named_beside
from flows.plan.presets import FILE as PRESETS
from flows.problems import Problem
from flows.recipe.catalog import Found
from flows.recipe.errors import RecipeError
from flows.recipe.graph import build_graph
from flows.recipe.handout import SheetSpec
from flows.recipe.matrix import build_axes, build_variants
from flows.recipe.naming import is_text
from flows.recipe.node import Loc
from flows.recipe.overrides import overrides_path
from flows.recipe.recipe import Recipe
from flows.recipe.review import Review
from flows.settings import Settings
from flows.settings.toml_file import FILE_NAME
from flows.store.keyed import KeyedStore
from flows.store.objects import Objects

ORDERS = "orders/"
SCHEME = "order:"
_BYTES = "\0bytes:"
DEEPEST = 32  # folders above the recipe's that its pictures may lie in


class _Parcel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: str  # its file name
    files: dict[str, str]  # relative place -> SHA-256; the recipe itself among them
    project: str | None = None  # of its folder
    # Names of the folders that pictures may lie in beside and above it, its own last: texts and
    # tables may tell of them ({product.folder}).
    folders: tuple[str, ...] = ()


def is_parcel(recipe: str) -> bool:
    """Whether a form's recipe is one that was put into the store."""
    return recipe.startswith(SCHEME)


def files_of(recipe: Recipe, settings: Settings) -> dict[str, Path]:
    """What a recipe refers to on this machine, by its place relative to the recipe.

    Raises:
        RecipeError: an input is wrong, or is named in a way that means nothing elsewhere.
    """
    review = Review(recipe, settings)
    axes = build_axes(review)
    found: dict[str, Path] = {recipe.path.name: recipe.path}
    kept = overrides_path(recipe.path)
    if kept.is_file():
        found[kept.name] = kept
    folder = Path(os.path.normpath(Path.cwd() / recipe.folder))
    for path in (*recipe.files, *_of_outputs(recipe)):  # also tables, and what it extends
        place = os.path.relpath(Path.cwd() / path, folder)
        found[PurePosixPath(place).as_posix()] = path
    for name, entries in recipe.document.inputs.items():
        for index, entry in enumerate(entries):
            node = recipe.source.node(("inputs", name))
            listed = node is not None and node.items is not None
            loc: Loc = ("inputs", name, index) if listed else ("inputs", name)
            _refuse_absolute(review, loc, entry.file)
    for axis in axes.values():
        for value in axis.values:
            if isinstance(value.path, Path) and value.path != Path():
                place = os.path.relpath(value.path, folder)
                found[PurePosixPath(place).as_posix()] = value.path
    for loc, text in named_beside(recipe):
        _refuse_absolute(review, loc, text)
    variants, nodes = build_variants(review, axes), build_graph(review, axes)
    review.stop_if_wrong()
    for path in files_beside(review, nodes.values(), variants):
        found[PurePosixPath(os.path.relpath(path, folder)).as_posix()] = path
    review.stop_if_wrong()
    return found


def _of_outputs(recipe: Recipe) -> Iterator[Path]:
    """The folder's presets and the fonts of sheets, as far as they are there: planning tells."""
    fonts = [one.font for one in recipe.document.outputs if isinstance(one, SheetSpec) and one.font]
    for place in (PRESETS, *fonts):
        if (recipe.folder / place).is_file():
            yield recipe.folder / place


def _refuse_absolute(review: Review, loc: Loc, text: str) -> None:
    if Path(text).is_absolute():
        told = (
            f"'{text}' means nothing on another machine; expected a place relative to the recipe, "
            "or s3://bucket/key; change it, or run without --prefect"
        )
        review.wrong(loc, told)


def put_parcel(recipe: Recipe, settings: Settings, store: KeyedStore) -> str:
    """Put a recipe and what it refers to into the store; what a form calls it.

    Raises:
        RecipeError: as ``files_of``, or a file cannot be read.
        StoreError: the store fails.
    """
    digests: dict[str, str] = {}
    for place, path in sorted(files_of(recipe, settings).items()):
        try:
            data = path.read_bytes()
        except OSError as error:
            why = (error.strerror or type(error).__name__).lower()
            text = f"'{path.name}' cannot be read ({why}); expected a file; check it"
            raise RecipeError([Problem(str(recipe.path), None, text)]) from None
        digests[_spelt(place)] = store.keep(data)
    above = Path(os.path.abspath(recipe.folder)).parts[1:]  # noqa: PTH100 - links stay what they are
    parcel = _Parcel(
        recipe=recipe.path.name,
        files=digests,
        project=settings.project,
        folders=tuple(map(_spelt, above[-1 - _ups(digests) :])),
    )
    body = parcel.model_dump_json(indent=1, exclude_none=True).encode()
    digest = hashlib.sha256(body).hexdigest()
    name = f"{ORDERS}{digest}"
    # Made young again, so that no clean-up takes it; one that has just been taken is made anew.
    while not store.objects.create(name, body) and not store.objects.touch(name):
        continue
    return f"{SCHEME}{digest}"


@contextlib.contextmanager
def unpacked(name: str, objects: Objects, settings: Settings) -> Iterator[Found]:
    """A parcel as files for a while.

    Raises:
        RecipeError: it is not in this store, or is damaged.
        StoreError: the store fails.
    """
    digest = name.removeprefix(SCHEME)
    held = objects.get(f"{ORDERS}{digest}")
    if held is None or hashlib.sha256(held.data).hexdigest() != digest:
        raise _wrong(name, "is not in this store; expected an order that was put there; order anew")
    try:
        parcel = _Parcel.model_validate_json(held.data)
    except ValidationError:
        raise _wrong(name, "is of another release; order it anew") from None
    with tempfile.TemporaryDirectory(prefix="kontext-order-") as root:
        folder = _folder(Path(root), parcel)
        folder.mkdir(parents=True)
        for place, blob in ((_place(text), blob) for text, blob in parcel.files.items()):
            path = Path(os.path.normpath(folder / place))
            if not path.is_relative_to(root):
                raise _wrong(name, "names a file outside of itself; order it anew")
            data = objects.get(f"blobs/{blob}")
            if data is None or hashlib.sha256(data.data).hexdigest() != blob:
                raise _wrong(name, f"lacks {place}; order it anew where the file is")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.data)
        # What lies above this folder on this machine is no default of the recipe's.
        (Path(root) / FILE_NAME).touch()
        own = settings.reading_below(root).model_copy(update={"project": parcel.project})
        yield Found(folder / parcel.recipe, parcel.recipe, own)


def _spelt(place: str) -> str:
    """A place as JSON holds it: one that is not UTF-8 by its bytes, after a sign that none has."""
    return place if is_text(place) else _BYTES + quote_from_bytes(os.fsencode(place))


def _place(text: str) -> str:
    if not text.startswith(_BYTES):
        return text
    return os.fsdecode(unquote_to_bytes(text.removeprefix(_BYTES)))


def _ups(files: Iterable[str]) -> int:
    """How far above the recipe's folder files lie."""
    return min(DEEPEST, max((place.split("/").count("..") for place in files), default=0))


def _folder(root: Path, parcel: _Parcel) -> Path:
    """Deep enough that what lies above the recipe's folder has a place as well, under its name."""
    named = [_place(name) for name in parcel.folders]
    plain = [name for name in named if name not in ("", ".", "..") and "/" not in name]
    names = plain if len(plain) == len(named) else []
    lacking = 1 + _ups(parcel.files) - len(names)
    return root.joinpath(*("up" for _ in range(lacking)), *names)


def _wrong(where: str, text: str) -> RecipeError:
    return RecipeError([Problem(where, None, text)])
