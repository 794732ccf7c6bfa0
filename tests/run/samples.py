"""Plans made by hand, pictures on disk, and engines that are watched."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from flows.plan.keys import plan_digest, step_key
from flows.plan.step import (
    ContextRef,
    ParentStep,
    Plan,
    PlannedOutput,
    PlannedVariant,
    SourceImage,
    Step,
    StepParams,
)
from flows.run.events import ignore
from flows.run.execute import run_plan
from flows.run.look import look
from flows.run.manifest import FILE_NAME, Manifest, parse_manifest
from flows.run.pipeline import Hooks, RunRequest, run_recipe
from kontext_engine.api import EditRequest
from kontext_engine.fake import FAKE_SPEC, FakeEngine
from kontext_engine.spec import NumericsProfile

NUMERICS = NumericsProfile()


def draw_picture(path: Path, number: int, size=(64, 48)) -> Path:
    """A small, distinct PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shade = hashlib.sha256(str(number).encode()).digest()
    Image.new("RGB", size, tuple(shade[:3])).save(path)
    return path


def source(path: Path, name: str = "product") -> SourceImage:
    return SourceImage(name, path, hashlib.sha256(path.read_bytes()).hexdigest())


@dataclass
class PlanMaker:
    """Builds a plan step by step, keyed as real plans are."""

    steps: dict[str, Step] = field(default_factory=dict)
    variants: list[PlannedVariant] = field(default_factory=list)
    outputs: list[PlannedOutput] = field(default_factory=list)

    def step(
        self, name: str, prompt: str, contexts: Sequence[ContextRef], variant: str, **params
    ) -> ParentStep:
        asked = StepParams(**({"prompt": prompt, "seed": 1, "steps": 2} | params))
        operation = "edit" if contexts else "generate"
        key = step_key(operation, asked, contexts, FAKE_SPEC, NUMERICS)
        if key not in self.steps:
            label = f"{name}[{variant}]"
            self.steps[key] = Step(key, name, label, operation, asked, tuple(contexts), (variant,))
        return ParentStep(key)

    def variant(
        self, id_: str, values: Mapping[str, str], steps: Sequence[ParentStep], **output
    ) -> None:
        keys = tuple(step.key for step in steps)
        self.variants.append(PlannedVariant(id_, values, keys))
        asked = {"path": f"{id_}.png", "format": "png"} | output
        self.outputs.append(PlannedOutput(key=keys[-1], variant=id_, **asked))

    def plan(self, name: str = "autumn looks") -> Plan:
        return Plan(
            recipe=name,
            recipe_path=Path("recipes/autumn.yaml"),
            recipe_text="version: 1\n",
            model=FAKE_SPEC,
            numerics=NUMERICS,
            steps=dict(self.steps),
            variants=tuple(self.variants),
            outputs=tuple(self.outputs),
            digest=plan_digest(self.steps, self.outputs),
        )


def product_plan(paths: Sequence[Path], scene: str = "a beach", **output) -> Plan:
    """For each picture two steps in a chain: ``place`` it in a scene, make it ``snow``."""
    maker = PlanMaker()
    for path in paths:
        variant = f"product={path.stem}"
        place = maker.step("place", f"put it on {scene}", [source(path)], variant)
        snow = maker.step("snow", "make it snow", [place], variant)
        extra = {name: text.format(path.stem) for name, text in output.items()}
        maker.variant(variant, {"product": path.stem}, [place, snow], **extra)
    return maker.plan()


def ten_products(folder: Path) -> list[Path]:
    return [draw_picture(folder / f"p{number}.png", number) for number in range(10)]


class WatchedEngine:
    """A fake engine that counts; ``trouble`` may raise when it is handed requests."""

    def __init__(self, trouble=None, **options) -> None:
        self._inner = FakeEngine(**options)
        self._trouble = trouble
        self.loads = 0
        self.asked: list[list[EditRequest]] = []

    @property
    def spec(self):
        return self._inner.spec

    @property
    def numerics(self):
        return self._inner.numerics

    @property
    def prompts(self) -> list[str]:
        return [request.prompt for batch in self.asked for request in batch]

    def load(self) -> WatchedEngine:
        self.loads += 1
        return self

    def run(self, requests, on_step=None):
        self.asked.append(list(requests))
        if self._trouble is not None:
            self._trouble(requests)
        yield from self._inner.run(requests, on_step)


def make(plan, store, keys=None, outputs=(), engine=None, **more):
    """Make these of a plan, default: all, as one chunk is made; the outcome."""
    seen = look(plan, store, keys, outputs)
    return run_plan(plan, store, (engine or WatchedEngine()).load, seen=seen, **more)


def run(plan, out, settings=None, engine=None, on_event=ignore, **options):
    """``kontext run`` of a plan, with a fake engine."""
    load = (engine or WatchedEngine(**options)).load
    hooks = Hooks(on_event=on_event, factory=lambda plan, out, batch: load)
    return run_recipe(plan, RunRequest(Path("x.yaml"), out, settings=settings), hooks)


def manifest_in(folder: Path) -> Manifest:
    """The manifest of a run that lies in a folder of this machine."""
    return parse_manifest((folder / FILE_NAME).read_bytes(), str(folder))


def decoded(store, record) -> bytes:
    """A stored picture's pixels."""
    with Image.open(io.BytesIO(store.read(record))) as image:
        return image.tobytes()
