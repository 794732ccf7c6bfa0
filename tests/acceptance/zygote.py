"""``kontext`` again and again in processes of their own, without importing torch each time.

A script: it imports the libraries that the engine needs, nothing of this project, and then forks a
child for each order it reads from stdin. The child runs the command line from its very beginning.
Orders and answers are one JSON object a line:

    {"run": [ARGUMENT...], "cwd": DIR, "environment": {NAME: VALUE}, "stdout": FILE,
     "stderr": FILE, "die": N, "fake": SECONDS or null}  ->  {"pid": PID}
    {"wait": PID}  ->  {"status": EXIT CODE, or minus the signal's number}

With ``die`` the child kills itself (SIGKILL) before the Nth time that it creates a file in the
store or opens the engine's call log: moments that always lie inside a run's work, between any two
steps of "log the start, compute, log the end, blob, record". With ``fake`` its engine is the fake
one of ``tests/run/fake_kontext.py``, taking so many seconds an edit.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

# Loaded for the children; none of them is this project's.
import jinja2  # noqa: F401
import numpy as np  # noqa: F401
import PIL.Image  # noqa: F401
import pydantic  # noqa: F401
import rich.progress
import rich.table  # noqa: F401
import torch
import typer  # noqa: F401
import yaml  # noqa: F401
from diffusers import AutoencoderKL, FluxTransformer2DModel  # noqa: F401
from transformers import AutoTokenizer, CLIPTextModel, T5EncoderModel  # noqa: F401


def die_at(moment: int) -> None:
    left = moment

    def watch(event: str, arguments: tuple) -> None:
        nonlocal left
        link = event == "os.link" and Path(arguments[1]).parent.name in {"blobs", "records"}
        log = event == "open" and str(arguments[0]).endswith("calls.jsonl")
        if link or log:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def take_fake_engine(seconds: float) -> None:
    import flows.plan.plan
    from kontext_engine.fake import FAKE_SPEC
    from tests.run.fake_kontext import install

    flows.plan.plan.resolve_model = lambda name: FAKE_SPEC
    install(str(seconds))


def child(order: dict) -> None:
    os.chdir(order["cwd"])
    os.environ.update(order["environment"])
    for number, name in ((1, order["stdout"]), (2, order["stderr"])):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if order.get("die"):
        die_at(order["die"])
    if order["fake"] is not None:
        take_fake_engine(order["fake"])
    from flows.cli import main

    main(order["run"])


def fork(order: dict) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 99
    try:
        child(order)
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def answer(order: dict) -> dict:
    if "run" in order:
        return {"pid": fork(order)}
    _, status = os.waitpid(order["wait"], 0)
    return {"status": os.waitstatus_to_exitcode(status)}


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    torch.set_num_threads(1)  # threads would not survive the fork
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
        sys.stdout.flush()
