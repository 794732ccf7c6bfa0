"""The bench of a store: it measures what arrives, and takes away what it wrote."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace

import pytest

from flows.cli import main
from flows.settings import Settings
from flows.store.address import open_objects
from flows.throughput.measure import _turns, measure
from flows.throughput.sides import LOOP, ThroughputError, make_sides

PICTURES = 6


@pytest.fixture
def settings(s3_place) -> Settings:
    return Settings(s3=s3_place.settings())


def test_every_side_brings_every_picture_and_nothing_stays(s3_place, settings, monkeypatch):
    monkeypatch.setattr("flows.throughput.measure.BLOCK", 4)
    told = []
    found = measure(s3_place.url, settings, pictures=PICTURES, watch=lambda *at: told.append(at))
    names = [one.side for one in found.pushed]
    assert names[:3] == ["kontext, outputs", "kontext, steps with records", "boto3, a plain loop"]
    assert ("s5cmd" in names) == (shutil.which("s5cmd") is not None)
    assert [one.side for one in found.pulled] == names
    assert told == [(number, 2 * len(names)) for number in range(1, 2 * len(names) + 1)]
    assert 20_000 < found.size < 30_000
    asked = {one.side: one.requests for one in found.pushed}
    assert asked["boto3, a plain loop"] == 1
    assert asked["kontext, steps with records"] == 2  # blob, record
    assert asked["boto3, picture and record"] == 2
    assert asked["kontext, outputs"] == (PICTURES + 2) / PICTURES  # a manifest for each block
    table = found.table()
    assert len(table.splitlines()) == 1 + 2 * len(names)
    assert re.search(r"push  boto3, a plain loop .* 1\.00x", table)
    assert list(open_objects(s3_place.url, settings).list("")) == []


def test_each_side_is_first_in_its_turn():
    turns = _turns(["one", "two", "three"], ["a", "b"])
    assert [name for _, name in turns] == ["a", "b", "b", "a", "a", "b"]
    assert {(block, name) for block, name in turns} == {
        (block, name) for block in ("one", "two", "three") for name in "ab"
    }


def test_what_arrives_otherwise_than_it_was_sent_is_told(s3_place, settings, monkeypatch):
    def spoilt(home, settings):
        honest = make_sides(home, settings)[LOOP]

        def pull(what, folder):
            honest.pull(what, folder)
            victim = next(folder.iterdir())
            victim.write_bytes(victim.read_bytes()[:-1])

        return {LOOP: replace(honest, pull=pull)}

    monkeypatch.setattr("flows.throughput.measure.make_sides", spoilt)
    with pytest.raises(ThroughputError, match="of 2 pictures 1 arrived as they were sent"):
        measure(s3_place.url, settings, pictures=2)
    assert list(open_objects(s3_place.url, settings).list("")) == []


def test_the_command_prints_the_table_and_refuses_a_folder(s3_place, capsys, tmp_path):
    with pytest.raises(SystemExit) as ended:
        main(["bench", "--store", s3_place.url, "--pictures", "2"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("2 pictures of 25 kB on average, s3://")
    with pytest.raises(SystemExit) as ended:
        main(["bench", "--store", str(tmp_path)])
    assert ended.value.code == 1
    assert "only a store in S3 is measured" in capsys.readouterr().err
