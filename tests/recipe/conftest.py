from __future__ import annotations

from pathlib import Path

import pytest

from tests.recipe.workspace import make_samples


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with samples, which is the current folder."""
    make_samples(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path
