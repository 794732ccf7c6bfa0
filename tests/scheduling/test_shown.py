"""What a run shows of itself, as it is put together; the rest is seen in a browser."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from uuid import uuid4

import pytest
from PIL import Image

from flows.run.ends import ChunkEnds
from flows.run.events import Retrying, Settled, Started
from flows.run.outcome import State, StepOutcome
from flows.run.thumbs import keep_thumbnail
from flows.scheduling.chunk_run import TOLD, Trouble
from flows.scheduling.shown import FAILURES, NEWEST, REPORT, ROWS, SIDE, Shown, plain
from flows.store.folder import LocalObjects

FAILED = StepOutcome(state=State.FAILED, reason="too dark")


class Progress:
    """What was shown last, by key."""

    def __init__(self):
        self.tables, self.pages = {}, {}

    def table(self, run, key, rows, words):
        self.tables[key] = (list(rows), words)

    def page(self, run, key, text, words):
        self.pages[key] = text


@pytest.fixture
def objects(tmp_path):
    return LocalObjects(tmp_path / "out")


@pytest.fixture
def shown(objects):
    site = SimpleNamespace(progress=Progress(), tempo=SimpleNamespace(look=0.0))
    return Shown(SimpleNamespace(site=site, run=uuid4()), objects)


def test_the_newest_pictures_are_on_the_page_small_and_whole(shown, objects):
    names = [
        keep_thumbnail(objects, f"{n:064x}", Image.new("RGB", (640, 480), (n, 0, 0))).name
        for n in range(NEWEST + 3)
    ]
    shown.look("5 of 12 pictures", [*names, "thumbs/gone.webp"])
    page = shown._progress.pages[REPORT]
    assert page.startswith("## 5 of 12 pictures\n\n<table>")
    assert page.count("<img ") == page.count(f'width="{SIDE}" height="{SIDE * 3 // 4}"') == NEWEST
    assert len(page) < 40_000
    shown.look("12 of 12 pictures", names)
    assert shown._progress.pages[REPORT].count("<img ") == NEWEST


def test_failures_come_into_the_table_as_chunks_end_and_the_page_names_it(shown):
    steps = {str(n): SimpleNamespace(label=f"hero[{n}]") for n in range(ROWS + 1)}
    ends = dict.fromkeys(steps, FAILED) | {"made": StepOutcome(state=State.DONE)}
    chunk = ChunkEnds(steps=ends, problems={}, engine_seconds=1.0)
    shown.take("one", chunk, SimpleNamespace(steps=steps))
    rows, words = shown._progress.tables[FAILURES]
    assert rows[0] == {"step": "hero[0]", "ended": "failed", "why": "too dark"}
    assert len(rows) == ROWS
    assert words.startswith(f"{ROWS + 1} steps without a picture; the first {ROWS} are here")
    assert shown.taken == {"one": 1}
    shown.take("two", None, SimpleNamespace(steps=steps))
    assert shown.taken == {"one": 1, "two": 0}
    shown.look("1 of 202 pictures", [])
    assert f"{ROWS + 1} steps without a picture: see *{FAILURES}*" in shown._progress.pages[REPORT]


def test_words_of_a_recipe_are_no_markup():
    assert plain("[a](b) <i>*_`#|") == r"\[a\](b) \<i\>\*\_\`\#\|"


def test_trouble_is_told_as_it_happens_and_not_without_end(caplog):
    trouble = Trouble(logging.LoggerAdapter(logging.getLogger("of-a-run")))
    with caplog.at_level(logging.WARNING, "of-a-run"):
        trouble.hear(Started(3, 3))
        trouble.hear(Settled("k", StepOutcome(state=State.DONE), "hero"))
        trouble.hear(Retrying("k", "hero", "out of memory", 1))
        for _ in range(TOLD + 5):
            trouble.hear(Settled("k", FAILED, "hero"))
    assert caplog.messages[:2] == [
        "hero: attempt 1 failed: out of memory; tried again",
        "hero: failed: too dark",
    ]
    assert len(caplog.messages) == TOLD + 1
    assert caplog.messages[-1].startswith("there is more trouble")
