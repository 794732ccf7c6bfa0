"""The recipe catalog: where recipes are found by name, a folder or a prefix of a bucket."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from flows.recipe.errors import Problem, RecipeError, did_you_mean, one_of
from flows.recipe.overrides import overrides_path
from flows.recipe.source import MAX_BYTES
from flows.settings import Settings
from flows.store.address import S3Address, is_s3, open_objects, parse_address
from flows.store.base import AddressError, StoreError
from flows.store.objects import Objects, checked

ENDINGS = (".yaml", ".yml")
KEPT = ".overrides"  # what a re-roll keeps beside a recipe is none itself
MAX_RECIPES = 1000


@dataclass(frozen=True, slots=True)
class Found:
    """A recipe as a file of this machine, and what people call it."""

    path: Path
    shown: str
    settings: Settings


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
        found = sorted(name for name in map(_name, self._files()) if name)
        names = list(dict.fromkeys(name for name in found if name.startswith(prefix)))
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
        files = {name: file for file in self._files() if (name := _name(file))}
        return [f"{self.where}/{files[name]}" for name in self.names()]

    @contextlib.contextmanager
    def fetched(self, recipe: str) -> Iterator[Found]:
        """A recipe by its name here, or by ``s3://bucket/key.yaml``, as a file for a while.

        One from S3 may read nothing but S3: what lies on this machine was not put there for it.

        Raises:
            RecipeError: there is none, or it may not be read.
        """
        if not is_s3(recipe) and not is_s3(self.where):
            yield Found(self._file(recipe), "", self._settings)
            return
        address = recipe if is_s3(recipe) else self._address(recipe)
        text, kept = self._download(address, recipe)
        with tempfile.TemporaryDirectory(prefix="kontext-recipe-") as folder:
            path = Path(folder) / PurePosixPath(address).name
            path.write_bytes(text)
            if kept is not None:
                overrides_path(path).write_bytes(kept)
            only = self._settings.inputs.model_copy(update={"schemes": ("s3",)})
            limited = self._settings.model_copy(update={"inputs": only})
            try:
                yield Found(path, address, limited)
            except RecipeError as error:
                raise RecipeError(
                    Problem(
                        problem.path.replace(str(path), address).replace(folder, address),
                        problem.mark,
                        problem.text.replace(folder, address.rpartition("/")[0]),
                    )
                    for problem in error.problems
                ) from None

    def _files(self) -> Iterator[str]:
        """Paths of files below, from here."""
        address = _place(self.where)
        if isinstance(address, Path):
            if not address.is_dir():
                raise _wrong(self.where, "no such folder; expected one with recipes; check it")
            for path in address.rglob("*"):
                if path.is_file():
                    yield path.relative_to(address).as_posix()
            return
        try:
            for entry in open_objects(self.where, self._settings).list(""):
                yield entry.name
        except StoreError as error:
            raise _wrong(self.where, f"cannot be listed ({error})") from None

    def _file(self, recipe: str) -> Path:
        folder = Path(self.where)
        plain = recipe
        for ending in ENDINGS:
            plain = plain.removesuffix(ending)
        with contextlib.suppress(ValueError):
            for ending in ENDINGS:
                path = folder / checked(f"{plain}{ending}")
                if path.is_file():
                    return path
        raise self._unknown(recipe)

    def _address(self, recipe: str) -> str:
        names = {_name(file): file for file in self._files()}
        plain = _name(recipe) or recipe
        if plain not in names:
            raise self._unknown(recipe)
        return f"{self.where}/{names[plain]}"

    def _unknown(self, recipe: str) -> RecipeError:
        names = self.names()
        if hint := did_you_mean(recipe, names):
            return _wrong(self.where, f"no recipe '{recipe}': {hint}")
        known = f"expected {one_of(names)}" if names else "there is none yet"
        return _wrong(self.where, f"no recipe '{recipe}'; {known} or s3://bucket/recipe.yaml")

    def _download(self, address: str, recipe: str) -> tuple[bytes, bytes | None]:
        if not address.endswith(ENDINGS):
            raise _wrong(recipe, "is no recipe; expected s3://bucket/recipe.yaml; mend the address")
        home, _, key = address.rpartition("/")
        place = _place(home)
        if not isinstance(place, S3Address) or not key:
            raise _wrong(recipe, "is no address of a recipe; expected s3://bucket/recipe.yaml")
        self._check_allowed(address, place)
        try:
            objects = open_objects(home, self._settings)
            data = _read(objects, key)
            if data is None:
                raise _wrong(recipe, "no such object; expected a recipe; check the address")
            return data, _read(objects, overrides_path(Path(key)).name)
        except StoreError as error:
            raise _wrong(recipe, f"cannot be read ({error})") from None

    def _check_allowed(self, address: str, place: S3Address) -> None:
        own = [where for where in (self.where, self._settings.store) if is_s3(where)]
        buckets = [where.removeprefix("s3://").partition("/")[0] for where in own]
        for one in (*buckets, *self._settings.inputs.buckets):
            bucket, _, prefix = one.partition("/")
            if place.bucket == bucket and (
                not prefix or f"{place.prefix}/".startswith(f"{prefix}/")
            ):
                return
        raise _wrong(
            address,
            "lies where recipes may not be read from; expected the store's bucket, that of the "
            f"recipes, or one of inputs.buckets; add '{place.bucket}' there if it is to be trusted",
        )


def _read(objects: Objects, name: str) -> bytes | None:
    entry = objects.stat(name)
    if entry is None:
        return None
    if entry.size > MAX_BYTES:
        where = f"{objects.where}/{name}"
        raise _wrong(where, f"larger than {MAX_BYTES // 1024} KiB; expected a recipe; split it")
    held = objects.get(name)
    return None if held is None else held.data


def _name(file: str) -> str:
    """A recipe's name, or nothing when the file is no recipe."""
    for ending in ENDINGS:
        stem = file.removesuffix(ending)
        hidden = any(part.startswith(".") for part in stem.split("/"))
        if stem != file and not stem.endswith(KEPT) and not hidden:
            return stem
    return ""


def same_place(one: str, other: str) -> bool:
    """Whether two addresses of stores mean the same one."""
    try:
        places = [parse_address(one), parse_address(other)]
    except AddressError:
        return False
    whole = [place.resolve() if isinstance(place, Path) else place for place in places]
    return whole[0] == whole[1]


def _place(where: str) -> S3Address | Path:
    try:
        return parse_address(where)
    except AddressError as error:
        raise _wrong("recipe", str(error)) from None


def _wrong(where: str, text: str) -> RecipeError:
    return RecipeError([Problem(where, None, text)])
