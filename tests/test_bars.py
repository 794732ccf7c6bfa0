"""Progress where nobody looks at a terminal."""

from __future__ import annotations

import pytest

from flows.cli import bars


@pytest.mark.parametrize(
    ("fields", "moved", "told"),
    [
        ({}, {"completed": 1200, "total": 5000}, "looking 1,200 of 5,000\n"),
        ({}, {"completed": 7, "description": "marking"}, "marking 7\n"),
        ({}, {"description": "marking"}, "marking 0\n"),
        ({"files": "0"}, {"completed": 99, "total": 120, "files": "3/12"}, "looking 3/12\n"),
    ],
)
def test_a_log_has_a_line_every_ten_seconds(fields, moved, told, monkeypatch, capsys) -> None:
    clock = iter([0.0, 9.9, 10.0, 10.0, 19.9])
    monkeypatch.setattr(bars.time, "monotonic", lambda: next(clock))
    with bars.bar("looking", **fields) as move:
        move(completed=0)
        assert capsys.readouterr().err == ""
        move(**moved)
        move(**moved)
    assert capsys.readouterr() == ("", told)
