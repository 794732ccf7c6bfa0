"""Who would compute, as a parent sees them: by name, all alike, or one line that names two."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from flows.scheduling.statement import (
    MOST,
    Fleet,
    FleetError,
    ModelStatement,
    WorkerStatement,
    versions,
)
from kontext_engine.catalogue import HUB_MODELS, resolve_model
from kontext_engine.spec import NumericsProfile

MINI = resolve_model("kontext-mini")
USUAL = NumericsProfile()


def statement(worker, spec=MINI, numerics=USUAL, **libraries):
    told = ModelStatement(
        worker=worker,
        spec=asdict(spec),
        numerics=asdict(numerics),
        libraries={"torch": "2.13.0"} | libraries,
    )
    # As it comes back from a variable.
    return ModelStatement.model_validate_json(told.model_dump_json())


def fleet(*models):
    workers = {}
    for model in models:
        workers.setdefault(model.worker, []).append(model.spec["digest"])
    return Fleet(
        tuple(
            WorkerStatement(worker=name, pool="kontext", here="x", engines=2, models=tuple(all_))
            for name, all_ in workers.items()
        ),
        tuple(models),
    )


def test_a_model_comes_back_as_it_was_stated():
    found, numerics = fleet(statement("a"), statement("b")).model("kontext-mini")
    assert found == MINI
    assert numerics == NumericsProfile()
    assert fleet(statement("a"), statement("b")).engines == 4


def test_cuts_are_keyed_by_what_all_workers_have_in_one_version():
    one = statement("a", onnxruntime="1.32.0", **{"opencv-python-headless": "5.0"})
    other = statement("b", onnxruntime="1.31.0", **{"opencv-python-headless": "5.0"})
    assert fleet(one, other).cutting("kontext-mini") == {"opencv-python-headless": "5.0"}
    assert set(fleet(one).cutting("kontext-mini")) == {"onnxruntime", "opencv-python-headless"}
    assert fleet(one, statement("c")).cutting("kontext-mini") == {}
    assert {"onnxruntime", "opencv-python-headless", "torch"} <= versions().keys()


@pytest.mark.parametrize("name", ["/models/kontext-mini", "./kontext-mini", MINI.source])
def test_a_folder_is_found_by_its_name(name):
    assert fleet(statement("a")).model(name)[0].digest == MINI.digest


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (statement("b", replace(MINI, digest="f" * 64)), "weights"),
        (statement("b", replace(MINI, text_tokens=64)), "a spec"),
        (statement("b", numerics=NumericsProfile(dtype="bfloat16")), "numerics"),
    ],
)
def test_workers_that_disagree_are_both_named(other, what):
    with pytest.raises(FleetError) as error:
        fleet(statement("a"), other).model("kontext-mini")
    text = str(error.value)
    assert "\n" not in text
    assert what in text
    assert "'a'" in text
    assert "'b'" in text


def test_others_models_are_no_matter():
    other = statement("b", replace(MINI, name="other", source="/x/other", digest="f" * 64))
    assert fleet(statement("a"), other).model("kontext-mini")[0] == MINI


def test_a_model_that_nobody_serves_names_those_that_are():
    with pytest.raises(FleetError, match="no worker serves the model 'x'; served: kontext-mini"):
        fleet(statement("a")).model("x")
    with pytest.raises(FleetError, match="no worker is online"):
        Fleet((), ()).model("x")


def test_any_known_model_fits_into_a_variable():
    for spec in (*HUB_MODELS.values(), MINI):
        told = statement("w" * 100, replace(spec, digest="0" * 64)).model_dump_json()
        assert len(json.dumps(told)) < MOST
