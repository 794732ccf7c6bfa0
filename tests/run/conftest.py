"""A recipe over ten products, and ``kontext`` as a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from flows.run import keeping
from flows.run.outputs import encode_output
from flows.store.folder import LocalObjects
from flows.store.local import LocalStore

from ..forked import Forked, Zygote
from .samples import ten_products

SCRIPT = Path(__file__).with_name("fake_kontext.py")

RECIPE = """\
version: 1
name: ten products
variables: {what: snow}
inputs:
  product: in/*.png
defaults: {steps: 4, size: 64x48}
steps:
  place: {op: edit, image: product, prompt: "put the {product} on a beach"}
  weather: {op: edit, image: place, prompt: "make it {what}"}
"""


def write_recipe(folder: Path) -> Path:
    ten_products(folder / "in")
    path = folder / "ten.yaml"
    path.write_text(RECIPE)
    return path


def fresh(folder: Path, engine: str, *arguments: object) -> subprocess.CompletedProcess:
    """``kontext`` as a shell starts it, with an engine (see ``fake_kontext``), run to its end."""
    return subprocess.run(
        [sys.executable, str(SCRIPT), engine, *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def run_to_end(
    zygote: Zygote, folder: Path, engine: str, *arguments: object
) -> subprocess.CompletedProcess:
    """The same, forked: it begins at once. ``real`` is fresh: its imports are looked at."""
    if engine == "real":
        return fresh(folder, engine, *arguments)
    with zygote.start(arguments, folder, os.environ, engine=engine) as process:
        out, err = process.communicate(timeout=120)
    return subprocess.CompletedProcess(arguments, process.wait(), out, err)


@pytest.fixture
def recipe(tmp_path) -> Path:
    return write_recipe(tmp_path)


@pytest.fixture
def start(zygote, tmp_path) -> Callable[..., Forked]:
    """Start ``kontext`` with an engine."""
    return lambda engine, *arguments: zygote.start(arguments, tmp_path, os.environ, engine=engine)


@pytest.fixture
def kontext(zygote, tmp_path) -> Callable[..., subprocess.CompletedProcess]:
    """Run ``kontext`` to its end."""
    return partial(run_to_end, zygote, tmp_path)


@pytest.fixture(scope="module")
def first_run(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    """A folder in which the recipe has been run once, and how that ended."""
    folder = tmp_path_factory.mktemp("first")
    write_recipe(folder)
    return folder, fresh(folder, "0", "run", "ten.yaml")


@pytest.fixture
def made(first_run, tmp_path) -> subprocess.CompletedProcess:
    """A copy of that folder, for tests of what comes next; ``kontext`` works in it."""
    folder, ended = first_run
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return ended


@pytest.fixture
def store(tmp_path) -> LocalStore:
    return LocalStore(tmp_path / "out")


@pytest.fixture
def products(tmp_path) -> list[Path]:
    return ten_products(tmp_path / "in")[:3]


@pytest.fixture
def read(monkeypatch) -> Counter:
    """How often each object's bytes are read."""
    names: Counter = Counter()
    real = LocalObjects.get

    def get(self, name):
        names[name] += 1
        return real(self, name)

    monkeypatch.setattr(LocalObjects, "get", get)
    return names


@pytest.fixture
def encoded(monkeypatch) -> list[str]:
    """The paths of the outputs that are encoded."""
    paths: list[str] = []

    def encode(plan, planned, *rest, **more):
        paths.append(planned.path)
        return encode_output(plan, planned, *rest, **more)

    monkeypatch.setattr(keeping, "encode_output", encode)
    return paths
