"""A city whose clocks go ten times as fast, with engines that sleep: for what people do to runs."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from unittest import mock
from uuid import UUID

import pytest
from prefect.client.schemas.filters import ArtifactFilter, LogFilter
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import State

from flows.cli import main
from flows.plan.step import Plan
from flows.scheduling.names import MAKE_CHUNK
from flows.scheduling.server import pages, those
from flows.store.boto import forget_clients
from tests.chaos.city import PATIENCE, City
from tests.chaos.processes import until
from tests.chaos.verdict import planned

TEMPO = "renew=2,quiet=15,overdue=2,brief=2,back_off=2,look=1.2,sweep=2"
RECIPE = "product-backgrounds"
EDIT = 0.1  # seconds of a sleeping engine


def write_night(folder: Path, recipes: int, pictures: int = 4) -> None:
    """So many recipes of so many pictures each that nobody else makes."""
    folder.mkdir()
    for n in range(recipes):
        (folder / f"r{n}.yaml").write_text(
            f"version: 1\nname: night-{n}\nvariables: {{salt: {time.time_ns() % 10**9}}}\n"
            f"matrix: {{number: {list(range(pictures))}}}\n"
            f'steps:\n  s: {{op: generate, prompt: "{{number}} of {n} {{salt}}", steps: 2}}\n'
        )


def write_twelve(folder: Path) -> None:
    """A recipe of twelve pictures, for people who look."""
    folder.joinpath("twelve.yaml").write_text(
        "version: 1\nname: twelve\n"
        f"variables: {{salt: {time.time_ns() % 10**9}}}\n"
        "matrix: {thing: [a red shoe, a blue hat, a gold watch, a green bag], "
        "place: [sand, snow, marble]}\n"
        'steps:\n  shot: {op: generate, prompt: "{thing} on {place} {salt}", steps: 2}\n'
        'outputs:\n  - {step: shot, name: "{thing}-{place}"}\n'
    )


def kontext(city: City, *arguments: object, cwd: Path, **extra: str) -> SimpleNamespace:
    """The verb as someone in ``cwd`` calls it: ``returncode``, ``stdout`` and ``stderr``.

    In this process: another one takes seconds of a processor to begin.
    """
    environment = city.environment | extra
    # Prefect reads its variables when a process begins; here it is told again.
    here = {PREFECT_API_URL: environment["PREFECT_API_URL"] or None}
    out, err = StringIO(), StringIO()
    forget_clients()
    with (
        contextlib.chdir(cwd),
        mock.patch.dict(os.environ, environment, clear=True),
        temporary_settings(here),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        main([str(argument) for argument in arguments])
    forget_clients()
    code = int(ended.value.code or 0)
    return SimpleNamespace(returncode=code, stdout=out.getvalue(), stderr=err.getvalue())


def shown(city: City, run: UUID, key: str) -> str:
    """What an artifact of a run says now; "" if there is none."""
    wanted = ArtifactFilter.model_validate({"flow_run_id": {"any_": [run]}, "key": {"any_": [key]}})
    found = city._asked(lambda: city.client.read_artifacts(artifact_filter=wanted))
    assert len(found) <= 1, "written over, not anew"
    return str(found[0].data) if found else ""


def logged(city: City, run: UUID) -> list[str]:
    """The lines of a run's log in Prefect."""
    wanted = LogFilter.model_validate({"flow_run_id": {"any_": [run]}})
    return [line.message for line in city._asked(lambda: city.client.read_logs(wanted))]


def below(city: City, run: UUID, flow: str) -> list[FlowRun]:
    """The runs of a flow that work for a run."""
    asked = those(flows=[flow], tags={"all_": [f"above:{run}"]})
    return city._asked(lambda: list(pages(city.client, **asked)))


class Run:
    """A run that was ordered, with its children."""

    def __init__(self, city: City, seed: int, recipe: str = RECIPE, **options: tuple[str, ...]):
        self.city = city
        sets = ("defaults.steps=4", f"defaults.seed={seed}")
        self.plan: Plan = planned(recipe, *sets, **options)
        self.id: UUID = city.order(recipe, *sets, **options)

    @classmethod
    def of(cls, city: City, name: str) -> Run:
        """A run of a recipe that is not among the shipped ones; without its plan."""
        run = cls.__new__(cls)
        run.city, run.id = city, city.order(name)
        return run

    @property
    def keys(self) -> set[str]:
        return set(self.plan.steps)

    def children(self) -> list[FlowRun]:
        return sorted(below(self.city, self.id, MAKE_CHUNK), key=lambda run: run.name)

    def child(self, wanted: Callable[[FlowRun], bool]) -> FlowRun:
        """One of its children, as soon as there is such a one."""

        def look() -> FlowRun | None:
            return next((run for run in self.children() if wanted(run)), None)

        return until(look, PATIENCE, self.city.said)

    def waiting(self, count: int) -> list[FlowRun]:
        """So many children that no worker has, those that come last."""

        def look() -> list[FlowRun]:
            found = [
                run for run in self.children() if run.state is not None and run.state.is_scheduled()
            ]
            return found[-count:] if len(found) >= count else []

        return until(look, PATIENCE, self.city.said)

    def running(self) -> FlowRun:
        return self.child(lambda run: run.state is not None and run.state.is_running())

    def set(self, run: UUID, state: State) -> None:
        self.city._asked(lambda: self.city.client.set_flow_run_state(run, state, force=True))

    def ended(self) -> FlowRun:
        return self.city.ended(self.id)

    def state(self, run: UUID | None = None) -> str:
        found = self.city.flow_run(run or self.id)
        assert found.state is not None
        return found.state.name or ""

    def computed(self) -> dict[str, int]:
        """How often each of its keys was begun."""
        return dict(self.city.calls.computations(self.keys))

    def assert_whole(self) -> None:
        """It ended complete, each picture made once, and nothing is left."""
        assert self.ended().state.name == "Completed", self.city.said()
        verdict = self.city.home.judge(self.plan)
        assert not (verdict.lost or verdict.corrupt), verdict
        self.assert_no_lease()

    def assert_no_lease(self) -> None:
        until(
            lambda: not [n for n in self.city.home.names("leases/") if str(self.id) in n],
            PATIENCE,
            self.city.said,
        )

    def versions(self) -> dict[str, str]:
        """Every object of its run's folder, by its last change."""
        name = self.city.home.run(self.plan)
        return self.city.home.versions(f"runs/{name}/")
