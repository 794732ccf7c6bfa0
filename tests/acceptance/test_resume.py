"""What is made is never made again: killed, repeated, changed, or run twice at once."""

from __future__ import annotations

import io
import random
import shutil
import signal
from collections import Counter

import numpy as np
import pytest
from PIL import Image, ImageDraw

from ..run.test_regions import KEPT_CHAIN
from .conftest import Kontext, Results, labels
from .samples import STEPS, write_ten_products

HEAVY = {"torch", "diffusers", "transformers", "safetensors", "prefect", "boto3"}


@pytest.fixture(scope="module")
def undisturbed(processes, model, tmp_path_factory) -> Results:
    """The results of one run from beginning to end, as a shell would start it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    kontext = Kontext(processes.environment, processes.zygote, folder)
    ended = kontext.fresh("run", write_ten_products(folder, model))
    assert ended.status == 0, ended.err
    results = Results(folder / "out")
    assert Counter(results.started()) == Counter(dict.fromkeys(results.recorded, 1))
    assert len(results.recorded) == STEPS
    return results


@pytest.fixture
def made(undisturbed, tmp_path) -> Results:
    """A copy of them and of the recipe, to run again."""
    shutil.copytree(undisturbed.root.parent, tmp_path, dirs_exist_ok=True)
    return Results(tmp_path / "out")


def values(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"), np.int16)


def assert_same_pictures(ours: Results, theirs: Results) -> None:
    """Contract 4 in float32: at most one level of 255, in at most 0.1 % of values."""
    assert ours.recorded == theirs.recorded
    pairs = [(values(ours.picture(key)), values(theirs.picture(key))) for key in theirs.recorded]
    difference = np.concatenate([np.abs(one - two).ravel() for one, two in pairs])
    assert difference.max() <= 1
    assert (difference > 0).mean() <= 0.001
    assert len({picture.tobytes() for picture, _ in pairs}) == len(pairs)  # none stands for another


@pytest.mark.gate
@pytest.mark.parametrize("seed", [2])
def test_five_kills_and_a_rerun_equal_an_undisturbed_run(
    undisturbed, kontext, model, tmp_path, seed
):
    recipe, results = write_ten_products(tmp_path, model), Results(tmp_path / "out")
    dice = random.Random(seed)
    for _ in range(5):
        done, calls = results.recorded, len(results.calls)
        ended = kontext("run", recipe, "--batch", 3, die=dice.randint(4, 14))
        assert ended.status == -signal.SIGKILL, ended.err
        assert done <= results.recorded
        assert done.isdisjoint(results.started(calls))
    done, calls = results.recorded, len(results.calls)
    assert 0 < len(done) < STEPS
    ended = kontext("run", recipe, "--batch", 3)
    assert ended.status == 0, ended.err
    assert sorted(results.started(calls)) == sorted(undisturbed.recorded - done)
    assert labels(results.manifest, "cached") | labels(results.manifest, "done") == labels(
        undisturbed.manifest, "done"
    )
    assert_same_pictures(results, undisturbed)


def test_the_second_run_calls_no_engine_and_imports_no_torch(made, kontext):
    calls = made.calls
    ended = kontext.fresh("run", "ten.yaml", options=("-X", "importtime"))
    assert ended.status == 0, ended.err
    assert ended.out.startswith(f"{STEPS} cached in ")
    assert made.calls == calls
    imported = {line.rpartition("|")[2].strip() for line in ended.err.splitlines()}
    assert "flows.run.pipeline" in imported
    assert imported & HEAVY == set()


def test_two_runs_at_once_share_a_store(undisturbed, kontext, model, tmp_path):
    recipe, results = write_ten_products(tmp_path, model), Results(tmp_path / "out")
    both = [kontext.start("run", recipe, "--batch", 3) for _ in range(2)]
    for ended in map(kontext.wait, both):
        assert ended.status == 0, ended.err
    assert max(Counter(results.started()).values()) <= 2
    assert_same_pictures(results, undisturbed)
    (folder,) = (results.root / "runs").iterdir()
    written = results.manifest.outputs
    assert len(written) == 20
    for output in written:
        shown = values((folder / output.path).read_bytes())
        assert np.array_equal(shown, values(results.picture(output.key)))


def test_what_is_kept_stays_kept_over_a_chain_that_is_killed_at_every_moment(kontext, tmp_path):
    shoe = Image.new("RGB", (96, 80), (236, 234, 230))
    ImageDraw.Draw(shoe).ellipse((20, 20, 70, 64), fill=(40, 60, 160))
    shoe.save(tmp_path / "shoe.png")
    (tmp_path / "chain.yaml").write_text(KEPT_CHAIN)
    kontext, results = kontext.at(tmp_path, {}, fake=0.0), Results(tmp_path / "out")
    for moment in (3, 4, 3):  # some after a blob was written, some after its record was
        done = results.recorded
        assert kontext("run", "chain.yaml", die=moment).status == -signal.SIGKILL
        assert done <= results.recorded
    assert 0 < len(results.recorded) < 4
    ended = kontext("run", "chain.yaml")
    assert ended.status == 0, ended.err
    steps = {step.name: step for step in results.manifest.steps}
    with Image.open(io.BytesIO(results.picture(steps["cut"].key))) as cut:
        kept = np.asarray(cut.getchannel("A")) == 255
    assert kept.sum() > 1000
    whole = values(results.picture(steps["cut"].key))
    for name in ("one", "two", "three"):
        made = values(results.picture(steps[name].key))
        assert int((made[kept] != whole[kept]).sum()) == 0
        assert (made[~kept] != whole[~kept]).any()
        count = f"{int(kept.sum()):,}"
        assert f"kept {count} of {count} pixels identical" in steps[name].notes
