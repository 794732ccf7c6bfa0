"""``kontext run`` as people start it, interrupt it, kill it and start it again."""

from __future__ import annotations

import json
import random
import signal
import sys
import time
import types
from collections import Counter

import pytest
from PIL import Image

from flows.run.outcome import State
from tests import shell

from .samples import manifest_in


def run_in(out):
    """The folder of its run: the newest, for a day may have ended since the first."""
    return max((out / "runs").iterdir())


def manifest(out):
    return manifest_in(run_in(out))


def pictures(out) -> dict[str, bytes]:
    """Every output's pixels, by name."""
    folder, found = run_in(out), {}
    for entry in manifest(out).outputs:
        with Image.open(folder / entry.path) as image:
            found[entry.path] = image.tobytes()
    return found


def started(out) -> list[str]:
    """Keys whose making the engine began, by its append-only log."""
    path = out / "calls.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [e["id"] for e in map(json.loads, lines) if e["event"] == "start"]


def recorded(out) -> set[str]:
    folder = out / "records"
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def wait_for(process, beginning: str) -> None:
    """Until it says so."""
    next(line for line in process.stderr if line.startswith(beginning))


def test_a_run_ends_with_pictures_a_manifest_and_a_report(made, tmp_path):
    ended = made
    assert ended.returncode == 0, ended.stderr
    assert "20 steps: 0 done already, 20 to do" in ended.stderr
    assert "[20/20]" in ended.stderr
    lines = dict(line.split(maxsplit=1) for line in ended.stdout.splitlines()[1:])
    assert ended.stdout.startswith("20 done in ")
    assert (tmp_path / lines["report"]).read_text().startswith("<!doctype html>")
    told = json.loads((tmp_path / lines["manifest"]).read_text())
    assert told["counts"]["done"] == 20
    folder = tmp_path / lines["outputs"].partition(" ")[0]
    assert len(list(folder.rglob("*.png"))) == 10
    assert "prefect" not in ended.stderr.rpartition("imported:")[2]


def test_the_second_run_loads_nothing_and_computes_nothing(made, kontext, tmp_path):
    before = pictures(tmp_path / "out")
    calls = started(tmp_path / "out")
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "runs").rglob("*.png")}
    ended = kontext("real", "run", "ten.yaml")
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.splitlines()[-1].strip() == "imported:"
    assert started(tmp_path / "out") == calls
    assert manifest(tmp_path / "out").counts[State.CACHED] == 20
    assert pictures(tmp_path / "out") == before
    assert {path: path.stat().st_mtime_ns for path in files} == files


def test_a_changed_prompt_remakes_only_its_step_and_descendants(made, kontext, tmp_path):
    ended = kontext("0", "run", "ten.yaml", "--set", "what=rain", "--json")
    told = json.loads(ended.stdout)
    assert told["counts"] | {"done": 10, "cached": 10} == told["counts"]
    assert len(told["outputs"]) == 10
    # the older plan's pictures stay in a folder of their own
    assert len(list((tmp_path / "out" / "runs").iterdir())) == 2


def test_one_broken_input_of_ten(kontext, recipe, tmp_path):
    (tmp_path / "in/p3.png").write_bytes(b"broken")
    ended = kontext("0", "run", recipe)
    assert ended.returncode == 1
    assert "failed place[product=p3]: p3.png (input 'product'): not a picture" in ended.stderr
    assert "blocked weather[product=p3]: needs 'place[product=p3]', which failed" in ended.stderr
    assert "Traceback" not in ended.stderr
    whole = manifest(tmp_path / "out")
    assert [step.label for step in whole.in_state(State.FAILED)] == ["place[product=p3]"]
    assert [step.label for step in whole.in_state(State.BLOCKED)] == ["weather[product=p3]"]
    assert whole.counts[State.DONE] == 18
    assert sum(entry.sha256 is not None for entry in whole.outputs) == 9


def test_five_kills_at_any_moment_cost_nothing_that_was_recorded(
    first_run, kontext, start, recipe, tmp_path
):
    undisturbed, out = first_run[0] / "out", tmp_path / "out"
    dice = random.Random(2)
    for _ in range(5):
        before, calls = recorded(out), len(started(out))
        # Slow enough that a busy machine cannot finish the whole recipe before the signal.
        with start("1.0", "run", recipe, "--batch", "2") as process:
            wait_for(process, "[")
            time.sleep(dice.uniform(0, 0.5))
            process.send_signal(signal.SIGKILL)
        assert before.isdisjoint(started(out)[calls:])
    before, calls = recorded(out), len(started(out))
    assert 5 <= len(before) < 20
    ended = kontext("0", "run", recipe, "--batch", "3")
    assert ended.returncode == 0, ended.stderr
    assert before.isdisjoint(started(out)[calls:])
    assert before | set(started(out)[calls:]) == recorded(out)
    assert pictures(out) == pictures(undisturbed)
    assert not (out / "quarantine").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_stops_cleanly_and_a_rerun_goes_on(kontext, start, recipe, tmp_path, number):
    out = tmp_path / "out"
    with start("0.2", "run", recipe, "--batch", "2") as process:
        wait_for(process, "[")
        process.send_signal(number)
        printed, rest = process.communicate(timeout=60)
    assert process.returncode == 130, rest
    assert "stopping at the next denoise step" in rest
    assert "Traceback" not in rest
    whole = manifest(out)
    assert whole.ending == "interrupted"
    made = whole.counts[State.DONE]
    assert made == len(recorded(out))
    assert whole.counts[State.PENDING] == 20 - made > 0
    assert "report" in printed
    ended = kontext("0", "run", recipe)
    assert ended.returncode == 0
    assert manifest(out).counts[State.CACHED] == made
    assert Counter(started(out)).most_common(1)[0][1] <= 2


