"""The recipe catalog: where recipes are found by name, a folder or a prefix of a bucket."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

from flows.problems import Problem, did_you_mean, one_line, one_of
from flows.recipe.errors import RecipeError
from flows.recipe.overrides import KEPT, overrides_path
from flows.recipe.reach import Fetch
from flows.recipe.source import MAX_BYTES
from flows.recipe.tables import MAX_BYTES as MAX_TABLE
from flows.settings import Settings
from flows.settings.address import SCHEME, S3Address, is_s3
from flows.settings.secrecy import masked
from flows.settings.toml_file import FILE_NAME
from flows.sources.remote import is_allowed
from flows.store.address import open_objects, parse_address
from flows.store.base import AddressError, StoreError
from flows.store.objects import Objects

ENDINGS = (".yaml", ".yml")
HIDDEN = (".", "_")  # nor is what begins so: tables in YAML, what recipes extend
MAX_RECIPES = 1000


@dataclass(frozen=True, slots=True)
class Found:
    """A recipe as a file of this machine, and what people call it.

    ``fetch`` brings what lies beside a recipe that is from elsewhere.
    """

    path: Path
    shown: str
    settings: Settings
    fetch: Fetch | None = None


class Catalog:
    """Recipes below ``where``: a folder, or ``s3://bucket/prefix``."""

    def __init__(self, where: str, settings: Settings) -> None:
        self.where = where.rstrip("/") or where
        self._settings = settings

    def names(self, below: str = "") -> list[str]:
        """The names of the recipes in it (``spring/looks``); of a folder of it, if one is named.

        Raises:
            RecipeError: there is no such place, or it cannot be read.
        """
        prefix = f"{below.strip('/')}/" if below.strip("/") else ""
        found = self._files()
        names = [name for name in found if name.startswith(prefix)]
        if len(names) > MAX_RECIPES:
            raise _wrong(self.where, f"more than {MAX_RECIPES} recipes; expected fewer; split it")
        if not names and prefix:
            folders = sorted({name.rpartition("/")[0] for name in found} - {""})
            hint = f": {one_of(folders)}" if folders else ""
            raise _wrong(self.where, f"no recipe in its folder '{below}'; expected one{hint}")
        return names

    def addresses(self) -> list[str]:
        """Where each recipe below a prefix of a bucket is: ``s3://bucket/prefix/looks.yaml``.

        Raises:
            RecipeError: it cannot be read, or holds too many.
        """
        files = self._files()
        return [f"{self.where}/{files[name]}" for name in self.names()]

    @contextlib.contextmanager
    def fetched(self, recipe: str) -> Iterator[Found]:
        """A recipe by its name here, or by ``s3://bucket/key.yaml``, as a file for a while.

        One of a folder may read what lies in that folder, wherever the process runs. One from
        S3 may read nothing but S3: what lies on this machine was not put there for it.
        Tables, and what it extends, are read from below its own prefix.

        Raises:
            RecipeError: there is none, or it may not be read.
        """
        address = recipe if is_s3(recipe) else f"{self.where}/{self._file(recipe)}"
        if not is_s3(address):
            own = self._settings.reading_below(str(Path(self.where).absolute()))
            yield Found(Path(address), "", own)
            return
        text, kept = self._download(address, recipe)
        home = address.rpartition("/")[0]
        with tempfile.TemporaryDirectory(prefix="kontext-recipe-") as folder:
            path = Path(folder) / PurePosixPath(address).name
            path.write_bytes(text)
            # What lies above this folder on this machine is no default of the recipe's.
            path.with_name(FILE_NAME).touch()
            if kept is not None:
                overrides_path(path).write_bytes(kept)
            only = self._settings.inputs.model_copy(update={"schemes": ("s3",)})
            limited = self._settings.model_copy(update={"inputs": only})
            try:
                yield Found(path, address, limited, partial(self._fetch, home, Path(folder)))
            except RecipeError as error:
                raise RecipeError(
                    replace(
                        one,
                        path=one.path.replace(folder, home),
                        text=one.text.replace(folder, home),
                    )
                    for one in error.problems
                ) from None

    def _fetch(self, home: str, folder: Path, text: str, path: Path) -> str | None:
        """Bring what lies at ``text`` beside a recipe of the prefix ``home`` to ``path``."""
        if not text.isprintable() or not path.is_relative_to(folder):
            return (
                f"'{one_line(text)}' lies outside {home}/, where the recipe is; expected a file "
                "below that; put it there"
            )
        name = path.relative_to(folder).as_posix()
        try:
            wrong = (
                None if path.is_file() else _brought(open_objects(home, self._settings), name, path)
            )
        except StoreError as error:
            wrong = f"cannot be read ({masked(str(error))}); expected a file; check the server"
        return wrong and f"'{name}' below {home}/ {wrong}"

    def _files(self) -> dict[str, str]:
        """The recipes' files below by their names, in order; of two with one name the ``.yaml``."""
        place = _place(self.where)
        try:
            if isinstance(place, S3Address):
                files = [entry.name for entry in open_objects(self.where, self._settings).list("")]
            elif place.is_dir():
                files = [p.relative_to(place).as_posix() for p in place.rglob("*") if p.is_file()]
            else:
                raise _wrong(self.where, "no such folder; expected one with recipes; check it")
        except StoreError as error:
            raise _wrong(self.where, f"cannot be listed ({error})") from None
        named = {_name(file): file for file in sorted(files, reverse=True)}
        return {name: named[name] for name in sorted(named) if name}

    def _file(self, recipe: str) -> str:
        files = self._files()
        name = _name(recipe) or recipe
        if name in files:
            return files[name]
        if hint := did_you_mean(recipe, files):
            raise _wrong(self.where, f"no recipe '{recipe}': {hint}")
        known = f"expected {one_of(list(files))}" if files else "there is none yet"
        raise _wrong(self.where, f"no recipe '{recipe}'; {known} or s3://bucket/recipe.yaml")

    def _download(self, address: str, recipe: str) -> tuple[bytes, bytes | None]:
        if not address.endswith(ENDINGS):
            raise _wrong(recipe, "is no recipe; expected s3://bucket/recipe.yaml; mend the address")
        home, _, key = address.rpartition("/")
        place = _place(home)
        if not isinstance(place, S3Address) or not key:
            raise _wrong(recipe, "is no address of a recipe; expected s3://bucket/recipe.yaml")
        own = [where for where in (self.where, self._settings.store) if is_s3(where)]
        buckets = [where.removeprefix(SCHEME).partition("/")[0] for where in own]
        allowed = (*buckets, *self._settings.inputs.buckets)
        if not is_allowed(place.bucket, f"{place.prefix}/{key}", allowed):
            raise _wrong(
                address,
                "lies where recipes may not be read from; expected the store's bucket, that of the "
                f"recipes, or one of inputs.buckets; add '{place.bucket}' there if it is to be "
                "trusted",
            )
        try:
            objects = open_objects(home, self._settings)
            data = _read(objects, key)
            if data is None:
                raise _wrong(recipe, "no such object; expected a recipe; check the address")
            return data, _read(objects, overrides_path(Path(key)).name)
        except StoreError as error:
            raise _wrong(recipe, f"cannot be read ({error})") from None


