"""The coordinator as processes that are killed, on a real Prefect server."""

from __future__ import annotations

import signal

from flows.execution.outcome import Ending
from flows.manifest import read_manifest
from flows.store.address import open_objects
from flows.store.runfolder import RunFolder


def manifest(town, run: str):
    return read_manifest(RunFolder(open_objects(town.store), run))


def under_way(town) -> list[str]:
    return [entry.name for entry in open_objects(town.store).list("active/")]


def test_a_run_from_the_form_to_the_report(town):
    town.recipe()
    town.deploy()
    town.start()
    town.hire()
    parent = town.ended(town.order(overrides=["what=fog"], queue="urgent"))
    assert (parent.state.name, parent.state.message) == ("Completed", "20 done")
    found = manifest(town, parent.name)
    assert found.ending is Ending.COMPLETE
    assert found.sets == ("what=fog",)
    assert len(found.outputs) == 10
    assert set(town.made.values()) == {1}
    assert under_way(town) == []
    assert town.kill("first", signal.SIGTERM) == 0
