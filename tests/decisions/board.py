"""A small storyboard with a pick, a folder store, and a fake engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from PIL import Image

from flows.decisions.decided import Decided, read_decided
from flows.decisions.ledger import add
from flows.plan.plan import make_plan
from flows.plan.reroll import reroll
from flows.plan.step import Plan
from flows.recipe.recipe import Recipe, load_recipe
from flows.run.desk import Desk
from flows.settings import Settings
from flows.store.keyed import KeyedStore
from flows.store.local import LocalStore
from kontext_engine.fake import FAKE_SPEC
from tests.run.samples import WatchedEngine, manifest_in, run

RECIPE = """\
version: 1
name: board
variables: {season: spring}
inputs: {p: shoe.png}
matrix: {shot: [s1, s2]}
defaults: {steps: 2}
steps:
  frame: {op: edit, image: p, prompt: "{shot} in {season}", takes: 3}
  chosen: {op: pick, from: frame, by: hand}
  final: {op: edit, image: chosen, prompt: make it snow}
outputs:
  - {step: chosen, name: "chosen-{shot}"}
  - {step: final, name: "final-{shot}"}
"""
PICK = "chosen[shot=s1]"


@dataclass
class Board:
    """``store`` is opened anew for each question, as another process would."""

    folder: Path
    file: str = "board.yaml"
    settings: Settings = field(default_factory=Settings)
    sets: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        return self.folder / self.file

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def store(self) -> KeyedStore:
        return LocalStore(self.out)

    def write(self, text: str = RECIPE) -> Board:
        Image.new("RGB", (64, 64), (200, 40, 40)).save(self.folder / "shoe.png")
        self.path.write_text(text)
        return self

    def change(self, old: str, new: str) -> None:
        text = self.path.read_text()
        assert old in text
        self.path.write_text(text.replace(old, new))

    def recipe(self) -> Recipe:
        return load_recipe(self.path, self.sets, self.settings)

    def decided(self) -> Decided:
        return read_decided(self.store, self.settings, self.recipe().name, self.file)

    def plan(self) -> Plan:
        return make_plan(
            self.recipe(), model=FAKE_SPEC, settings=self.settings, decided=self.decided()
        )

    def run(self, engine: WatchedEngine | None = None):
        return run(self.plan(), self.out, self.settings, engine).manifest

    def desk(self, who: str = "ann") -> Desk:
        return Desk(self.recipe(), self.plan(), self.decided(), self.store, who)

    def reroll(self, selector: str):
        """What ``kontext decide RECIPE seed SELECTOR`` changes, for the fake model."""

        def plan(recipe: Recipe, **more: object) -> Plan:
            return make_plan(recipe, **{**more, "model": FAKE_SPEC})

        with mock.patch("flows.plan.reroll.make_plan", plan):
            return reroll(
                self.recipe(), [selector], settings=self.settings, decided=self.decided(),
                who="ann", add=lambda one: add(self.store.objects, one), keep=False,
            )  # fmt: skip

    def files(self) -> dict[str, bytes]:
        """The newest run's outputs by their paths."""
        folder = max((self.out / "runs").iterdir(), key=lambda one: one.stat().st_mtime_ns)
        found = manifest_in(folder)
        return {one.path: (folder / one.path).read_bytes() for one in found.outputs if one.sha256}
