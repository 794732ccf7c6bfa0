from __future__ import annotations

import pytest

from tests.decisions.board import Board


@pytest.fixture
def board(tmp_path, monkeypatch) -> Board:
    """Written, and run once: six frames are there, and two picks wait."""
    monkeypatch.chdir(tmp_path)
    made = Board(tmp_path).write()
    made.run()
    return made
