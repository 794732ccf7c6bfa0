"""``kontext decide`` as people type it: killed between pick and use, and on a second machine."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.decisions.board import PICK, Board
from tests.run.conftest import run_to_end


@pytest.fixture
def kontext(zygote):
    """What a verb printed that ends with the code ``ends``."""

    def run(folder: Path, *arguments: str, ends: int = 0) -> str:
        ended = run_to_end(zygote, folder, "0", *arguments)
        assert ended.returncode == ends, ended.stderr
        return ended.stdout + ended.stderr

    return run


@pytest.mark.gate
def test_a_pick_is_used_after_whoever_used_it_was_killed(kontext, zygote, tmp_path, monkeypatch):
    monkeypatch.setenv("KONTEXT_AUTHOR", "Ann")
    Board(tmp_path).write()
    told = kontext(tmp_path, "run", "board.yaml")
    assert "6 done, 4 waiting in " in told
    assert f"waiting   {PICK} for a hand: frame[shot=s1], frame[shot=s1,take=2]," in told
    told = kontext(tmp_path, "plan", "board.yaml")
    assert "4 wait for 2 picks (2 by hand, 0 by judges); they have no key yet." in told
    told = kontext(tmp_path, "decide", "board.yaml", "pick", PICK, "2")
    assert told.startswith(f"{PICK}: Ann picked frame[shot=s1,take=2] (")
    log = tmp_path / "out" / "calls.jsonl"
    before = log.read_text().count("\n")
    with zygote.start(["run", "board.yaml"], tmp_path, os.environ, engine="30") as process:
        while log.read_text().count("\n") == before:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert len(list((tmp_path / "out" / "records").iterdir())) == 6
    shown = json.loads(run_to_end(zygote, tmp_path, "0", "run", "board.yaml", "--json").stdout)
    assert sorted(shown["outputs"]) == ["chosen-s1.png", "final-s1.png"]
    assert set(shown["waiting"]) == {"chosen[shot=s2]", "final[shot=s2]"}
    listed = kontext(tmp_path, "decide", "board.yaml")
    assert "chosen[shot=s2]  open" in listed
    assert "frame[shot=s1,take=2]" in listed
    assert "did you mean 'pick'?" in kontext(tmp_path, "decide", "board.yaml", "pik", "x", ends=2)
    told = kontext(tmp_path, "decide", "board.yaml", "pick", PICK, "9", ends=2)
    assert "there is no take 9; expected '1 (frame[shot=s1])'" in told
    kontext(tmp_path, "decide", "board.yaml", "seed", "frame[shot=s2]")
    kontext(tmp_path, "decide", "board.yaml", "--export")
    assert "kind: seed" in (tmp_path / "board.picks.yaml").read_text()
    assert "nothing would change" in kontext(tmp_path, "decide", "board.yaml", "--import")


@pytest.mark.gate
def test_a_second_machine_goes_on_with_the_same_store(kontext, tmp_path, s3_place, monkeypatch):
    monkeypatch.setenv("KONTEXT_STORE", s3_place.url)
    made = {}
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        Board(tmp_path / name).write()
    kontext(tmp_path / "first", "run", "board.yaml")
    kontext(tmp_path / "first", "decide", "board.yaml", "pick", PICK, "3")
    assert "1 done, 6 cached, 2 waiting" in kontext(tmp_path / "second", "run", "board.yaml")
    assert "7 cached, 2 waiting" in kontext(tmp_path / "first", "run", "board.yaml")
    for name in ("first", "second"):
        kontext(tmp_path / name, "pull", "board", "here")
        made[name] = {
            path.name: path.read_bytes() for path in (tmp_path / name / "here").glob("*.png")
        }
    assert made["first"] == made["second"]
    assert set(made["first"]) == {"chosen-s1.png", "final-s1.png"}
