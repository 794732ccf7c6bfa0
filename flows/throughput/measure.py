"""Small pictures to a store in S3 and back: this program, a plain loop over boto3, and ``s5cmd``.

All take turns in one run, block by block, so that a busy machine or server slows all of them; each
pulls what it has pushed, and what arrives is compared with what was sent.
"""

from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from flows.settings import Settings
from flows.settings.address import S3Address
from flows.store import boto
from flows.store.address import open_objects, parse_address
from flows.store.lanes import LANES, in_lanes
from flows.throughput.sides import LOOP, PAIRS, S5CMD, SIDE, STEPS, ThroughputError, make_sides

PICTURES = 2000
BLOCK = 250  # pictures that one side handles before the next has its turn

_COUNTING = "throughput"

Watch = Callable[[int, int], None]


@dataclass(slots=True)
class Timing:
    """One side's pictures in one direction.

    ``processor`` are seconds of this machine's processors that its own processes took, the
    server's aside.
    """

    side: str
    pictures: int
    seconds: float = 0.0
    processor: float = 0.0
    asked: list[None] = field(default_factory=list)  # grown by any thread, one for each request

    @property
    def rate(self) -> float:
        """Pictures a second."""
        return self.pictures / self.seconds

    @property
    def requests(self) -> float | None:
        """Requests a picture, where they can be counted."""
        return None if self.side == S5CMD else len(self.asked) / self.pictures

    @contextmanager
    def running(self, settings: Settings) -> Iterator[None]:
        """Within it the time goes to this side."""
        events = boto.client(settings.s3).meta.events
        events.register("before-send.s3", lambda **_: self.asked.append(None), unique_id=_COUNTING)
        began, before = time.perf_counter(), _processor()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - began
            self.processor += _processor() - before
            events.unregister("before-send.s3", unique_id=_COUNTING)

    def line(self, base: float) -> str:
        """It beside a rate of ``base``."""
        asked = "" if self.requests is None else f", {self.requests:.2f} requests"
        return (
            f"{self.side:<27}{self.seconds:8.2f} s{self.rate:8.1f}/s{self.rate / base:6.2f}x   "
            f"a picture: {1000 * self.processor / self.pictures:.2f} ms of processor{asked}"
        )


def _processor() -> float:
    taken = os.times()
    return taken.user + taken.system + taken.children_user + taken.children_system


@dataclass(frozen=True, slots=True)
class Throughput:
    """What was measured: ``size`` is a picture's in bytes on average."""

    where: str
    size: float
    pushed: tuple[Timing, ...]
    pulled: tuple[Timing, ...]

    def table(self) -> str:
        """The figures as lines of text, with ratios to a plain loop over boto3 of the same puts."""
        count = self.pushed[0].pictures
        lines = [f"{count} pictures of {self.size / 1000:.0f} kB on average, {self.where}"]
        for what, timings in (("push", self.pushed), ("pull", self.pulled)):
            rates = {one.side: one.rate for one in timings}
            for one in timings:
                base = PAIRS if one.side in (STEPS, PAIRS) and what == "push" else LOOP
                lines.append(f"{what}  {one.line(rates[base])}")
        return "\n".join(lines)


def measure(
    where: str, settings: Settings, *, pictures: int = PICTURES, watch: Watch = lambda *_: None
) -> Throughput:
    """Time ``pictures`` of about 25 kB on each side below ``where``; what is written there goes.

    Raises:
        AddressError: ``where`` is no address.
        ThroughputError: it is not in S3; or something else arrived than was sent.
        StoreError: the store fails.
    """
    address = parse_address(where)
    if not isinstance(address, S3Address):
        raise ThroughputError(f"{where}: only a store in S3 is measured; use s3://bucket/prefix")
    prefix = f"{address.prefix}/bench-{uuid.uuid4().hex[:12]}".lstrip("/")
    home = S3Address(address.bucket, prefix)
    sides = make_sides(home, settings)
    pushed, pulled = ({name: Timing(name, pictures) for name in sides} for _ in range(2))
    with tempfile.TemporaryDirectory() as scratch, _swept(home, settings):
        blocks = list(_drawn(Path(scratch), pictures))
        came = Path(scratch) / "came"
        turns = _turns(blocks, list(sides))
        for number, (block, name) in enumerate(turns, 1):
            with pushed[name].running(settings):
                sides[name].push(block, str(number))
            with pulled[name].running(settings):
                sides[name].pull(str(number), came)
            _compare(name, block, came)
            shutil.rmtree(came)
            watch(number, len(turns))
        size = sum(path.stat().st_size for block in blocks for path in block.iterdir()) / pictures
    return Throughput(where, size, tuple(pushed.values()), tuple(pulled.values()))


def _turns(blocks: Sequence[Path], names: Sequence[str]) -> list[tuple[Path, str]]:
    """Every side on every block, each side once first."""
    return [
        (block, names[(number + turn) % len(names)])
        for number, block in enumerate(blocks)
        for turn in range(len(names))
    ]


def _drawn(scratch: Path, pictures: int) -> Iterator[Path]:
    """Folders of pictures that do not compress and are all different."""
    dice = random.Random(0)
    for start in range(0, pictures, BLOCK):
        folder = scratch / f"block-{start}"
        folder.mkdir()
        for number in range(start, min(start + BLOCK, pictures)):
            noise = Image.frombytes("RGB", (SIDE, SIDE), dice.randbytes(SIDE * SIDE * 3))
            buffer = io.BytesIO()
            noise.save(buffer, "PNG", compress_level=1)
            (folder / f"{number:06}.png").write_bytes(buffer.getvalue())
        yield folder


def _compare(side: str, sent: Path, came: Path) -> None:
    here, there = _digests(sent), _digests(came)
    if here != there:
        raise ThroughputError(
            f"{side}: of {here.total()} pictures {(here & there).total()} arrived as they were sent"
        )


def _digests(folder: Path) -> Counter[tuple[str, str]]:
    return Counter(
        (path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in folder.glob("*.png")
    )


@contextmanager
def _swept(home: S3Address, settings: Settings) -> Iterator[None]:
    """Remove what was written, whatever the end."""
    objects = open_objects(str(home), settings)
    try:
        yield
    finally:
        for _ in in_lanes(lambda entry: objects.remove(entry.name), objects.list(""), LANES):
            pass
