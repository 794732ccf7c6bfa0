"""``python -m tests.run.reads``: what a run asks of a real S3 server, counted there.

1,000 pictures with an output each, in a bucket that holds 50,000 other records: the run that makes
them, the same run again (timed straight, counted through a proxy), a chain of 8 in chunks of 2,
and the same outputs published into a new run folder. The suite does the same in a small size.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from flows.plan.step import Plan
from flows.run.cutting import cut
from flows.run.look import look
from flows.run.outcome import State
from flows.run.pipeline import publish, run_folder
from flows.settings import S3Settings, Settings
from flows.store.address import open_store

from ..servers.faults import Faults, Request
from ..servers.seaweed import BUCKET, FOREIGN, REGION, Seaweed
from .measured import measured
from .samples import PlanMaker, WatchedEngine, make, run

CHAIN, STRETCH = 8, 2


def pictures(number: int) -> Plan:
    """So many pictures, each with an output."""
    maker = PlanMaker()
    for at in range(number):
        maker.variant(str(at), {"at": str(at)}, [maker.step("hero", str(at), [], str(at))])
    return maker.plan()


def chain(length: int = CHAIN) -> Plan:
    """One picture after the other, each worth half a minute (``measured``): two make a chunk."""
    maker, row = PlanMaker(), []
    for at in range(length):
        row.append(maker.step("turn", str(at), row[-1:], "x", steps=30))
    maker.variant("x", {}, row)
    return maker.plan()


def kind_of(request: Request) -> str:
    """``GET blobs``, ``HEAD runs``, ``LIST runs``: what was done to which kind of object."""
    parts = urlsplit(request.path)
    asked = parse_qs(parts.query)
    if "list-type" in asked:
        return f"LIST {asked.get('prefix', [''])[0].partition('/')[2].partition('/')[0]}"
    name = unquote(parts.path).split("/", 3)[-1]
    copied = "copy " if "x-amz-copy-source" in request.headers else ""
    return f"{request.method} {copied}{name.partition('/')[0]}"


@contextmanager
def counted(proxy: Faults) -> Iterator[Counter[str]]:
    """What is asked meanwhile, by kind."""
    counts: Counter[str] = Counter()
    before = len(proxy.requests)
    yield counts
    counts.update(map(kind_of, proxy.requests[before:]))


def in_chunks(plan: Plan, where: str, settings: Settings, proxy: Faults) -> Mapping[str, int]:
    """Make a chain chunk by chunk, each as if by another worker; what is asked, by kind."""
    store = open_store(where, settings)
    chunks = cut(plan, look(plan, store), measured(plan), 1, "0-0")
    assert [len(chunk.keys) for chunk in chunks] == [STRETCH] * (CHAIN // STRETCH)
    with counted(proxy) as counts:
        for chunk in chunks:
            worker = open_store(where, settings)
            outcome = make(plan, worker, chunk.keys, chunk.outputs)
            assert {outcome.steps[key].state for key in chunk.keys} == {State.DONE}
    return counts


def again(plan: Plan, where: str, settings: Settings) -> tuple[float, float]:
    """Run what is made; the seconds that it takes, and those of this process's own computing."""
    began, used, engine = time.monotonic(), time.process_time(), WatchedEngine()
    finished = run(plan, where, settings, engine)
    assert (engine.loads, finished.manifest.whole) == (0, True)
    return time.monotonic() - began, time.process_time() - used


def into_a_new_folder(plan: Plan, where: str, settings: Settings) -> None:
    """Publish what is made once more, as on another day."""
    store = open_store(where, settings)
    outcome = make(plan, store)
    finished = publish(plan, outcome, store, run_folder(plan, store.objects, date(2000, 1, 1)))
    assert finished.manifest.whole


def fill(where: str, settings: Settings, number: int) -> None:
    """Put so many other records there."""
    store = open_store(where, settings)
    (sample,) = store.sample(1)
    text = store.objects.get(f"records/{sample.key}").data
    names = [hashlib.sha256(str(at).encode()).hexdigest() for at in range(number)]
    with ThreadPoolExecutor(16) as pool:
        for _ in pool.map(lambda name: store.objects.replace(f"records/{name}", text), names):
            pass


def settings_for(endpoint: str) -> Settings:
    return Settings(s3=S3Settings(endpoint_url=endpoint, region=REGION, addressing="path"))


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def shown(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {kind}" for kind, number in sorted(counts.items()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--others", type=int, default=50_000)
    asked = parser.parse_args()
    for name in FOREIGN:
        os.environ.pop(name, None)
    with (
        tempfile.TemporaryDirectory(prefix="kontext-reads-") as folder,
        Seaweed(Path(folder) / "seaweed") as server,
        Faults(server.ports["s3"]) as proxy,
    ):
        server.make_bucket(BUCKET)
        os.environ.update(server.environment)
        straight, watched = settings_for(server.endpoint), settings_for(proxy.endpoint)
        where, plan = f"s3://{BUCKET}/reads", pictures(asked.pictures)
        began = time.monotonic()
        run(plan, where, straight)
        say(f"{asked.pictures} pictures made in {time.monotonic() - began:.1f} s")
        fill(where, straight, asked.others)
        say(f"{asked.others} other records put")
        times = sorted(again(plan, where, straight) for _ in range(3))
        told = ", ".join(f"{whole:.2f} s ({own:.2f} s of processor)" for whole, own in times)
        say(f"nothing to do: {told}")
        with counted(proxy) as counts:
            again(plan, where, watched)
        say(f"nothing to do, requests: {shown(counts)}")
        with counted(proxy) as counts:
            into_a_new_folder(plan, where, watched)
        say(f"into a new folder: {shown(counts)}")
        counts = in_chunks(chain(), f"s3://{BUCKET}/chain", watched, proxy)
        say(f"a chain of {CHAIN} in chunks of {STRETCH}: {shown(counts)}")
        with counted(proxy) as counts:
            into_a_new_folder(chain(), f"s3://{BUCKET}/chain", watched)
        say(f"its files published: {shown(counts)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
