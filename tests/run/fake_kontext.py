"""``kontext`` with a fake engine in place of the real one: a script that tests start and kill.

usage: fake_kontext.py ENGINE ARGUMENT...

ENGINE is ``SECONDS`` an edit takes; ``stuck``: one that never ends loading; or ``real``: then the
real engine's module is left in its place, and whoever touches it imports torch. At the end, stderr
tells what was imported.
"""

from __future__ import annotations

import atexit
import sys
import time
import types
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import flows.plan.plan
from kontext_engine.fake import FAKE_SPEC, FakeEngine, FakeFaults


def install(engine: str) -> None:
    class KontextEngine:
        @staticmethod
        def load(spec, options):
            while engine == "stuck":
                time.sleep(0.1)
            faults = FakeFaults(prompts=("FAIL",))
            return FakeEngine(spec, options, faults, seconds_per_edit=float(engine))

    module = types.ModuleType("kontext_engine.engine")
    module.KontextEngine = KontextEngine
    sys.modules["kontext_engine.engine"] = module


def pretend(engine: str) -> None:
    """That one engine, with a model of its own."""
    flows.plan.plan.resolve_model = lambda name: FAKE_SPEC
    if engine != "real":
        install(engine)


def tell_imports() -> None:
    heavy = [name for name in ("torch", "prefect", "boto3", "diffusers") if name in sys.modules]
    sys.stderr.write(" ".join(["imported:", *heavy]) + "\n")


if __name__ == "__main__":
    engine, *arguments = sys.argv[1:]
    pretend(engine)
    atexit.register(tell_imports)
    from flows.cli import main

    main(arguments)
