"""Engines for the child process whose trouble is written in the prompt. Loaded there by name.

Words of a prompt, acted on after the denoise step that they name (``WORD@STEP``; no step: 1):
KILL, BREAK, REFUSE, DOZE:SECONDS, SLEEP (for ever), FREEZE. GATE:PATH waits for a file; MEET:FOLDER
leaves a file there and waits until there are two; MARK:FILE appends a line for every step.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from kontext_engine.api import EditResult, EngineOptions, ModelError, Phase
from kontext_engine.fake import FakeEngine
from kontext_engine.spec import ModelSpec


@dataclass(frozen=True)
class ScriptedEngine:
    """The fake engine's pictures; the notes tell which process made them."""

    spec: ModelSpec
    options: EngineOptions

    @property
    def numerics(self):
        return self.options.numerics

    def run(self, requests, on_step=None):
        prompts = {request.id: request.prompt for request in requests}

        def step(progress):
            if on_step is not None:
                on_step(progress)
            if progress.phase is Phase.DENOISE:
                for id_ in progress.ids:
                    act(prompts[id_], progress.step)

        for answer in FakeEngine(self.spec, self.options).run(requests, step):
            if isinstance(answer, EditResult):
                yield replace(answer, notes=(f"pid {os.getpid()}",))
            else:
                yield answer


def act(prompt: str, step: int) -> None:
    for word in prompt.split():
        name, _, when = word.partition("@")
        verb, _, given = name.partition(":")
        if verb == "MARK":
            with Path(given).open("a") as file:
                file.write(f"{os.getpid()} {step}\n")
        elif verb in DEEDS and step == int(when or 1):
            DEEDS[verb](given)


def wait_for(true: Callable[[], bool]) -> None:
    while not true():
        time.sleep(0.01)


def kill(_):
    os.kill(os.getpid(), signal.SIGKILL)


def freeze(_):
    os.kill(os.getpid(), signal.SIGSTOP)


def break_down(_):
    raise RuntimeError("CUDA error: an illegal memory access was encountered\nmore of it")


def refuse(_):
    raise ModelError("calls.jsonl: no space")


def sleep(_):
    wait_for(lambda: False)


def doze(seconds):
    time.sleep(float(seconds or 0.05))


def gate(path):
    wait_for(Path(path).exists)


def meet(folder):
    (Path(folder) / str(os.getpid())).touch()
    wait_for(lambda: len(list(Path(folder).iterdir())) >= 2)


DEEDS = {
    "KILL": kill, "BREAK": break_down, "REFUSE": refuse, "SLEEP": sleep, "FREEZE": freeze,
    "GATE": gate, "MEET": meet, "DOZE": doze,
}  # fmt: skip


def scripted(spec: ModelSpec, options: EngineOptions) -> ScriptedEngine:
    """Loads, unless the model's name says otherwise."""
    if spec.name == "absent":
        raise ModelError("model 'absent' is not on this machine")
    if spec.name == "deadly":
        kill(None)
    return ScriptedEngine(spec, options)
