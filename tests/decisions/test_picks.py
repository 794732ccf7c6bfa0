"""What people pick stays, reaches nobody else's picture, and is told where it cannot hold."""

from __future__ import annotations

import os

import pytest

from flows.decisions.ledger import Refused
from flows.gc.kinds import Policy
from flows.gc.sweep import Sweep
from flows.plan.planfile import decode_plan, encode_plan
from flows.plan.select import narrow
from flows.pull.pull import pull
from flows.recipe.errors import RecipeError
from flows.run.outcome import State
from flows.run.picksfile import changes, export, picks_path
from flows.settings import Settings
from tests.decisions.board import PICK, RECIPE, Board
from tests.run.samples import WatchedEngine


def notes(board: Board, about: str) -> list[str]:
    return [note for note in board.plan().warnings if about in note]


def test_what_waits_for_a_hand_is_counted_and_is_no_failure(board):
    manifest = board.run()
    assert (manifest.whole, manifest.counts[State.CACHED]) == (True, 6)
    assert set(manifest.waiting) == {
        "chosen[shot=s1]", "chosen[shot=s2]", "final[shot=s1]", "final[shot=s2]",
    }  # fmt: skip
    assert manifest.waiting["final[shot=s1]"] == (PICK,)
    assert manifest.outputs == ()
    assert board.files() == {}
    (folder,) = (board.out / "runs").iterdir()
    page = (folder / "report.html").read_text()
    assert "Waiting for picks" in page
    assert "frame[shot=s1,take=2]" in page


def test_a_pick_opens_what_waits_and_stays_after_whatever_comes(board):
    board.desk().decide("pick", PICK, "2")
    manifest = board.run()
    assert manifest.counts[State.DONE] == 1
    chosen = next(pick for pick in manifest.picks if pick.label == PICK)
    assert (chosen.by, chosen.candidates[chosen.chosen]) == ("hand", "frame[shot=s1,take=2]")
    first = board.files()
    assert set(first) == {"chosen-s1.png", "final-s1.png"}
    assert board.run().counts[State.DONE] == 0
    assert board.files() == first  # byte by byte
    board.change("{shot} in {season}", "{shot} by day in {season}")
    (told,) = notes(board, "stale pick")
    assert told == f"stale pick: {PICK}: its prompt changed (line 8)"
    again = decode_plan(encode_plan(board.plan()))
    assert again.picks == board.plan().picks
    assert again.waiting == board.plan().waiting
    manifest = board.run()
    assert manifest.counts[State.DONE] == 6  # the new frames, to choose anew
    assert board.files() == first
    board.desk().decide("release", PICK, None)
    assert PICK in board.plan().waiting
    assert not notes(board, "stale")


def test_a_run_that_is_narrowed_has_what_its_pick_needs(board):
    board.desk().decide("pick", PICK, "2")
    whole = board.plan()
    assert len(narrow(whole, ["final[shot=s1]"]).steps) == 2
    assert len(narrow(whole, ["final[shot=s2]"]).steps) == 3
    assert set(narrow(whole, ["final[shot=s2]"]).waiting) == {"final[shot=s2]"}


def test_what_was_made_from_changed_is_told_by_its_step(board):
    text = RECIPE.replace("image: p, prompt", "image: base, prompt").replace(
        "steps:\n  frame", "steps:\n  base: {op: edit, image: p, prompt: hi}\n  frame"
    )
    board.write(text)
    board.run()
    board.desk().decide("pick", PICK, "1")
    board.change("prompt: hi", "prompt: ho")
    assert notes(board, "stale") == [f"stale pick: {PICK}: 'base': prompt changed (line 8)"]
    board.change("takes: 3", "takes: 2")
    board.desk().decide("release", PICK, None)
    board.change("prompt: ho", "prompt: hi")
    board.desk().decide("pick", PICK, "2")
    board.change("takes: 2", "takes: 1")
    board.change("from: frame", "from: [frame, base]")
    assert "none of its pictures any more" in notes(board, "stale")[0]


def test_a_picture_that_is_gone_is_told_and_waited_for(board):
    board.desk().decide("pick", PICK, "2")
    key = board.plan().picks[PICK].chosen
    board.change("{shot} in {season}", "{shot} in another {season}")
    (board.out / "records" / key).unlink()
    assert "is gone from the store; pick again" in notes(board, "stale")[0]
    assert PICK in board.plan().waiting
    assert board.run().whole