def test_an_interrupt_while_the_model_loads_stops_at_once(made, kontext, start, tmp_path):
    out = tmp_path / "out"
    before = recorded(out)
    with start("stuck", "run", "ten.yaml", "--set", "what=rain") as process:
        wait_for(process, "loading")
        process.send_signal(signal.SIGINT)
        printed, rest = process.communicate(timeout=60)
    assert process.returncode == 130, rest
    assert "interrupted: somebody asked to stop; run again to go on" in rest
    assert "Traceback" not in rest
    assert printed.startswith("10 cached, 10 pending in ")
    assert recorded(out) == before
    assert kontext("0", "run", "ten.yaml", "--set", "what=rain").returncode == 0


def test_a_reroll_changes_one_frame_and_is_kept(made, kontext, tmp_path):
    out = tmp_path / "out"
    first = {step.label: step for step in manifest(out).steps}
    label = "weather[product=p4]"
    ended = kontext("0", "run", "ten.yaml", "--reroll", label, "--out", "out2")
    assert ended.returncode == 0, ended.stderr
    again = {step.label: step for step in manifest(tmp_path / "out2").steps}
    assert {name for name in first if first[name].key != again[name].key} == {label}
    before, after = (run[label].params["seed"] for run in (first, again))
    assert f"{label}: seed {before} becomes {after}" in ended.stderr
    later = json.loads(kontext("0", "run", "ten.yaml", "--out", "out2", "--json").stdout)
    assert later["counts"]["cached"] == 20


def test_only_makes_what_is_asked_and_what_it_needs(kontext, recipe, tmp_path):
    ended = kontext("0", "run", recipe, "--only", "place[product=p2]", "--json")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["counts"]["done"] == 1


def test_what_is_wrong_is_said_in_one_line(kontext, recipe, tmp_path):
    right = recipe.read_text()
    recipe.write_text(right.replace("image: place", "image: plaec"))
    ended = kontext("0", "run", recipe)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert "did you mean 'place'?" in ended.stderr
    assert not (tmp_path / "out").exists()
    recipe.write_text(right)
    (tmp_path / "out").write_text("hello")
    ended = kontext("0", "run", recipe)
    assert (ended.returncode, "Traceback" in ended.stderr) == (1, False)
    assert "a file is in the way of a folder" in ended.stderr
    ended = kontext("0", "report", tmp_path)
    assert (ended.returncode, "Traceback" in ended.stderr) == (1, False)
    assert "no manifest.json here" in ended.stderr


def test_report_is_made_again_from_the_manifest_and_the_store(made, kontext, tmp_path):
    (folder,) = (tmp_path / "out" / "runs").iterdir()
    page = (folder / "report.html").read_text()
    (folder / "report.html").unlink()
    for path in (tmp_path / "in").iterdir():
        path.unlink()  # the inputs may be gone by then
    ended = kontext("real", "report", folder)
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / ended.stdout.strip()).read_text() == page
    assert ended.stderr.splitlines()[-1].strip() == "imported:"
    recipe = folder.name.removeprefix(folder.name[:11]).rpartition("-")[0]
    for part in (folder.name, recipe):  # of the store that the settings name
        (folder / "report.html").unlink()
        assert kontext("real", "report", part).returncode == 0
        assert (folder / "report.html").read_text() == page
    ended = kontext("real", "report", "nothing")
    assert (ended.returncode, ended.stderr.startswith("out: no run")) == (2, True)


def test_models_lists_what_there_is(kontext):
    ended = kontext("real", "models")
    assert ended.returncode == 0, ended.stderr
    rows = ended.stdout.splitlines()
    assert rows[0].split() == ["model", "size", "contexts", "guidance", "digest", "licence"]
    assert any(row.startswith("kontext-mini ") for row in rows)
    assert any("Non-Commercial" in row for row in rows)
    assert ended.stderr.splitlines()[-1].strip() == "imported:"


def test_bench_hands_its_options_on_and_prints_the_table(monkeypatch, capsys):
    asked = {}

    def run_bench(model, on_progress, **options):
        asked.update(options, model=model)
        on_progress(2, 8)
        return types.SimpleNamespace(table=lambda: "ratio 1.84x")

    module = types.ModuleType("kontext_engine.bench")
    module.run_bench = run_bench
    monkeypatch.setitem(sys.modules, "kontext_engine.bench", module)
    ended = shell.kontext(capsys, "bench", "--edits", 4, "--dtype", "bfloat16")
    assert ended[:2] == (0, "ratio 1.84x\n")
    assert asked == {
        "model": "kontext-mini", "edits": 4, "steps": 16, "max_batch": 16, "dtype": "bfloat16",
        "peer_dtype": None, "device": "cpu",
    }  # fmt: skip
