"""``kontext pull``: what comes, what stays, what is refused, and what a stop in between leaves."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flows.cli import main
from flows.pull import target as target_module
from flows.pull.listing import RunNotFound, find_run, runs_beginning, split_address
from flows.pull.pull import pull
from flows.pull.target import MEMORY, PullError
from flows.recipe.naming import run_slug
from flows.run.manifest import ManifestError
from flows.store.address import open_objects
from flows.store.base import StoreError
from flows.store.folder import LocalObjects
from kontext_engine.files import write_whole
from tests.store.batch import write_run

RUN = "2026-01-02-autumn-0123abcd"
PICTURES = {f"{scene}/{name}.png": f"{scene} {name}".encode() * 50 for scene in ("beach", "city")
            for name in ("shoe", "bag", "hat")}  # fmt: skip
FILES = 2 * len(PICTURES) + 3


class Counted:
    """A home that counts what is read from it."""

    def __init__(self, home) -> None:
        self._home = home
        self.read: list[str] = []

    def __getattr__(self, name):
        return getattr(self._home, name)

    def get(self, name):
        self.read.append(name.removeprefix(f"runs/{RUN}/"))
        return self._home.get(name)


@pytest.fixture(params=["folder", "s3"])
def home(request, tmp_path):
    if request.param == "folder":
        return Counted(LocalObjects(tmp_path / "out"))
    return Counted(open_objects(request.getfixturevalue("s3_place").url))


@pytest.fixture
def local(tmp_path):
    return Counted(LocalObjects(tmp_path / "out"))


@pytest.fixture
def target(tmp_path) -> Path:
    return tmp_path / "here"


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != MEMORY
    }


def stored(objects, run: str = RUN) -> dict[str, bytes]:
    prefix = f"runs/{run}/"
    return {
        entry.name.removeprefix(prefix): objects.get(entry.name).data
        for entry in objects.list(prefix)
    }


def test_a_pulled_run_is_the_run_and_a_second_pull_transfers_nothing(home, target):
    write_run(home, RUN, outputs=PICTURES)
    first = pull(home, RUN, target)
    assert (first.files, len(first.fetched), first.there, first.problems) == (FILES, FILES, 0, [])
    assert contents(target) == stored(home)
    assert first.fetched[-1] == "manifest.json"
    assert first.bytes == sum(map(len, contents(target).values()))
    home.read.clear()
    before = {path: path.stat().st_mtime_ns for path in target.rglob("*")}
    second = pull(home, RUN, target)
    assert (second.files, second.fetched, second.there, second.bytes) == (FILES, [], FILES, 0)
    assert home.read == ["manifest.json"]  # what tells that there is nothing to do
    assert {path: path.stat().st_mtime_ns for path in target.rglob("*")} == before


def test_only_what_is_missing_or_differs_is_fetched(local, target):
    write_run(local, RUN, outputs=PICTURES)
    pull(local, RUN, target)
    (target / "beach" / "shoe.png").unlink()
    (target / "city" / "bag.png").write_bytes(b"bitten")
    (target / "report.html").write_bytes(b"edited")
    local.replace(f"runs/{RUN}/recipe.yaml", b"version: 2\n")
    (target / "mine.txt").write_text("stays")
    local.read.clear()
    again = pull(local, RUN, target)
    expected = {"beach/shoe.png", "city/bag.png", "report.html", "recipe.yaml"}
    assert set(again.fetched) == expected
    assert set(local.read) == expected | {"manifest.json"}
    assert contents(target) == stored(local) | {"mine.txt": b"stays"}


def test_a_run_made_again_is_brought_up_to_date(local, target):
    write_run(local, RUN, outputs=PICTURES)
    pull(local, RUN, target)
    write_run(local, RUN, outputs=PICTURES | {"beach/shoe.png": b"another"})
    assert set(pull(local, RUN, target).fetched) >= {"beach/shoe.png", "manifest.json"}
    assert contents(target) == stored(local)


def test_a_damaged_picture_is_told_and_never_written(local, target):
    write_run(local, RUN, outputs=PICTURES)
    local.replace(f"runs/{RUN}/beach/shoe.png", b"damaged on the way or in the store")
    local.remove(f"runs/{RUN}/beach/bag.png")
    done = pull(local, RUN, target)
    where = f"{local.where}/runs/{RUN}"
    assert sorted(done.problems) == sorted([
        f"{where}/beach/shoe.png: is damaged: it has another digest than the manifest names; not "
        "written; run its recipe again to write it anew",
        f"{where}/beach/bag.png: is missing; run its recipe again to write it anew",
        f"{target}/manifest.json: not written, because not everything that it names is there",
    ])  # fmt: skip
    assert contents(target).keys() == stored(local).keys() - {"beach/shoe.png", "manifest.json"}
    assert (done.files, len(done.fetched), done.there) == (FILES, FILES - 3, 0)
    write_run(local, RUN, outputs=PICTURES)
    assert pull(local, RUN, target).problems == []
    assert contents(target) == stored(local)


def test_a_good_file_is_not_replaced_by_a_damaged_one(local, target):
    write_run(local, RUN, outputs=PICTURES)
    pull(local, RUN, target)
    before = contents(target)
    local.replace(f"runs/{RUN}/beach/shoe.png", b"damaged")
    assert pull(local, RUN, target).problems == []
    assert contents(target) == before


def before_the_hat(objects, act):
    """Have something done just before ``city/hat.png`` is read for the first time."""
    get, asked = objects.get, []

    def meddled(name):
        if name.endswith("city/hat.png") and not asked:
            asked.append(name)
            act()
        return get(name)

    objects.get = meddled


def test_a_run_that_changes_while_it_is_pulled_is_pulled_as_it_is_then(local, target):
    write_run(local, RUN, outputs=PICTURES)
    changed = PICTURES | {"city/hat.png": b"another hat"}
    before_the_hat(local, lambda: write_run(local, RUN, outputs=changed))
    assert pull(local, RUN, target).problems == []
    assert contents(target) == stored(local)


@pytest.mark.parametrize("prefix", ["", "city"])
def test_a_run_published_anew_while_it_is_pulled_is_no_mixture(local, target, prefix):
    """Nothing fails here: all that the first manifest names is there to the end."""
    write_run(local, RUN, outputs=PICTURES)
    changed, later = PICTURES | {"city/new.png": b"one more"}, "2026-01-02T04:00:00+00:00"
    before_the_hat(local, lambda: write_run(local, RUN, outputs=changed, written=later))
    assert pull(local, RUN, target, prefix=prefix).problems == []
    expected = stored(local)
    if prefix:
        expected = {name: data for name, data in expected.items() if name.startswith("city/")}
    assert contents(target) == expected


@pytest.mark.parametrize("prefix", ["", "city"])
def test_a_run_that_changes_all_the_time_is_told(local, target, prefix):
    write_run(local, RUN, outputs=PICTURES)
    get, asked = local.get, []

    def meddled(name):
        held = get(name)
        if name.endswith("manifest.json"):
            asked.append(name)
            more = {f"city/{len(asked)}.png": b"one more"}
            write_run(local, RUN, outputs=PICTURES | more)
        return held

    local.get = meddled
    done = pull(local, RUN, target, prefix=prefix)
    assert len(asked) == 3
    assert done.problems == [
        f"{local.where}/runs/{RUN}/manifest.json: was written anew each of 3 times that it was "
        "pulled; expected a run that stays as it is; wait until nobody runs it, then pull again"
    ]
    assert done.there >= 0
    assert "manifest.json" not in contents(target), "it would name what is not there"
    local.get = get
    assert pull(local, RUN, target).problems == []
    assert contents(target) == stored(local)


class Stuck(LocalObjects):
    """Gives four pictures and no more, so that there is a moment in which to kill."""

    given = 0

    def get(self, name):
        self.given += name.endswith(".png")
        if self.given > 4:
            time.sleep(600)
        return super().get(name)


def pull_and_stop(root: Path, target: Path) -> None:
    pull(Stuck(root), RUN, target, jobs=1)


def test_a_killed_pull_goes_on_where_it_was(local, target, monkeypatch):
    write_run(local, RUN, outputs=PICTURES)
    context = multiprocessing.get_context("fork")
    puller = context.Process(target=pull_and_stop, args=(local.root, target))
    puller.start()
    end = time.monotonic() + 60
    while len(list(target.rglob("*.png"))) < 3:
        assert time.monotonic() < end
        time.sleep(0.005)
    os.kill(puller.pid, signal.SIGKILL)
    puller.join()
    assert puller.exitcode == -signal.SIGKILL
    there = contents(target)
    whole = stored(local)
    assert 3 <= len(there) < FILES
    assert "manifest.json" not in there
    assert {name: data for name, data in there.items() if not name.endswith(".part")}.items() <= (
        whole.items()
    )
    left = target / "beach" / f".{puller.pid}-0123456789ab.part"  # killed while it wrote
    left.write_bytes(b"half")
    monkeypatch.setattr(target_module, "_PART_AGE", -1.0)
    local.read.clear()
    done = pull(local, RUN, target)
    assert done.problems == []
    assert contents(target) == whole
    outputs = {name for name in there if name in PICTURES}
    assert not outputs & set(local.read), "what was there is not fetched again"
    assert len(done.fetched) == FILES - len(outputs)


@pytest.mark.parametrize("moment", range(1, 12, 2))
def test_stopped_at_any_write_it_goes_on(local, target, monkeypatch, moment):
    write_run(local, RUN, outputs=PICTURES)
    written = []

    def stopping(path, data):
        written.append(path)
        if len(written) == moment:
            raise KeyboardInterrupt
        write_whole(path, data)

    monkeypatch.setattr("flows.pull.pull.write_whole", stopping)
    with pytest.raises(KeyboardInterrupt):
        pull(local, RUN, target, jobs=1)
    monkeypatch.undo()
    assert "manifest.json" not in contents(target)
    there = len(contents(target))
    done = pull(local, RUN, target)
    assert (done.there, len(done.fetched)) == (there, FILES - there)  # thumbnails, too
    assert contents(target) == stored(local)


# What the store says is not trusted.


def evil(objects, path: str, **changes) -> None:
    made = json.loads(write_run(objects, RUN, outputs={"a.png": b"a"}).to_json())
    made["outputs"].append(made["outputs"][0] | {"path": path} | changes)
    objects.replace(f"runs/{RUN}/manifest.json", json.dumps(made).encode())


@pytest.mark.parametrize(
    "path",
    [
        "../escaped.png",
        "/etc/escaped.png",
        "a/../../escaped.png",
        "a//b.png",
        "a\\..\\b.png",
        "nul\0byte.png",
        "",
        "manifest.json",
        "Report.HTML",
        "thumbs/x.png",
        ".git/hooks/post-checkout",
        MEMORY,
        "CON.png",
        "line\nbreak.png",
    ],
)
def test_a_name_that_leaves_the_target_or_takes_anothers_is_left_out(local, target, path):
    evil(local, path)
    done = pull(local, RUN, target)
    assert len(done.problems) == 2
    assert done.problems[0].endswith("it is left out")
    assert set(contents(target)) == set(stored(local)) - {"manifest.json"}
    assert not list(target.parent.rglob("escaped*"))


def test_a_digest_that_is_none_is_left_out(local, target):
    evil(local, "b.png", sha256="abc")
    assert "has no SHA-256" in pull(local, RUN, target).problems[0]


@pytest.mark.parametrize(
    "link", ["beach", "beach/shoe.png", "thumbs", "report.html", "manifest.json"]
)
def test_a_link_in_the_target_is_not_followed(local, target, tmp_path, link):
    write_run(local, RUN, outputs=PICTURES)
    outside = tmp_path / "outside"
    outside.mkdir()
    (target / link).parent.mkdir(parents=True)
    (target / link).symlink_to(outside)
    done = pull(local, RUN, target)
    assert (
        f"{target / link}: is a link, which could lead out of {target}; remove it" in done.problems
    )
    assert list(outside.iterdir()) == []
    (target / link).unlink()
    assert pull(local, RUN, target).problems == []


def test_the_target_itself_may_be_a_link(local, target, tmp_path):
    write_run(local, RUN, outputs=PICTURES)
    (tmp_path / "disk").mkdir()
    target.symlink_to(tmp_path / "disk")
    assert pull(local, RUN, target).problems == []
    assert contents(tmp_path / "disk") == stored(local)


def test_only_thumbnails_are_taken_from_thumbs(local, target):
    write_run(local, RUN, outputs=PICTURES)
    local.replace(f"runs/{RUN}/thumbs/.bashrc", b"x")
    local.replace(f"runs/{RUN}/orphan.png", b"of an earlier version of the recipe")
    pull(local, RUN, target)
    assert set(stored(local)) - set(contents(target)) == {"thumbs/.bashrc", "orphan.png"}


def test_what_it_remembered_may_be_anything(local, target):
    write_run(local, RUN, outputs=PICTURES)
    pull(local, RUN, target)
    for damaged in ("", "[]", "{", '{"files": []}', '{"files": {"report.html": 3}}', "[" * 100_000):
        (target / MEMORY).write_text(damaged)
        done = pull(local, RUN, target)
        assert done.problems == []
        assert len(done.fetched) == FILES - 1 - len(PICTURES)
        assert contents(target) == stored(local)


# What cannot be pulled.


def test_a_run_without_a_manifest_has_not_ended(local, target):
    write_run(local, RUN, outputs=PICTURES)
    local.remove(f"runs/{RUN}/manifest.json")
    with pytest.raises(PullError, match="this run has not ended"):
        pull(local, RUN, target)
    assert not target.exists()


def test_a_manifest_that_cannot_be_read_is_told(local, target):
    local.replace(f"runs/{RUN}/manifest.json", b"torn")
    with pytest.raises(ManifestError, match="not a manifest this version can read"):
        pull(local, RUN, target)


def test_a_file_in_the_way_is_told_and_the_others_come(local, target):
    write_run(local, RUN, outputs=PICTURES)
    target.mkdir()
    (target / "beach").write_text("mine")
    done = pull(local, RUN, target)
    assert len([line for line in done.problems if line.endswith("move what is in the way")]) == 3
    assert (target / "beach").read_text() == "mine"
    assert (target / "city" / "hat.png").exists()


def test_a_target_that_cannot_be_written_is_told(local, tmp_path, monkeypatch):
    write_run(local, RUN, outputs=PICTURES)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(PullError, match="choose a folder"):
        pull(local, RUN, tmp_path / "file")

    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("flows.pull.pull.write_whole", full)
    with pytest.raises(PullError, match=r"no space left on device\); free some space, then pull"):
        pull(local, RUN, tmp_path / "here")


def test_a_store_that_fails_ends_it(local, target):
    write_run(local, RUN, outputs=PICTURES)
    get = local.get

    def away(name):
        if name.endswith(".png"):
            raise StoreError("the server is away")
        return get(name)

    local.get = away
    with pytest.raises(StoreError, match="the server is away"):
        pull(local, RUN, target)
    assert "manifest.json" not in contents(target)


# Which run, and which part of it.


def test_a_prefix_takes_only_these_outputs(local, target):
    write_run(local, RUN, outputs=PICTURES | {"beachball.png": b"x", "beach-2/a.png": b"y"})
    done = pull(local, RUN, target, prefix="beach")
    assert set(contents(target)) == {"beach/shoe.png", "beach/bag.png", "beach/hat.png"}
    assert (done.files, len(done.fetched)) == (3, 3)
    assert pull(local, RUN, target, prefix="beach/s").files == 1
    assert pull(local, RUN, target, prefix="beachb").fetched == ["beachball.png"]
    with pytest.raises(PullError, match="no output begins with 'river'; there are beach, beach-2"):
        pull(local, RUN, target, prefix="river")


def test_only_what_changed_since_another_run(local, target, capsys):
    other = "2026-02-03-autumn-89ababcd"
    write_run(local, RUN, outputs=PICTURES)
    write_run(local, other, outputs=PICTURES | {"city/hat.png": b"another", "new.jpg": b"new"})
    arguments = ["--store", str(target.parent / "out"), "--changed-since", RUN]
    with pytest.raises(SystemExit) as end:
        main(["pull", other, str(target), *arguments])
    assert end.value.code == 0
    told = capsys.readouterr()
    assert f"{len(PICTURES) - 1} outputs are as they were, and left out" in told.err
    assert contents(target) == {"city/hat.png": b"another", "new.jpg": b"new"}
    shutil.rmtree(target)
    done = pull(local, other, target, since=other)
    assert (done.files, contents(target)) == (0, {})
    with pytest.raises(PullError, match="no manifest"):
        pull(local, other, target, since="2026-01-01-nothing-00000000")


OTHERS = (
    "2026-01-02-autumn-4567abcd",
    "2026-02-03-autumn-89ababcd",
    "2026-02-03-autumn-shoes-cdefabcd",
    "2025-12-31-winter-00001111",
)


@pytest.fixture
def many(local):
    for run in (RUN, *OTHERS):
        write_run(local, run)
    return local


@pytest.mark.parametrize(
    ("text", "run"),
    [
        (RUN, RUN),
        ("0123abcd", RUN),
        ("winter", OTHERS[3]),
        ("wint", OTHERS[3]),
        ("autumn", OTHERS[1]),  # a recipe's name: its latest run, not those of autumn-shoes
        ("shoes", OTHERS[2]),
        ("2025", OTHERS[3]),
    ],
)
def test_a_part_of_a_name_is_enough(many, text, run):
    assert find_run(many, text) == run


@pytest.mark.parametrize("recipe", ["दीवाली", "春节 灯笼", "Größe & Zahl", "mug 🎃"])
def test_a_recipe_of_any_script_has_runs_of_its_name(local, recipe):
    run = f"2026-01-02-{run_slug(recipe)}-0123abcd"
    write_run(local, run)
    assert find_run(local, recipe) == run


@pytest.mark.parametrize("change", [{"only": ["hero"]}, {"ending": "failed"}])
def test_of_a_recipes_runs_the_latest_whole_one_is_meant(many, change):
    assert find_run(many, "autumn") == OTHERS[1]
    name = f"runs/{OTHERS[1]}/manifest.json"
    many.replace(name, json.dumps(json.loads(many.get(name).data) | change).encode())
    assert find_run(many, "autumn") in (RUN, OTHERS[0])
    assert find_run(many, OTHERS[1]) == OTHERS[1]


def test_the_latest_of_a_day_is_the_one_written_last(many):
    for run in (RUN, OTHERS[0]):
        name = f"runs/{run}/manifest.json"
        many.replace(name, many.get(name).data)
        os.utime(many.root / name, (4e9 if run == RUN else 3e9,) * 2)
    assert find_run(many, "2026-01") == RUN
    many.remove(f"runs/{RUN}/manifest.json")  # running, or killed
    assert find_run(many, "2026-01") == OTHERS[0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("2026-02", "'2026-02' fits 2 runs: 2026-02-03-autumn-shoes-cdefabcd, 2026-02-03-autumn-"),
        ("wintr", "no run is called 'wintr'; did you mean 'winter'?"),
        ("zzz", "no run is called 'zzz'; there are 2026-02-03"),
    ],
)
def test_a_name_that_fits_none_or_several_is_told(many, text, told):
    with pytest.raises(RunNotFound) as caught:
        find_run(many, text)
    assert told in str(caught.value)


def test_an_empty_store_is_told(local):
    with pytest.raises(RunNotFound, match="there is no run here"):
        find_run(local, "autumn")
    with pytest.raises(RunNotFound, match="there is no run here"):
        runs_beginning(local, "2026")


@pytest.mark.parametrize(
    ("text", "home", "rest"),
    [
        ("autumn", None, "autumn"),
        ("autumn/beach/", None, "autumn/beach"),
        ("s3://bucket/a/b/runs/x", "s3://bucket/a/b", "x"),
        ("s3://bucket/runs/x/beach", "s3://bucket", "x/beach"),
        ("out/runs/x/", "out", "x"),
        ("runs/x", ".", "x"),
        ("/data/out/runs/x/runs/y", "/data/out", "x/runs/y"),
        (f"s3://bucket/runs/studio/runs/{RUN}", "s3://bucket/runs/studio", RUN),
        (f"s3://bucket/a/runs/{RUN}/runs/x.png", "s3://bucket/a", f"{RUN}/runs/x.png"),
        (f"s3://bucket/a/runs/runs/{RUN}/x", "s3://bucket/a/runs", f"{RUN}/x"),
        (f"runs/studio/runs/{RUN}", "runs/studio", RUN),
        ("s3://runs/runs/x", "s3://runs", "x"),
        (f"s3://runs/a/runs/{RUN}", "s3://runs/a", RUN),
    ],
)
def test_an_address_names_store_and_run(text, home, rest):
    assert split_address(text) == (home, rest)


def test_an_address_of_no_run_is_told():
    with pytest.raises(RunNotFound, match="expected s3://bucket/prefix/runs/<run>"):
        split_address("s3://bucket/prefix")


# The command.


def kontext(capsys, *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, arguments)))
    out, err = capsys.readouterr()
    return ended.value.code or 0, out, err


def test_the_command_by_name_by_address_and_for_a_day(home, target, capsys):
    write_run(home, RUN, outputs=PICTURES)
    write_run(home, OTHERS[0], outputs={"x.png": b"x"})
    write_run(home, OTHERS[3])
    code, out, err = kontext(capsys, "pull", "0123abcd", target, "--store", home.where)
    size = sum(map(len, contents(target).values()))
    assert (code, err) == (0, "")
    told = f"{RUN}: {FILES} files, {FILES} pulled, 0 there already ({size / 1000:.1f} kB)"
    assert out == f"{told}\nin {target}\n"
    address = f"{home.where}/runs/{RUN}"
    code, out, _ = kontext(capsys, "pull", address, target)
    assert (code, out) == (
        0,
        f"{RUN}: {FILES} files, 0 pulled, {FILES} there already\nin {target}\n",
    )
    code, out, _ = kontext(capsys, "pull", f"{address}/city", target / "city only")
    assert out.startswith(f"{RUN}: 3 files, 3 pulled")
    code, out, _ = kontext(
        capsys, "pull", "2026-01", target / "all", "--all", "--store", home.where
    )
    assert code == 0
    assert {path.name for path in (target / "all").iterdir()} == {RUN, OTHERS[0]}
    assert contents(target / "all" / RUN) == stored(home)


def test_the_commands_exit_codes(local, target, capsys):
    where = ("--store", local.where)
    write_run(local, RUN, outputs=PICTURES)
    assert kontext(capsys, "pull", "nothing", target, *where)[0] == 2
    assert kontext(capsys, "pull", "s3://bucket", target)[0] == 2
    local.replace(f"runs/{RUN}/city/hat.png", b"damaged")
    code, out, err = kontext(capsys, "pull", "autumn", target, *where)
    assert code == 1
    assert "city/hat.png: is damaged" in err
    assert f"{FILES} files, {FILES - 2} pulled, 0 there already, 2 problems" in out
    local.remove(f"runs/{RUN}/manifest.json")
    code, _, err = kontext(capsys, "pull", RUN, target, *where)
    assert (code, "has not ended" in err) == (1, True)


@pytest.mark.parametrize("verb", ["pull", "report"])
@pytest.mark.parametrize(
    "address",
    [
        "s3://AKIAIOSFODNN7EXAMPLE:hush@bucket/shots",
        "s3://AKIAIOSFODNN7EXAMPLE:a/hush@bucket/shots",
        f"s3://AKIAIOSFODNN7EXAMPLE:hush@bucket/shots/runs/{RUN}",
        f"s3://AKIAIOSFODNN7EXAMPLE:hush/runs/a@bucket/shots/runs/{RUN}",
        "s3://AKIAIOSFODNN7EXAMPLE:hush/runs/hush@bucket/shots",
        "s3://AKIAIOSFODNN7EXAMPLE:hush/shots",
    ],
)
def test_credentials_in_an_address_are_not_repeated(target, capsys, verb, address):
    arguments = (address, target) if verb == "pull" else (address,)
    code, out, err = kontext(capsys, verb, *arguments)
    assert code == (2 if verb == "pull" else 1)
    assert "hush" not in out + err
    assert "AKIA" not in out + err
    assert "credentials" in err


def test_ctrl_c_ends_the_command_quickly(local, target, capsys, monkeypatch):
    write_run(local, RUN, outputs=PICTURES)
    get, sent, heard = LocalObjects.get, [], threading.Event()

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait=True, *, cancel_futures=False):
            super().shutdown(False, cancel_futures=cancel_futures)
            heard.set()
            super().shutdown(wait)

    def interrupting(self, name):
        if name.endswith(".png") and not sent:
            sent.append(name)
            # A signal between the main thread's last look and its wait is heard after the wait,
            # which ends with a file: this one. So it is sent again.
            for _ in range(10):
                os.kill(os.getpid(), signal.SIGINT)
                if heard.wait(3):
                    break
            assert heard.is_set()
        return get(self, name)

    monkeypatch.setattr("flows.pull.pull.ThreadPoolExecutor", Pool)
    # A shell's background job is born deaf to SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(LocalObjects, "get", interrupting)
    began = threading.active_count()
    try:
        code, _, err = kontext(capsys, "pull", RUN, target, "--store", local.where, "--jobs", 1)
    finally:
        signal.signal(signal.SIGINT, before)
    assert code == 130
    assert err.startswith("stopped; what is there stays")
    end = time.monotonic() + 30
    while threading.active_count() > began:
        assert time.monotonic() < end, "a thread goes on pulling"
        time.sleep(0.005)
    assert "manifest.json" not in contents(target)
    assert len(contents(target)) < 3, "the others were let go"
