"""A model folder, a batch of pictures, and two ways to run ``kontext`` from outside on them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from flows.pull.target import MEMORY
from flows.run.manifest import Manifest
from flows.store.local import LocalStore
from kontext_engine.catalogue import MODELS_FOLDER
from tests.forked import Forked, Zygote
from tests.run.samples import manifest_in

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """A model folder: the shipped miniature where it is, else a tiny one of random weights."""
    shipped = MODELS_FOLDER / "kontext-mini"
    if (shipped / "model_index.json").is_file():
        return shipped
    from tests.engine.tiny import save_tiny_model

    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_tiny_model(folder)
    return folder


@pytest.fixture(scope="session")
def environment(tmp_path_factory) -> dict[str, str]:
    """A process's environment: one thread, this checkout, a cache of its own, no Prefect."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    cache = str(tmp_path_factory.mktemp("cache"))
    return kept | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": cache}


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    status: int
    out: str
    err: str


@dataclass
class Kontext:
    """Starts ``kontext`` in a folder."""

    environment: dict[str, str]
    zygote: Zygote
    folder: Path = Path()
    fake: float | None = None  # seconds that an edit of a fake engine takes

    def start(self, *arguments: object, die: int = 0) -> Forked:
        """Start a forked one. ``die``: see ``zygote``."""
        engine = None if self.fake is None else str(self.fake)
        return self.zygote.start(arguments, self.folder, self.environment, engine=engine, die=die)

    def wait(self, process: Forked) -> Ended:
        """Wait for a forked one."""
        out, err = process.communicate()
        return Ended(process.wait(), out, err)

    def __call__(self, *arguments: object, die: int = 0) -> Ended:
        """Run a forked one to its end."""
        return self.wait(self.start(*arguments, die=die))

    def launch(self, *arguments: object, options: tuple[str, ...] = ()) -> subprocess.Popen:
        """Start ``python -m flows.cli`` as a shell would; ``options`` are the interpreter's."""
        return subprocess.Popen(
            [sys.executable, *options, "-m", "flows.cli", *map(str, arguments)],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def at(
        self, folder: Path, environment: Mapping[str, str], fake: float | None = None
    ) -> Kontext:
        """Another place, and variables beside this one's."""
        folder.mkdir(parents=True, exist_ok=True)
        return Kontext(self.environment | dict(environment), self.zygote, folder, fake)

    def fresh(self, *arguments: object, options: tuple[str, ...] = ()) -> Ended:
        """Run ``python -m flows.cli`` to its end."""
        with self.launch(*arguments, options=options) as process:
            out, err = process.communicate()
        return Ended(process.returncode, out, err)


@pytest.fixture(scope="session")
def processes(environment, zygote) -> Kontext:
    return Kontext(environment, zygote)


@pytest.fixture
def kontext(processes, tmp_path) -> Kontext:
    """``kontext`` in this test's folder."""
    return Kontext(processes.environment, processes.zygote, tmp_path)


@dataclass(frozen=True)
class Results:
    """What is under a run's ``--out``."""

    root: Path

    @property
    def manifest(self) -> Manifest:
        """The only run's manifest."""
        (folder,) = (self.root / "runs").iterdir()
        return manifest_in(folder)

    @property
    def report(self) -> str:
        """The only run's page."""
        (folder,) = (self.root / "runs").iterdir()
        return (folder / "report.html").read_text("utf-8")

    @property
    def recorded(self) -> set[str]:
        """Keys that are done."""
        folder = self.root / "records"
        return {path.name for path in folder.iterdir()} if folder.is_dir() else set()

    @property
    def calls(self) -> list[dict]:
        """The engine's append-only call log."""
        path = self.root / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def started(self, since: int = 0) -> list[str]:
        """Keys whose making the engine began, from one line of the log on."""
        return [call["id"] for call in self.calls[since:] if call["event"] == "start"]

    def picture(self, key: str) -> bytes:
        """A done step's blob."""
        store = LocalStore(self.root)
        return store.read(store.find(key))


def contents(folder: Path) -> dict[str, bytes]:
    """A pulled or local run's files, without what ``pull`` remembers."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != MEMORY
    }


def labels(manifest: Manifest, *states: str) -> set[str]:
    """Labels of the steps that ended so."""
    return {step.label for step in manifest.steps if step.state in states}
