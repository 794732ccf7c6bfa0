"""``kontext check``, ``plan`` and ``schema`` from the outside."""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from typer import Exit
from typer.main import get_command

from flows.cli import VERBS, build_app
from flows.cli.examples import EXAMPLES
from flows.cli.plan import duration
from flows.plan import plan as plan_module
from flows.recipe.schema import json_schema_text
from flows.store.base import FailureNote
from flows.store.local import LocalStore
from kontext_engine.catalogue import MODELS_FOLDER
from kontext_engine.spec import NumericsProfile
from tests.recipe.workspace import MODEL, plan_file
from tests.shell import kontext
from tests.store.samples import make_record

ROOT = Path(__file__).parents[2]
RECIPE = """\
version: 1
name: bags
inputs: {p: [samples/shoe.png, samples/camera.png]}
matrix: {scene: [beach, snow]}
steps:
  clean: {op: edit, image: p, prompt: clean it, steps: 8, size: 128x128}
  on_scene: {op: edit, image: clean, prompt: 'put it {scene}', steps: 8, size: 128x128}
"""


@pytest.fixture
def recipe(folder, monkeypatch) -> Path:
    monkeypatch.setattr(plan_module, "resolve_model", lambda name: MODEL)
    monkeypatch.setenv("COLUMNS", "100")
    path = folder / "bags.yaml"
    path.write_text(RECIPE)
    return path


def store_clean_steps(recipe: Path, root: Path, seconds: float) -> None:
    """As if a run had been stopped after both ``clean`` steps."""
    plan = plan_file(recipe)
    for label in ("clean[p=shoe]", "clean[p=camera]"):
        step = plan.steps[plan.labels[label]]
        record = make_record(
            step.key,
            b"a picture",
            model_digest=MODEL.digest,
            numerics=asdict(NumericsProfile()),
            params={"steps": 8, "true_cfg": 1.0},
            width=128,
            height=128,
            parents=(),
            sources=("ab" * 32,),
            seconds=seconds,
        )
        LocalStore(root).put(record, b"a picture")


def test_check_says_ok_with_counts_and_passes_warnings_on(recipe, capsys):
    ok = f"{recipe}: ok, 4 variants, 6 steps, 4 outputs with kontext-mini\n"
    assert kontext(capsys, "check", recipe) == (0, ok, "")
    recipe.write_text(RECIPE.replace("matrix: {", "matrix: {mood: [calm], "))
    note = f"note: {recipe}:4:10: no step uses 'mood'; its values change no picture\n"
    assert kontext(capsys, "check", recipe) == (0, ok, note)


def test_plan_counts_what_is_done(recipe, capsys):
    code, shown, _ = kontext(capsys, "plan", "bags.yaml")
    assert code == 0
    assert "bags with kontext-mini" in shown
    assert shown.splitlines()[-1] == "6 steps, 0 done, 6 to do; no estimate yet."

    store_clean_steps(recipe, Path("out"), seconds=2.0)
    code, shown, _ = kontext(capsys, "plan", "bags.yaml")
    assert code == 0
    rows = [line.split() for line in shown.splitlines() if "│" in line]
    cells = [[cell for cell in row if cell != "│"] for row in rows]
    assert cells == [
        ["clean", "edit", "4", "2", "2", "0"],
        ["on_scene", "edit", "4", "4", "0", "4"],
        ["all", "4", "6", "2", "4"],
    ]
    # Four steps of the same size, number of pictures and denoise steps as those that took 2 s.
    assert shown.splitlines()[-1] == ("6 steps, 2 done, 4 to do; about 8 s of engine time left.")


def planned(capsys, *options: str) -> dict:
    """The plan as JSON."""
    code, shown, _ = kontext(capsys, "plan", "bags.yaml", "--json", *options)
    assert code == 0
    return json.loads(shown)


def test_plan_as_json_names_every_step(recipe, capsys):
    store_clean_steps(recipe, Path("elsewhere"), seconds=2.0)
    told = planned(capsys, "--out", "elsewhere", "--only", "p=shoe")
    assert (told["total"], told["done"], told["seconds_left"]) == (3, 1, 4.0)
    assert [(step["labels"], step["done"]) for step in told["steps"]] == [
        (["clean[p=shoe]"], True),
        (["on_scene[p=shoe,scene=beach]"], False),
        (["on_scene[p=shoe,scene=snow]"], False),
    ]
    assert [item["path"] for item in told["outputs"]] == [
        "on_scene/shoe-beach.png",
        "on_scene/shoe-snow.png",
    ]


def test_other_numerics_have_nothing_done_and_no_estimate(recipe, capsys):
    store_clean_steps(recipe, Path("out"), seconds=2.0)
    told = planned(capsys, "--dtype", "bfloat16")
    assert (told["done"], told["seconds_left"]) == (0, None)


def test_plan_tells_what_failed_the_last_time(recipe, folder, capsys):
    plan = plan_file(recipe)
    label = "clean[p=shoe]"
    note = FailureNote(plan.labels[label], label, "shoe.png: damaged", 1, "2026-01-01", "test")
    LocalStore(Path("out")).note_failure(note)
    told = f"note: {label} failed last time: shoe.png: damaged\n"
    assert kontext(capsys, "plan", "bags.yaml")[2] == told
    told = {step["key"]: step["last_failure"] for step in planned(capsys)["steps"]}
    assert told.pop(note.key) == "shoe.png: damaged"
    assert set(told.values()) == {None}

    store_clean_steps(recipe, Path("out"), seconds=1.0)  # mended since
    before = sorted(folder.rglob("*"))
    assert kontext(capsys, "plan", "bags.yaml")[2] == ""
    assert sorted(folder.rglob("*")) == before  # nothing was changed