def test_nobodys_pick_reaches_anothers_picture(board):
    board.desk().decide("pick", PICK, "2")
    # Another value of a parameter that it depends on.
    winter = Board(board.folder, sets=("season=winter",))
    assert PICK in winter.plan().waiting
    assert not notes(winter, "slots that are no more")
    winter.run()
    winter.desk().decide("pick", PICK, "3")
    assert board.plan().picks[PICK].chosen != winter.plan().picks[PICK].chosen is not None
    assert PICK not in Board(board.folder, sets=("season=spring",)).plan().waiting
    # Another file of the recipe's name, in the same store.
    other = Board(board.folder, "other.yaml").write(RECIPE.replace("{shot} in", "{shot} of"))
    assert PICK in other.plan().waiting
    assert "of another file (board.yaml)" in notes(other, "--adopt")[0]
    assert len(other.desk().adopt()) == 2  # that of winter, too
    assert PICK not in other.plan().waiting
    assert not notes(other, "--adopt")
    # Another project.
    kept = Board(board.folder, settings=Settings(project="spring campaign"))
    assert PICK in kept.plan().waiting
    assert not kept.plan().warnings


def test_a_renamed_value_makes_an_orphan_that_can_be_carried_over(board):
    board.desk().decide("pick", PICK, "2")
    chosen = board.plan().picks[PICK].chosen
    board.change("[s1, s2]", "[s9, s2]")
    assert board.plan().picks["chosen[shot=s9]"].chosen is None
    (told,) = notes(board, "slots that are no more")
    assert told.startswith(f"1 decisions are of slots that are no more, such as '{PICK}': did you")
    with pytest.raises(RecipeError, match="nothing was decided about 'chosen\\[shot=s7\\]'"):
        board.desk().move("chosen[shot=s7]", "chosen[shot=s9]", None)
    board.desk().move(PICK, "chosen[shot=s9]", None)
    assert board.plan().picks["chosen[shot=s9]"].chosen == chosen
    assert not notes(board, "slots that are no more")
    # A step's name, with all of its slots.
    board.change("chosen: {op", "best: {op")
    board.change("image: chosen", "image: best")
    board.change("step: chosen", "step: best")
    board.desk().move("chosen", "best", None)
    assert board.plan().picks["best[shot=s9]"].chosen == chosen


def test_a_renamed_recipe_is_told_where_its_decisions_are(board):
    board.desk().decide("pick", PICK, "2")
    board.change("name: board", "name: story")
    (told,) = notes(board, "former name")
    assert "--move board story" in told
    former = Board(board.folder, "board.yaml")
    from flows.decisions.decided import read_decided

    old = read_decided(former.store, former.settings, "board", "board.yaml")
    board.desk().move("board", "story", old)
    assert PICK not in board.plan().waiting


def test_a_reroll_of_a_pinned_take_adds_one_to_choose_from(board):
    board.desk().decide("pick", PICK, "1")
    before = board.plan().picks[PICK]
    (change,) = board.reroll("frame[shot=s1]")
    assert change.label == "frame[shot=s1,take=4]"
    after = board.plan().picks[PICK]
    assert after.chosen == before.chosen
    assert [one.label for one in after.candidates][-1] == "frame[shot=s1,take=4]"
    assert [one.key for one in after.candidates][:3] == [one.key for one in before.candidates]
    # One that nobody has picked is replaced.
    (change,) = board.reroll("frame[shot=s1,take=2]")
    assert change.label == "frame[shot=s1,take=2]"
    last = board.plan().picks[PICK]
    assert last.candidates[1].key != before.candidates[1].key
    assert len(last.candidates) == 4
    with pytest.raises(RecipeError, match="is a pick, which has no seed"):
        board.reroll("chosen[shot=s1]")


@pytest.mark.parametrize(
    "again",  # another picture, so another final one; or the final one itself
    [
        lambda board: board.desk().decide("pick", PICK, "3"),
        lambda board: board.reroll("final[shot=s1]"),
    ],
    ids=["pick", "reroll"],
)
def test_an_approved_picture_that_is_another_now_is_left_out_and_told(board, tmp_path, again):
    board.desk().decide("pick", PICK, "2")
    board.desk().decide("pick", "chosen[shot=s2]", "1")
    board.run()
    board.desk("bob").decide("approve", "final", None)
    board.run()
    folder = max((board.out / "runs").iterdir(), key=lambda one: one.stat().st_mtime_ns)
    table = (folder / "outputs.csv").read_text().splitlines()
    assert "take,picked,approved,approved_by,approved_at" in table[0]
    (row,) = [line for line in table if line.startswith("final-s1.png")]
    assert ",yes,bob," in row
    (row,) = [line for line in table if line.startswith("chosen-s1.png")]
    assert row.endswith(",2,hand,,,")
    pulled = pull(board.store.objects, folder.name, tmp_path / "a", only_approved=True)
    assert sorted(pulled.fetched) == ["final-s1.png", "final-s2.png"]
    again(board)
    board.run()
    folder = max((board.out / "runs").iterdir(), key=lambda one: one.stat().st_mtime_ns)
    pulled = pull(board.store.objects, folder.name, tmp_path / "b", only_approved=True)
    assert pulled.fetched == ["final-s2.png"]
    (told,) = [line for line in pulled.notes if "final-s1.png" in line]
    assert "'final[shot=s1]' was approved (bob," in told
    assert "2 outputs are not approved, and left out" in pulled.notes


