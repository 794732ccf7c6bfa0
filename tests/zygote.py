"""``kontext`` again and again in processes of their own, without importing everything each time.

A script: it imports what the command line is made of, and then forks a child for each order that
it reads from stdin. What is imported is all that a child has not to do anew; ``fresh`` processes
(``acceptance/conftest.py``, ``run/conftest.py``) show that the beginning is right, too. Orders and
answers are one JSON object a line:

    {"run": [ARGUMENT...], "cwd": DIR, "environment": {NAME: VALUE}, "stdout": FILE,
     "stderr": FILE, "die": N, "engine": ENGINE or null}  ->  {"pid": PID}
    {"ended": PID}  ->  {"status": EXIT CODE, or minus the signal's number, or null: not yet}

With ``die`` the child kills itself (SIGKILL) before the Nth time that it creates a file in the
store or opens the engine's call log: moments that always lie inside a run's work, between any two
steps of "log the start, compute, log the end, blob, record". With ``engine`` it has that fake one
of ``tests/run/fake_kontext.py``.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
ELSEWHERE = ("flows.scheduling.", "flows.up.")  # verbs that no child is asked for


def load_flows() -> None:
    """The command line, and what it loads only when it is needed; no torch, and no Prefect."""
    import boto3  # noqa: F401

    import flows
    import tests.run.fake_kontext  # noqa: F401
    from flows.run.page import templates
    from tests.servers.descriptions import read_descriptions, share_descriptions

    share_descriptions()
    read_descriptions()
    templates("flows.run.report").get_template("report.html.j2")
    for module in pkgutil.walk_packages(flows.__path__, "flows."):
        if not f"{module.name}.".startswith(ELSEWHERE) and not module.name.endswith(".__main__"):
            importlib.import_module(module.name)


def load_torch() -> None:
    """The libraries of the engine, which itself is left to the children."""
    import torch
    from diffusers import AutoencoderKL, FluxTransformer2DModel  # noqa: F401
    from transformers import AutoTokenizer, CLIPTextModel, T5EncoderModel  # noqa: F401

    torch.set_num_threads(1)  # threads would not survive the fork


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


def child(order: dict) -> None:
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["environment"])
    for number, name in ((1, order["stdout"]), (2, order["stderr"])):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if order["die"]:
        die_at(order["die"])
    if order["engine"] is not None:
        from tests.run.fake_kontext import pretend

        pretend(order["engine"])
    from flows.cli import main

    main(order["run"])


def fork(order: dict) -> int:
    if order["engine"] is None and order["run"][0] == "run":
        load_torch()
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
    pid, status = os.waitpid(order["ended"], os.WNOHANG)
    return {"status": os.waitstatus_to_exitcode(status) if pid else None}


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    load_flows()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
        sys.stdout.flush()
