"""A run's folder, by what people call it."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.store.base import AddressError
from flows.store.folder import LocalObjects
from flows.store.runfolder import RunFolder, open_run

RUN = "2026-01-02-autumn-0badf00d"


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    run = RunFolder(LocalObjects(Path("out")), RUN)
    run.write("manifest.json", "{}")
    run.write("thumbs/a.webp", b"")
    run.write("thumbs/deeper/b.webp", b"")
    return Path(run.where)


@pytest.mark.parametrize("last", ["", "/", "/manifest.json"])
@pytest.mark.parametrize("absolute", [False, True])
def test_a_folder_of_a_store(folder, last, absolute):
    where = str(folder.absolute() if absolute else folder)
    run, store = open_run(f"{where}{last}")
    assert (run.name, run.where) == (RUN, where)
    assert store == str(Path(where).parent.parent)
    assert run.read("manifest.json") == b"{}"
    assert "thumbs/a.webp" in run.files()


def test_the_folder_one_is_in(folder, monkeypatch):
    home = folder.absolute().parent.parent
    monkeypatch.chdir(folder)
    run, store = open_run(".")
    assert (run.name, store) == (RUN, str(home))
    assert run.read("manifest.json") == b"{}"


def test_a_name_in_a_store(folder):
    run, store = open_run(RUN, "out")
    assert (run.where, store) == (f"out/runs/{RUN}", "out")


def test_a_run_away_from_its_store(folder):
    moved = folder.rename("sent by mail")
    run, _ = open_run("sent by mail")
    run.write("report.html", "page")
    assert run.where == "sent by mail"
    assert run.at("report.html") == "sent by mail/report.html"
    # Nothing of a store is made in it.
    assert {path.name for path in moved.iterdir()} == {"manifest.json", "report.html", "thumbs"}
    assert "thumbs/a.webp" in run.files()


@pytest.mark.parametrize("last", ["", "/", "/report.html"])
def test_a_run_in_s3(last):
    run, store = open_run(f"s3://bucket/a/runs/b/runs/{RUN}{last}")
    assert run.where == f"s3://bucket/a/runs/b/runs/{RUN}"
    assert store == "s3://bucket/a/runs/b"


def test_s3_without_a_run_is_told():
    with pytest.raises(AddressError, match=r"not a run; expected s3://bucket/prefix/runs/<run>"):
        open_run("s3://bucket/prefix")


def test_credentials_in_an_address_are_not_repeated():
    for where in ("s3://AKIA:hush@bucket/shots", f"s3://AKIA:hush@bucket/runs/{RUN}"):
        with pytest.raises(AddressError, match="credentials belong into") as caught:
            open_run(where)
        assert "hush" not in str(caught.value)
