"""Every contract test runs against every kind of store."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flows.store.base import Store

from .samples import STORES


@pytest.fixture(params=sorted(STORES))
def kind(request) -> str:
    return request.param


@pytest.fixture
def open_store(kind, tmp_path) -> Callable[[], Store]:
    """A factory: each call opens the same place anew, as another process would."""
    return lambda: STORES[kind](tmp_path / "store")


@pytest.fixture
def store(open_store) -> Store:
    return open_store()