def swept(board: Board) -> None:
    """A clean-up, a month later."""
    for path in board.out.rglob("*"):
        if path.is_file():
            os.utime(path, (1, 1))
    Sweep(board.store.objects, Policy()).run()


def test_clean_up_keeps_decisions_and_what_they_speak_of(board):
    board.desk().decide("pick", PICK, "2")
    key = board.plan().picks[PICK].chosen
    for run in (board.out / "runs").iterdir():
        (run / "manifest.json").unlink()  # no run names it any more
    swept(board)
    left = {path.name for path in (board.out / "records").iterdir()}
    assert left == {key}
    assert board.store.find(key) is not None
    assert board.decided().ledger.slots()
    board.desk().decide("release", PICK, None)
    swept(board)
    assert list((board.out / "records").iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "selector", "value", "told"),
    [
        ("pick", PICK, "7", "there is no take 7; expected '1 (frame[shot=s1])', "),
        ("pick", PICK, None, "which one? expected '1 (frame[shot=s1])', "),
        ("pick", PICK, "frame[shot=s1,take=9]", "did you mean 'frame[shot=s1,take=3]'?"),
        ("pick", "frame[shot=s1]", "1", "is no pick; expected 'chosen[shot=s1]' or 'chosen[sh"),
        ("pick", "chosn", "1", "unknown step 'chosn' in the recipe: did you mean 'chosen'?"),
        ("approve", "final[shot=s1]", None, "has no picture before 'chosen[shot=s1]' is decided"),
        ("rate", "frame[shot=s1]", "6", "a rating is '1', '2', '3', '4' or '5'; say one"),
        ("vote", "frame[shot=s1]", "2", "a vote is +1 or -1; say one"),
        ("comment", "frame[shot=s1]", " ", "a comment has words; expected some; write them"),
        ("release", PICK, None, "there is nothing to release; nothing was decided about it"),
        ("undo", PICK, "3", "there is nothing to undo; nothing was decided about it"),
    ],
)
def test_what_cannot_be_decided_is_told(board, kind, selector, value, told):
    with pytest.raises(RecipeError) as error:
        board.desk().decide(kind, selector, value)
    assert told in str(error.value)
    assert not board.decided().ledger.slots()


def test_a_picture_that_was_never_made_cannot_be_picked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match="was never made, or is gone; run the recipe first"):
        Board(tmp_path).write().desk().decide("pick", PICK, "1")


def test_two_desks_of_which_one_is_old(board):
    mine, other = board.desk("ann"), board.desk("bob")
    mine.decide("pick", PICK, "1")
    with pytest.raises(Refused, match="decided meanwhile: ann picked frame"):
        other.decide("pick", PICK, "2")
    other.decide("rate", "frame[shot=s1]", "4")  # which is never refused
    mine.decide("rate", "frame[shot=s1]", "5")
    rated = next(iter(board.decided().ledger.lines["said"].values()))
    assert [(one.who, one.value) for one in rated] == [("bob", 4), ("ann", 5)]


def test_a_damaged_record_is_told_and_passed_over(board):
    board.desk().decide("pick", PICK, "1")
    board.desk().decide("pick", PICK, "2")
    newest = max((board.out / "decisions" / "hands").rglob("*.json"))
    newest.write_bytes(newest.read_bytes().replace(b"ann", b"eve"))
    assert "does not match its own checksum; it is passed over" in notes(board, "000002.json")[0]
    assert board.plan().picks[PICK].candidates[0].key == board.plan().picks[PICK].chosen
    (made,) = board.desk().decide("pick", PICK, "3")
    assert made.number == 3


def test_what_holds_goes_to_a_file_and_back(board, tmp_path):
    board.desk().decide("pick", PICK, "2")
    board.desk().decide("approve", "frame[shot=s1,take=2]", None)
    path = picks_path(board.path)
    assert export(board.desk(), path) == 2
    assert list(changes(board.desk(), path)) == []
    board.desk().decide("release", PICK, None)
    desk = board.desk()
    (missing,) = changes(desk, path)
    assert (missing.kind, missing.who, missing.number) == ("pick", "ann", 3)
    desk.write(missing)
    assert PICK not in board.plan().waiting
    path.write_text(path.read_text().replace("kind: pick", "kind: pik"))
    with pytest.raises(RecipeError, match=r"board\.picks\.yaml:\d+:\d+: decisions\.0\.kind"):
        list(changes(board.desk(), path))


def test_decided_while_it_runs_counts_from_the_next_run_and_is_told(board):
    from pathlib import Path

    from flows.run.pipeline import Hooks, RunRequest, run_recipe

    plan, told = board.plan(), []
    board.desk().decide("pick", PICK, "2")
    load = WatchedEngine().load
    hooks = Hooks(factory=lambda plan, out, batch: load, say=told.append)
    run_recipe(plan, RunRequest(Path("x.yaml"), board.out, settings=board.settings), hooks)
    assert told == [f"decided meanwhile: {PICK}; that counts from the next run"]
