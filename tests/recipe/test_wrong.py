"""Every wrong recipe gets its whole message, at the right line and column, and exit code 2."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.cli import main
from flows.plan import plan as plan_module
from kontext_engine.errors import ModelError
from kontext_engine.spec import ModelSpec
from tests.recipe import (
    wrong_format,
    wrong_language,
    wrong_matrix,
    wrong_meaning,
    wrong_outputs,
    wrong_picks,
    wrong_regions,
    wrong_tables,
    wrong_yaml,
)
from tests.recipe.workspace import MODEL, wrong_file

TABLES = (
    wrong_yaml,
    wrong_format,
    wrong_meaning,
    wrong_matrix,
    wrong_outputs,
    wrong_language,
    wrong_regions,
    wrong_picks,
)
WRONG = {name: wrong_file(case) for table in TABLES for name, case in table.WRONG.items()}
ROOT = Path(__file__).parents[2]


@pytest.fixture
def known_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hand-built model under its own name; the real kind of message for any other."""

    def resolve(name: str) -> ModelSpec:
        if name == MODEL.name:
            return MODEL
        raise ModelError(f"no model '{name}': neither a known name nor a folder here")

    monkeypatch.setattr(plan_module, "resolve_model", resolve)


@pytest.fixture
def refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., list[str]]:
    """What ``kontext check`` says of ``r.yaml`` or of what else is wrong, and of nothing right."""

    def check(text: str | bytes, *arguments: str, right: str = "") -> list[str]:
        (folder / "r.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(SystemExit) as exit_:
            main(["check", *(arguments or ["r.yaml"])])
        shown = capsys.readouterr()
        assert shown.out == right
        assert exit_.value.code == 2
        return shown.err.splitlines()

    return check


def test_no_two_tables_use_one_name() -> None:
    assert len(WRONG) == sum(len(table.WRONG) for table in TABLES)


@pytest.mark.parametrize("name", WRONG)
def test_message_place_and_exit_code(name: str, refused, request) -> None:
    if name != "unknown-model":
        request.getfixturevalue("known_model")
    content, expected = WRONG[name]
    assert refused(content) == expected


@pytest.mark.parametrize("name", wrong_tables.WRONG)
def test_wrong_tables_are_told_at_their_own_lines(name: str, folder, refused, known_model) -> None:
    files, text, told = wrong_tables.WRONG[name]
    for file, data in files.items():
        (folder / file).write_bytes(data if isinstance(data, bytes) else data.encode())
    content, _ = wrong_file((text, ["1:1: x"]))
    assert refused(content) == told


@pytest.mark.parametrize("name", ["png", "duplicate-key", "several-at-once", "alias-bomb"])
@pytest.mark.parametrize("verb", ["check", "plan"])
def test_a_real_process_shows_the_message_and_no_traceback(
    name: str, verb: str, folder: Path
) -> None:
    content, expected = WRONG[name]
    (folder / "r.yaml").write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", verb, "r.yaml"],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr.splitlines()) == (2, "", expected)


def test_a_missing_file_a_folder_and_an_unreadable_name(refused) -> None:
    assert refused("", "nowhere.yaml", "samples", "none.yaml/x") == [
        "nowhere.yaml: no such file; expected a recipe; check the name and the current folder",
        "samples: is a folder; expected a YAML file; name the file in it",
        "none.yaml/x: no such file; expected a recipe; check the name and the current folder",
    ]


def test_one_wrong_recipe_does_not_hide_the_others(folder: Path, known_model, refused) -> None:
    (folder / "bad.yaml").write_text("version: 1\nstep: {}\n")
    good = "version: 1\nsteps:\n  s: {op: generate, prompt: hi}\n"
    told = "r.yaml: ok, 1 variant, 1 step, 1 output with kontext-mini\n"
    assert refused(good, "bad.yaml", "r.yaml", right=told) == [
        "bad.yaml:1:1: the recipe has no 'steps'; expected the pictures to make, by name; "
        "add 'steps: ...'",
        "bad.yaml:2:1: unknown key 'step' in the recipe: did you mean 'steps'?",
    ]


SET_RECIPE = (
    "version: 1\nvariables: {season: summer}\nsteps:\n  s: {op: generate, prompt: '{season}'}\n"
)


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("seasn=x", "unknown variable or setting 'seasn': did you mean 'season'?"),
        (
            "defaults.setps=8",
            "unknown variable or setting 'defaults.setps': did you mean 'defaults.steps'?",
        ),
        ("season", "has no '='; expected name=value; write --set name=value"),
        (
            "defaults.steps=many",
            "'steps' is the text 'many'; expected a whole number; write a number",
        ),
        (
            "steps.s.size=100x100",
            "size 100x100: both sides must be multiples of 16; "
            "the nearest is 96x96 (model 'kontext-mini')",
        ),
        (
            "steps.t.seed=1",
            "unknown variable or setting 'steps.t.seed': did you mean 'steps.s.seed'?",
        ),
        (
            "zzz=1",
            "unknown variable or setting 'zzz'; expected 'season', 'model', 'name', "
            "'defaults.steps' or 'steps.NAME.prompt'; declare it under 'variables:'",
        ),
    ],
)
def test_wrong_sets_name_the_option(pair: str, message: str, known_model, refused) -> None:
    assert refused(SET_RECIPE, "r.yaml", "--set", pair) == [f"--set {pair}: {message}"]


