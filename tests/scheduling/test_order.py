"""``kontext run --prefect``: the recipe travels with what it refers to, and the run is followed."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import time
from datetime import UTC, datetime, timedelta
from unittest import mock

import pytest
from PIL import Image
from prefect.states import Paused

from flows.run.manifest import Manifest
from flows.run.outcome import Ending, State
from flows.run.pipeline import RunRequest, plan_recipe
from flows.scheduling.names import NIGHTLY, RUN_RECIPE
from flows.scheduling.ordering import order
from flows.settings import Settings
from flows.settings.load import load_settings
from flows.store.local import LocalStore
from tests.chaos.city import KONTEXT, PATIENCE, ROOT
from tests.chaos.processes import until
from tests.chaos.verdict import planned
from tests.oddities import ODD_RECIPE, assert_odd, draw_odd_files
from tests.run.samples import WatchedEngine, run
from tests.run.test_cutters import graph
from tests.run.test_regions import packshot
from tests.servers.seaweed import BUCKET, admin_client

from .quick import Run, below, kontext, logged

TEXT = """\
version: 1
name: {name}
inputs:
  product: pictures/*.png
  ground: ../shared/ground.png
steps:
  scene: {{op: edit, image: product, prompt: "on the beach {name}", steps: 2}}
  other: {{op: edit, image: ground, prompt: at night, steps: 2}}
outputs:
  - {{step: scene, name: "{{product}}"}}
  - {{sheet: scene, name: sheet.pdf}}
"""


@pytest.fixture
def recipe(tmp_path):
    name = f"order-{time.time_ns() % 10**9}"
    folder = tmp_path / "mine"
    (folder / "pictures").mkdir(parents=True)
    (tmp_path / "shared").mkdir()
    for n, colour in enumerate(("red", "green")):
        Image.new("RGB", (128, 128), colour).save(folder / "pictures" / f"p{n}.png")
    Image.new("RGB", (128, 128), "blue").save(tmp_path / "shared" / "ground.png")
    path = folder / "recipe.yaml"
    path.write_text(TEXT.format(name=name))
    return path


def in_a_process(city, *arguments, cwd):
    """As a shell starts it."""
    return subprocess.run(
        [KONTEXT, *map(str, arguments)],
        cwd=cwd,
        env=city.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


def ordered(city, recipe, *sets, only=()):
    """Ordered by this process: another one takes three seconds of a processor to begin."""
    with mock.patch.dict(os.environ, city.environment):
        settings = load_settings(recipe.parent)
        only = (only,) if only else ()
        request = RunRequest(recipe, city.store, sets, only, settings=settings)
        return order(request, city.client).flow_run


def ended(city, run_):
    """The manifest of a run, once it has ended."""
    name = city.ended(run_).name
    return Manifest.model_validate_json(city.home.get(f"runs/{name}/manifest.json"))


def test_a_recipe_travels_with_its_pictures_and_is_followed_to_its_end(quick, recipe):
    done = in_a_process(quick, "run", recipe, "--prefect", "--json", cwd=recipe.parent.parent)
    assert done.returncode == 0, done.stderr
    assert "ordered" in done.stderr
    told = json.loads(done.stdout)
    assert told["counts"]["done"] == 3
    assert sorted(told["outputs"]) == ["p0.png", "p1.png", "sheet.pdf"]
    # In process the same keys are found: nothing is made again.
    local = kontext(quick, "run", recipe, "--json", cwd=recipe.parent.parent)
    assert local.returncode == 0, local.stderr
    assert json.loads(local.stdout)["counts"]["cached"] == 3


PICKS = """\
  fog: {op: edit, image: ground, prompt: in fog, steps: 2, takes: 2}
  sharpest: {op: pick, from: fog, by: {score: sharpness}}
  night: {op: edit, image: sharpest, prompt: at night, steps: 2}
  mine: {op: pick, from: fog, by: hand}
  snow: {op: edit, image: mine, prompt: in snow, steps: 2}
"""


@pytest.mark.gate
def test_judges_open_the_next_stage_and_what_hands_decide_counts_from_the_next_run(
    quick, recipe, monkeypatch
):
    recipe.write_text(recipe.read_text().replace("outputs:", f"{PICKS}outputs:"))
    cwd = recipe.parent.parent
    done = kontext(quick, "run", recipe, "--prefect", "--json", cwd=cwd)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    # Three as before (one may be another test's), two of fog, two looks at them, one at night.
    made = told["counts"]["done"] + told["counts"]["cached"]
    assert (made, set(told["waiting"])) == (8, {"mine", "snow"})
    # Decided while its parent is dead: whoever goes on with the run goes on as it was planned.
    more = f"  more: {{op: generate, prompt: p{time.time_ns()}, steps: 2, takes: 9}}\n"
    recipe.write_text(recipe.read_text().replace("outputs:", f"{more}outputs:"))
    monkeypatch.chdir(cwd)
    again = ordered(quick, recipe)
    until(lambda: f"stages/{again}/0-0.json" in quick.home.names(f"stages/{again}/"), PATIENCE)
    quick.strike("parents")
    decided = kontext(quick, "decide", recipe, "pick", "mine", "2", cwd=cwd)
    assert decided.returncode == 0, decided.stderr
    manifest = ended(quick, again)
    assert (manifest.counts[State.DONE], set(manifest.waiting)) == (9, {"mine", "snow"})
    words = "decided meanwhile: mine; that counts from the next run"
    until(lambda: words in logged(quick, again), 30.0, lambda: "\n".join(logged(quick, again)))
    done = kontext(quick, "run", recipe, "--prefect", "--json", cwd=cwd)
    told = json.loads(done.stdout)
    assert (told["counts"]["done"], told["counts"]["cached"], told["waiting"]) == (1, 17, {})
    # In process the same is found, what judges and hands have chosen, too.
    local = kontext(quick, "run", recipe, "--json", cwd=cwd)
    assert json.loads(local.stdout)["counts"]["cached"] == 18


KEPT = """\
version: 1
name: {name}
inputs: {{product: pictures/*.png}}
steps:
  cut: {{op: cutout, image: product}}
  own: {{op: cutout, image: product, cutout: {{model: ../shared/dark.onnx, mean: 0}}}}
  one: {{op: edit, image: product, prompt: on a beach, steps: 2, keep: {{mask: cut, feather: 2}}}}
  two: {{op: edit, image: one, prompt: at night, steps: 2, keep: "masks/{{product}}.png"}}
  three: {{op: edit, image: two, prompt: in snow {name}, steps: 2, region: {{mask: own}}}}
"""


@pytest.mark.gate
def test_what_is_kept_is_kept_by_workers_as_it_is_in_process(quick, recipe, tmp_path):
    """Masks and the model that cuts travel; the pictures are those of one process, bit by bit."""
    name, folder = recipe.read_text().partition("name: ")[2].partition("\n")[0], recipe.parent
    (folder / "masks").mkdir()
    for n in range(2):
        packshot(at=9 * n).save(folder / "pictures" / f"p{n}.png")
        mask = Image.new("L", (96, 80))
        mask.paste(255, (30 + 9 * n, 30, 60, 50))
        mask.save(folder / "masks" / f"p{n}.png")
    (folder.parent / "shared" / "dark.onnx").write_bytes(graph())
    recipe.write_text(KEPT.format(name=name))
    done = kontext(quick, "run", recipe, "--prefect", "--json", cwd=folder.parent)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["counts"]["done"] == 10
    settings = Settings(inputs={"roots": [str(folder.parent)]})
    plan = plan_recipe(RunRequest(recipe, settings=settings))
    here = run(plan, tmp_path / "here", engine=WatchedEngine(spec=plan.model)).manifest
    there = quick.home.manifest(plan)
    store = LocalStore(tmp_path / "here")
    for step, other in zip(here.steps, there.steps, strict=True):
        assert (step.key, step.blob, step.notes) == (other.key, other.blob, other.notes)
        assert quick.home.get(f"blobs/{step.blob}") == store.read(store.find(step.key))
        kept = [note for note in other.notes if note.endswith("pixels identical")]
        assert len(kept) == (step.operation == "edit")
        if kept:
            shown = other.geometry["region"]["difference"]
            assert any(name.startswith(f"thumbs/{shown}-") for name in quick.home.names("thumbs/"))


@pytest.mark.gate
def test_of_sixty_odd_files_workers_make_every_good_one_and_name_every_bad_one(quick, recipe):
    draw_odd_files(recipe.parent / "odd")
    named = ODD_RECIPE.replace("version: 1", f"version: 1\nname: odd-{time.time_ns() % 10**9}")
    recipe.write_text(named)
    done = kontext(quick, "run", recipe, "--prefect", "--json", cwd=recipe.parent)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    manifest = quick.home.manifest(plan_recipe(RunRequest(recipe, settings=Settings())))
    assert_odd(manifest)


BRIEFS = {
    # What is asked of each, and how many pictures that takes.
    "exact-product": ("product=t-shirt", 1),  # of a table: a picture and what it keeps
    "house-style": ("mood=day", 5),  # extends another recipe, which travels with it
    "storyboard": ("chosen[shot=09]", 5),  # an anchor, a place, three takes for a hand
}


@pytest.mark.gate
def test_briefs_go_through_prefect_as_they_are(quick):
    seed = f"defaults.seed={time.time_ns() % 10**9}"
    runs = {
        name: ordered(quick, ROOT / "recipes" / "briefs" / f"{name}.yaml", seed, only=few)
        for name, (few, _) in BRIEFS.items()
    }
    for name, run_ in runs.items():
        manifest = ended(quick, run_)
        assert (manifest.counts[State.DONE], manifest.whole) == (BRIEFS[name][1], True)
        assert len(manifest.waiting) == (name == "storyboard")
        assert manifest.outputs


def test_whoever_does_not_follow_leaves_the_run_alone(quick, recipe):
    done = kontext(quick, "run", recipe, "--prefect", "--detach", cwd=recipe.parent.parent)
    assert done.returncode == 0, done.stderr
    page = next(line for line in done.stderr.splitlines() if line.startswith("ordered"))
    flow_run = page.rpartition("/")[2]
    assert quick.ended(flow_run).state.name == "Completed", quick.said()


@pytest.mark.parametrize(
    ("before", "after", "extra", "told"),
    [
        ("image: ground", "image: grund", {}, ["grund", "did you mean 'ground'"]),
        # A place that means nothing elsewhere is a located error.
        (
            "../shared/ground.png",
            "{away}",
            {},
            ["means nothing on another machine", "recipe.yaml:5"],
        ),
        (
            "version: 1",
            "version: 1\nmodel: kontext-maxi",
            {},
            ["no worker serves the model 'kontext-maxi'; served: "],
        ),
        ("", "", {"PREFECT_API_URL": ""}, ["PREFECT_API_URL is not set"]),
    ],
)
def test_what_cannot_be_ordered_is_told_before_anything_is(
    quick, recipe, before, after, extra, told
):
    after = after.format(away=recipe.parent / "pictures" / "p0.png")
    recipe.write_text(recipe.read_text().replace(before, after))
    done = kontext(quick, "run", recipe, "--prefect", cwd=recipe.parent, **extra)
    assert done.returncode == 2
    assert [words for words in told if words not in done.stderr] == []
    assert "Traceback" not in done.stderr


def recipes_of(city, night):
    """The runs of a night's recipes, by when they were ordered."""
    return sorted(below(city, night, RUN_RECIPE), key=lambda run: run.created)


def test_a_cancelled_night_cancels_all_below_it_and_begins_no_more(quick):
    night = quick.night(concurrency=2, recipes="long")
    until(lambda: [r for r in recipes_of(quick, night) if r.state.is_running()], PATIENCE)
    quick.cancel(night)
    asked = time.monotonic()
    assert quick.ended(night).state.name == "Cancelled", quick.said()
    until(lambda: all(run.state.is_final() for run in recipes_of(quick, night)), 60.0, quick.said)
    assert time.monotonic() - asked < 60
    ran = recipes_of(quick, night)
    assert len(ran) <= 3
    assert {run.state.name for run in ran} <= {"Cancelled", "Completed"}


def test_a_night_keeps_its_concurrency_and_ends_with_a_table(quick):
    """Two recipes of four at once, in one order; its children are run-recipes."""
    night = quick.night(concurrency=2, recipes="four")
    ran = set()

    def over() -> bool:
        parents = recipes_of(quick, night)
        open_ = [run for run in parents if run.state is None or not run.state.is_final()]
        assert len(open_) <= 2
        ran.update(run.id for run in parents)
        return quick.flow_run(night).state.is_final()

    until(over, PATIENCE, quick.said)
    ran.update(run.id for run in recipes_of(quick, night))
    run = quick.flow_run(night)
    assert run.state.name == "Completed", (run.state.message, quick.said())
    assert run.state.message == "4 Completed"
    assert len(ran) == 4
    assert run.flow_id == quick.client.read_deployment_by_name(f"{NIGHTLY}/{NIGHTLY}").flow_id


@pytest.mark.gate
def test_a_night_over_a_bucket_reads_what_its_recipes_build_on(quick):
    salt, admin = time.time_ns() % 10**9, admin_client(quick.seaweed)
    for name, text in {
        "_house/style.yaml": f"version: 1\nvariables: {{look: in oil {salt}}}\n",
        "things.csv": "name,colour\nshoe,red\nhat,blue\n",
        "looks.yaml": "extends: _house/style.yaml\nmatrix: {thing: {table: things.csv}}\n"
        'steps:\n  s: {op: generate, prompt: "a {thing.colour} {thing} {look}", steps: 2}\n'
        'outputs: [{step: s, name: "{thing}"}]\n',
    }.items():
        admin.put_object(Bucket=BUCKET, Key=f"nightly/{name}", Body=text.encode())
    night = quick.ended(quick.night(recipes=f"s3://{BUCKET}/nightly"))
    assert night.state.message == "1 Completed", quick.said()
    (run,) = {name.split("/")[1] for name in quick.home.names("runs/") if "-looks-" in name}
    manifest = json.loads(quick.home.get(f"runs/{run}/manifest.json"))
    assert sorted(one["path"] for one in manifest["outputs"]) == ["hat.png", "shoe.png"]
    prompts = sorted(step["params"]["prompt"] for step in manifest["steps"])
    assert prompts == [f"a blue hat in oil {salt}", f"a red shoe in oil {salt}"]


@pytest.mark.gate
def test_an_urgent_run_passes_a_night_that_goes_one_by_one(quick):
    night = quick.night(concurrency=1, recipes="three")
    until(lambda: [r for r in recipes_of(quick, night) if r.state.is_running()], PATIENCE)
    urgent = Run(
        quick, seed=time.time_ns() % 10**9, only=("scene=beach",)
    )  # shorter than the night
    urgent.assert_whole()
    assert not quick.flow_run(night).state.is_final()
    assert len(recipes_of(quick, night)) < 3
    assert quick.ended(night).state.message == "3 Completed", quick.said()
    ran = sorted(recipes_of(quick, night), key=lambda run: run.created)
    for before, after in itertools.pairwise(ran):
        assert before.end_time <= after.created


def test_a_suspended_nights_recipes_go_on_when_it_is_resumed(quick):
    # A recipe that no other test makes: with its pictures in the store it would be over too soon.
    night = quick.night(recipes="one")
    first = until(lambda: recipes_of(quick, night), PATIENCE, quick.said)[0].id

    def state(run=first) -> str:
        return quick.flow_run(run).state.name

    until(lambda: state() == "Running", PATIENCE, quick.said)
    suspended = Paused(timeout_seconds=10**6, reschedule=True)
    quick._asked(lambda: quick.client.set_flow_run_state(night, suspended, force=True))
    until(lambda: state() == "Scheduled", PATIENCE, quick.said)
    assert quick.flow_run(first).state.message == "what it works for is suspended"
    quick._asked(lambda: quick.client.resume_flow_run(night))
    assert quick.ended(night).state.name == "Completed"
    assert state() == "Completed"


def test_a_night_waits_for_the_one_before_and_names_it(quick):
    first = quick.night(concurrency=1, recipes="")
    until(lambda: recipes_of(quick, first), PATIENCE, quick.said)
    second = quick.night(recipes="four")
    name = quick.flow_run(first).name
    until(
        lambda: f"the night before, '{name}', is under way" in quick.kept["parents"].log, PATIENCE
    )
    assert recipes_of(quick, second) == []
    quick.cancel(first)
    assert quick.ended(first).state.name == "Cancelled"
    assert quick.ended(second).state.name == "Completed", quick.said()
    assert len(recipes_of(quick, second)) == 4


@pytest.mark.gate
def test_at_its_deadline_a_night_begins_nothing_more_and_publishes_what_it_has(quick):
    sets = f"defaults.seed={time.time_ns() % 10**9}"
    plan = planned("seasons", sets)
    deadline = (datetime.now(UTC) + timedelta(seconds=8)).isoformat()
    parameters = {
        "recipe": "seasons",
        "overrides": [sets],
        "only": [],
        "store": quick.store,
        "deadline": deadline,
    }
    run = quick.ended(quick._start(RUN_RECIPE, parameters))
    assert run.state.name == "Failed"
    assert "the deadline has passed" in run.state.message
    until(lambda: not quick.home.names("leases/"), PATIENCE, quick.said)
    manifest = quick.home.manifest(plan)
    assert manifest is not None
    assert manifest.ending is Ending.INTERRUPTED
    assert manifest.why == "the deadline has passed"
    # What a worker had begun by then it has ended.
    done, pending = manifest.in_state(State.DONE), manifest.in_state(State.PENDING)
    assert pending
    assert len(done) + len(pending) == len(plan.steps)
    # A night whose deadline is over before it begins orders nothing.
    night = quick.ended(quick.night(recipes="four", deadline_hours=1e-6))
    assert night.state.name == "Failed"
    assert night.state.message == "4 not begun; the deadline has passed"
    assert recipes_of(quick, night.id) == []
