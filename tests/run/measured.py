"""Plans made quickly, and records that tell how long their steps take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from PIL import Image

from flows.plan.step import ParentStep, Plan, Step, StepParams
from flows.run.provenance import new_record
from flows.store.record import Record
from kontext_engine.api import EditResult
from kontext_engine.fake import FAKE_SPEC
from kontext_engine.geometry import Size, plan_geometry

from .samples import PlanMaker

BARE = PlanMaker().plan()


class CountedSteps(Mapping):
    """A plan's steps that count how often they are looked at."""

    def __init__(self, steps) -> None:
        self._steps = steps
        self.looks = 0

    def __getitem__(self, key):
        self.looks += 1
        return self._steps[key]

    def __iter__(self):
        for key in self._steps:
            self.looks += 1
            yield key

    def __len__(self) -> int:
        return len(self._steps)


def timed_plan(parents: Sequence[Sequence[int]], seconds: Iterable[int]) -> Plan:
    """A plan of steps with these parents by number; each takes so many seconds (``measured``).

    Its keys are counted, which is quicker than computing them.
    """
    keys = [f"{at:064x}" for at in range(len(parents))]
    steps = {
        key: Step(
            key,
            "s",
            key,
            "edit",
            StepParams("p", 1, time),
            tuple(ParentStep(keys[at]) for at in before),
            (),
        )
        for key, before, time in zip(keys, parents, seconds, strict=True)
    }
    return replace(BARE, steps=CountedSteps(steps))


def record_of(plan: Plan, step: Step, seconds: float, **changes) -> Record:
    """A record of one of the plan's steps, as if it had been made in this time."""
    image = Image.new("RGB", (64, 64))
    placed = plan_geometry(
        [], None, step.params.fit, area=FAKE_SPEC.pixel_area, multiple=16, default=Size(64, 64)
    )
    made = new_record(plan, step, EditResult(step.key, image, placed, seconds, ()), b"x", 1)
    return replace(made, **changes)


def measured(plan: Plan) -> list[Record]:
    """Records by which each step takes as many seconds as it has denoise steps."""
    kinds = {(step.params.steps, len(step.contexts)): step for step in plan.steps.values()}
    return [record_of(plan, step, float(step.params.steps)) for step in kinds.values()]
