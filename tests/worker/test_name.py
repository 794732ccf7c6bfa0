"""What a worker is called, and what happens where names cannot be kept."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from flows.scheduling.workers.name import NameTakenError, NoNameError, claim_name


def test_the_first_worker_of_a_machine_has_its_name_and_the_second_another(tmp_path):
    host = socket.gethostname()
    first = claim_name(folder=tmp_path)
    assert first.holder.startswith(f"{host} (")
    with first.lock, claim_name(folder=tmp_path).lock as second:
        assert second.name == str(tmp_path / f"{host}-2.lock")
    again = claim_name(folder=tmp_path)  # its next life has the same
    again.lock.close()
    assert (first.text, again.text) == (host, host)


def test_a_name_that_is_taken_is_refused(tmp_path):
    kept = claim_name("gpu/box", folder=tmp_path)
    assert kept.text == "gpu-box"  # Prefect takes no slash
    with kept.lock, pytest.raises(NameTakenError, match="a worker 'gpu/box' runs on this machine"):
        claim_name("gpu/box", folder=tmp_path)


def full(*given, **more):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def no_locks(*given):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


@pytest.mark.parametrize(
    ("owner", "what", "fails", "told"),
    [
        (Path, "mkdir", full, "No space left on device"),
        (Path, "open", full, "No space left on device"),
        (fcntl, "flock", no_locks, "No locks available"),
    ],
)
def test_where_names_cannot_be_kept_it_is_said(tmp_path, monkeypatch, owner, what, fails, told):
    monkeypatch.setattr(owner, what, fails)
    for wanted in (None, "gpu"):
        with pytest.raises(NoNameError, match="set TMPDIR to another") as caught:
            claim_name(wanted, folder=tmp_path)
        assert str(caught.value).startswith(f"{tmp_path} cannot keep the names")
        assert f"({told})" in str(caught.value)


def test_no_temporary_folder_at_all_is_said(monkeypatch):
    def none() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    with pytest.raises(NoNameError, match=r"TMPDIR cannot keep .*\(No usable temporary directory"):
        claim_name()


def test_a_folder_that_cannot_be_written_is_one_line_of_the_verb(tmp_path):
    """TMPDIR is a folder in which the workers' own is another's file."""
    (tmp_path / f"kontext-workers-{os.getuid()}").write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "worker"],
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "(File exists)" in line
