"""``coordinate`` again and again in processes of their own, without importing Prefect each time.

A script: it imports what the coordinator needs and then forks a child for each order that it reads
from stdin. Orders and answers are one JSON object a line:

    {"store": PLACE, "recipes": PLACE, "name": NAME, "api": URL, "log": FILE, "lease": SECONDS,
     "die": N, "env": {NAME: VALUE}}  ->  {"pid": PID}
    {"wait": PID}  ->  {"status": EXIT CODE, or minus the signal's number}

With ``die`` the child kills itself (SIGKILL) before the Nth time that it writes to the store or
asks Prefect: moments that lie between any two of a coordinator's acts.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
os.environ["PREFECT_API_URL"] = "http://127.0.0.1:1/api"  # each child has its own

import flows.recipe.plan
from flows import coordinator
from flows.coordination.conductor import Patience
from flows.orchestration.api import PrefectApi
from flows.settings import load_settings
from flows.store.folder import LocalObjects
from kontext_engine.fake import FAKE_SPEC

flows.recipe.plan.resolve_model = lambda name: FAKE_SPEC


def die_at(moment: int) -> None:
    left = moment

    def before(act):
        def counted(*args, **named):
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return act(*args, **named)

        return counted

    PrefectApi.asked = before(PrefectApi.asked)
    for name in ("create", "replace", "remove"):
        setattr(LocalObjects, name, before(getattr(LocalObjects, name)))


def child(order: dict) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(process)d %(message)s")
    logging.getLogger("flows").setLevel(logging.INFO)
    os.environ.update(order["env"])
    if order.get("die"):
        die_at(order["die"])
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    options = coordinator.CoordinatorOptions(
        load_settings().given(store=order["store"]),
        order["recipes"],
        order["name"],
        Patience(lease=30.0, pickup=30.0),  # the workers live, however slow the machine
        tick=0.2,
        lease=order["lease"],
    )
    with temporary_settings({PREFECT_API_URL: order["api"]}):
        coordinator.coordinate(options, stop)


def fork(order: dict) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 99
    try:
        child(order)
        status = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(status)


def answer(order: dict) -> dict:
    if "store" in order:
        return {"pid": fork(order)}
    _, status = os.waitpid(order["wait"], 0)
    return {"status": os.waitstatus_to_exitcode(status)}


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
        sys.stdout.flush()
