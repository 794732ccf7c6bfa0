"""Every contract test runs against every kind of home.

``local`` is a folder, ``s3`` a real server, ``careless`` a server that ignores the conditions of
writes, used under ``s3.unconditional: degrade``. All three are opened by their address alone, in
this process and in others, as ``kontext --store`` opens them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from flows.store import s3
from flows.store.address import open_store as open_at
from flows.store.keyed import KeyedStore

KINDS = ("local", "s3", "careless")


@dataclass(frozen=True)
class Home:
    """A place for a store that nobody else uses."""

    kind: str
    where: str


@pytest.fixture(params=KINDS)
def home(request, tmp_path, monkeypatch) -> Home:
    where = str(tmp_path / "store")
    if request.param == "s3":
        where = request.getfixturevalue("s3_place").url
    elif request.param == "careless":
        where = request.getfixturevalue("careless_place").url
        monkeypatch.setenv("KONTEXT_S3__UNCONDITIONAL", "degrade")
        monkeypatch.setattr(s3, "SETTLE", 0.0)  # here nobody writes at the same time
    return Home(request.param, where)


# Where two writers may be told that they made the same name, these cannot hold.
only_with_conditions = pytest.mark.parametrize("home", ("local", "s3"), indirect=True)


@pytest.fixture
def open_store(home) -> Callable[[], KeyedStore]:
    """A factory: each call opens the same place anew, as another process would."""
    return lambda: open_at(home.where)


@pytest.fixture
def store(open_store) -> KeyedStore:
    return open_store()