def test_a_wrong_selector_is_a_mistake_of_the_user(recipe, capsys):
    code, _, told = kontext(capsys, "plan", "bags.yaml", "--only", "on_scen")
    assert (code, told) == (
        2,
        "--only on_scen: unknown step 'on_scen' in the recipe: did you mean 'on_scene'?\n",
    )


def test_schema_prints_and_writes_the_same(folder, capsys):
    assert kontext(capsys, "schema") == (0, json_schema_text(), "")
    assert kontext(capsys, "schema", "--out", "recipe.schema.json")[0] == 0
    assert (folder / "recipe.schema.json").read_text() == json_schema_text()
    code, _, told = kontext(capsys, "schema", "--out", "samples")
    assert code == 1
    assert told.startswith("samples: cannot be written (")


@pytest.mark.parametrize("verb", VERBS)
def test_help_documents_the_exit_codes(verb, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "120")
    code, shown, _ = kontext(capsys, verb, "--help")
    assert code == 0
    assert "1 some steps failed; 2 the recipe or a setting is wrong; 130 interrupted." in shown


@pytest.mark.parametrize("call", [one for calls in EXAMPLES.values() for one in calls])
def test_the_examples_of_help_are_calls_that_are_understood(call):
    _, verb, *arguments = shlex.split(call)
    ends = pytest.raises(Exit) if "--help" in arguments else contextlib.nullcontext()
    with ends:
        get_command(build_app((verb,))).commands[verb].make_context(verb, arguments)


@pytest.mark.parametrize(
    ("lacking", "instead", "told"),
    [
        ("tokenizer_2/tokenizer.json", "", "tokenizer_2: its vocabulary is missing"),
        ("tokenizer/tokenizer.json", '{"model": {"vocab": {}}}', "tokenizer/tokenizer.json: its "),
        ("transformer/diffusion_pytorch_model.safetensors", "", "transformer/diffusion_pytorch_"),
    ],
)
def test_what_a_models_folder_lacks_is_told_at_check(lacking, instead, told, folder, capsys):
    shipped = MODELS_FOLDER / "kontext-mini"
    for file in shipped.rglob("*"):
        name = str(file.relative_to(shipped))
        if file.is_file() and name != lacking:
            (folder / "part" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "part" / name).symlink_to(file)
    if instead:
        (folder / "part" / lacking).write_text(instead)
    (folder / "r.yaml").write_text(f"version: 1\nmodel: part\n{RECIPE.partition('name: bags')[2]}")
    code, shown, error = kontext(capsys, "check", "r.yaml")
    assert (code, shown) == (2, "")
    assert error.startswith(f"r.yaml:2:8: part/{told}")
    assert error.count("\n") == 1


def test_an_unknown_verb_and_a_missing_argument_are_mistakes_of_use(capsys):
    code, _, told = kontext(capsys, "chekc")
    assert code == 2
    assert "check" in told
    assert kontext(capsys, "check")[0] == 2


ENGINE = {"torch", "diffusers", "transformers", "kontext_engine.engine"}
FAR = ENGINE | {"prefect", "boto3", "httpx", "jinja2", "numpy"}
UNHURRIED = {
    "PIL.ImageCms", "PIL.TiffImagePlugin", "filelock", "kontext_engine.api",
    "kontext_engine.judges",
}  # fmt: skip
STORES = ("flows.store.keyed", "flows.store.folder")


@pytest.mark.parametrize(
    ("statement", "unused"),
    [
        ("main(['--help'])", FAR | {"pydantic", "yaml", "PIL", "flows.settings", "flows.store"}),
        (
            "main(['schema'])",
            FAR | {"pydantic_settings", "yaml", "PIL", "flows.settings", "flows.store"},
        ),
        # Headers of sources are read, which takes Pillow, and no more of it than their formats.
        ("main(['check', 'r.yaml'])", FAR | UNHURRIED | {"rich", "flows.run", *STORES}),
        ("main(['plan', 'r.yaml'])", FAR | UNHURRIED),
        ("main(['runs'])", FAR | {"yaml", "flows.plan.plan"}),
        ("main(['gc'])", FAR | {"yaml", "flows.plan.plan"}),
        ("main(['config'])", ENGINE | {"prefect", "yaml", "PIL", "flows.recipe"}),
        ("import flows.settings", FAR | {"pydantic_settings", "flows.store", "flows.recipe"}),
    ],
)
def test_nothing_loads_what_it_does_not_use(statement, unused, folder):
    (folder / "r.yaml").write_text(RECIPE)
    code = (
        "import sys\nfrom flows.cli import main\n"
        f"try:\n    {statement}\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print(sorted({unused} & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (40.4, "40 s"), (90, "2 min"), (3600, "60 min"), (9000, "2.5 h")],
)
def test_durations_are_round(seconds, text):
    assert duration(seconds) == text
