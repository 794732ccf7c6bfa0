"""What we import is declared, and what computes no picture works without the extra ``engine``."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from kontext_engine.cutout import PACKAGE

from .run.conftest import run_to_end, write_recipe
from .test_imports import for_types_only, root

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
OURS = {"flows", "kontext_engine", "tests"}
PROVIDED_BY = packages_distributions()


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(*extras: str) -> set[str]:
    lines = [*PROJECT["dependencies"]]
    for extra in extras:
        lines += PROJECT["optional-dependencies"][extra]
    return {plain(re.split(r"[^\w.-]", line)[0]) for line in lines}


def imported(package: str) -> set[str]:
    """Libraries that the files of a package import anywhere, but for types alone."""
    found = set()
    for path in (ROOT / package).rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        skipped = {
            id(inner) for node in ast.walk(tree) if for_types_only(node) for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            if id(node) in skipped:
                continue
            if isinstance(node, ast.Import):
                found.update(root(alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(root(node.module))
    return found - OURS - sys.stdlib_module_names


@pytest.mark.parametrize(
    ("package", "extras"),
    [
        ("flows", ("up", "c2pa")),
        ("kontext_engine", ("engine", "cutout", "drawings", "text")),
        ("tests", ("engine", "dev", "c2pa")),
    ],
)
def test_every_import_is_declared(package, extras):
    known = declared(*extras)
    missing = {
        name
        for name in imported(package)
        if known.isdisjoint(map(plain, PROVIDED_BY.get(name, [name])))
    }
    # Modules beside the tests that import them.
    assert missing - {"sitecustomize"} == set()


def test_one_distribution_alone_provides_cv2():
    # Two would overwrite each other's files, and which one a cut is made by no key could tell.
    assert PROVIDED_BY["cv2"] == [PACKAGE]


def test_what_computes_is_an_extra_that_make_installs():
    engine = declared("engine") - declared()
    assert {"torch", "diffusers", "transformers", "accelerate"} <= engine
    assert "-e '.[engine,up,dev]'" in (ROOT / "Makefile").read_text("utf-8")


def without_engine(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join((str(ROOT / "tests" / "torchless"), str(ROOT)))
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory, zygote) -> Path:
    """A folder with a recipe that has been run."""
    folder = tmp_path_factory.mktemp("made")
    write_recipe(folder)
    assert run_to_end(zygote, folder, "0", "run", "ten.yaml").returncode == 0
    return folder


# Parents' workers and `deploy`: the servers' tests start them so, see `tests/chaos/city.py`.
@pytest.mark.parametrize("verb", ["plan ten.yaml", "pull {run} pulled", "gc", "models"])
def test_these_work_without_the_engine(made, verb):
    (run,) = (made / "out" / "runs").iterdir()
    done = without_engine(made, *verb.format(run=run.name).split())
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "code"), [(("run", "ten.yaml", "--store", "other"), 1), (("bench",), 2)]
)
def test_what_needs_the_engine_says_how_to_get_it(made, arguments, code):
    done = without_engine(made, *arguments)
    assert done.returncode == code
    assert "is not installed; expected the extra 'engine'" in done.stderr
    assert "pip install 'kontext-pipeline[engine]'" in done.stderr
    assert "Traceback" not in done.stderr
