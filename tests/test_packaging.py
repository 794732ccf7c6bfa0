"""What a wheel holds: all that works without a checkout."""

from __future__ import annotations

import fnmatch
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]


def tracked(folder: str) -> list[Path]:
    command = ["git", "ls-files", "-z", folder]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [Path(name) for name in listed.split("\0") if name]


@pytest.mark.parametrize("package", ["flows", "kontext_engine"])
def test_every_file_that_is_no_module_is_package_data(package):
    held = {
        path.relative_to(ROOT)
        for pattern in SETUPTOOLS["package-data"][package]
        for path in (ROOT / package).glob(pattern)
        if path.is_file()
    }
    assert {path for path in tracked(package) if path.suffix != ".py"} - held == set()


def test_every_sample_recipe_goes_along_in_the_same_folders():
    held = {
        Path(target, path.name): path
        for target, patterns in SETUPTOOLS["data-files"].items()
        for path in map(Path, fnmatch_all(patterns))
    }
    expected = {Path("share/kontext") / path: path for path in tracked("recipes")}
    assert held == expected
    # A folder among the files ends the build of the wheel.
    patterns = [one for group in SETUPTOOLS["data-files"].values() for one in group]
    assert [path for one in patterns for path in ROOT.glob(one) if not path.is_file()] == []


def fnmatch_all(patterns):
    every = [str(path) for path in tracked("recipes")]
    for pattern in patterns:
        depth = pattern.count("/")
        yield from (
            name
            for name in every
            if name.count("/") == depth and fnmatch.fnmatchcase(name, pattern)
        )