@pytest.mark.parametrize(
    ("text", "places"),
    [
        # Of form, of meaning, of an output, and of a mask, which check alone opens otherwise.
        (
            "inputs: {p: samples/shoe.png, q: nil.png}\nsteps:\n"
            "  a: {op: edit, image: p, prompt: hi, stps: 3}\n"
            "  b: {op: edit, image: q, prompt: hi}\n  c: {op: generate, prompt: '{x}'}\n"
            "  d: {op: edit, image: p, prompt: hi, keep: {mask: none.png}}\n"
            "outputs: [{step: d, name: '{y}'}]\n",
            ["2:34", "4:39", "6:30", "7:52", "8:28"],
        ),
        (  # of one step, and of what is made from it
            "inputs: {p: samples/shoe.png}\nvariables: {n: few}\nsteps:\n"
            "  d: {op: edit, image: p, prompt: hi, steps: '{n}', keep: {mask: none.png}}\n"
            "  e: {op: edit, image: d, prompt: hi, keep: {mask: none.png}}\n",
            ["5:46", "5:66", "6:52"],
        ),
    ],
)
def test_check_plan_and_run_tell_the_same(
    text: str, places: list[str], folder: Path, capsys, known_model
) -> None:
    (folder / "r.yaml").write_text(f"version: 1\n{text}")
    told = []
    for verb in ("check", "plan", "run"):
        with pytest.raises(SystemExit):
            main([verb, "r.yaml"])
        told.append(capsys.readouterr().err.splitlines())
    assert [line.split(": ")[0] for line in told[0]] == [f"r.yaml:{at}" for at in places], told[0]
    assert told[1] == told[2] == told[0]


def test_a_model_that_is_missing_does_not_hide_other_mistakes(refused) -> None:
    text = "version: 1\nmodel: kontext-mni\nsteps:\n  s: {op: edit, image: nil, prompt: '{x}'}\n"
    places = [line.split(": ")[0] for line in refused(text)]
    assert places == ["r.yaml:2:8", "r.yaml:4:24", "r.yaml:4:38"]


def test_a_known_model_that_is_not_here_can_still_be_checked_against(
    folder: Path, monkeypatch: pytest.MonkeyPatch, refused
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(folder / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    head = "version: 1\nmodel: black-forest-labs/FLUX.1-Kontext-dev\n"
    (line,) = refused(f"{head}steps:\n  s: {{op: generate, prompt: hi, size: 1000x1000}}\n")
    assert line.startswith("r.yaml:4:39: size 1000x1000: both sides must be")