def _read(objects: Objects, name: str) -> bytes | None:
    entry = objects.stat(name)
    if entry is None:
        return None
    if entry.size > MAX_BYTES:
        where = f"{objects.where}/{name}"
        raise _wrong(where, f"larger than {MAX_BYTES // 1024} KiB; expected a recipe; split it")
    held = objects.get(name)
    return None if held is None else held.data


def _brought(objects: Objects, name: str, path: Path) -> str | None:
    """Bring an object to ``path``, or tell why not."""
    entry = objects.stat(name)
    if entry is not None and entry.size > MAX_TABLE:
        return f"is larger than {MAX_TABLE >> 20} MiB; expected less; split it"
    held = objects.get(name) if entry is not None else None
    if held is None:
        beside = itertools.islice(objects.list(name[: name.rfind("/") + 1]), MAX_RECIPES)
        hint = did_you_mean(name, [one.name for one in beside])
        return f"is not there: {hint}" if hint else "is not there; expected a file; put it there"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(held.data)
    return None


def _name(file: str) -> str:
    """A recipe's name, or nothing when the file is no recipe."""
    for ending in ENDINGS:
        stem = file.removesuffix(ending)
        hidden = any(part.startswith(HIDDEN) for part in stem.split("/"))
        if stem != file and not stem.endswith(KEPT) and not hidden:
            return stem
    return ""


def _place(where: str) -> S3Address | Path:
    try:
        return parse_address(where)
    except AddressError as error:
        raise _wrong("recipe", str(error)) from None


def _wrong(where: str, text: str) -> RecipeError:
    return RecipeError([Problem(where, None, text)])
