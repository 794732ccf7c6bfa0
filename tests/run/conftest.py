"""A recipe over ten products, and ``kontext`` as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

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


@pytest.fixture
def recipe(tmp_path) -> Path:
    ten_products(tmp_path / "in")
    path = tmp_path / "ten.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def start(tmp_path) -> Callable[..., subprocess.Popen]:
    """Start ``kontext`` with an engine (see ``fake_kontext``); text pipes on stdout and stderr."""

    def launch(engine: str, *arguments: str, **options) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, str(SCRIPT), engine, *map(str, arguments)],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    return launch


@pytest.fixture
def kontext(start) -> Callable[..., subprocess.CompletedProcess]:
    """Run ``kontext`` to its end."""

    def run(engine: str, *arguments: str) -> subprocess.CompletedProcess:
        with start(engine, *arguments) as process:
            out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return run
