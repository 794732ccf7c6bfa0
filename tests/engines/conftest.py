"""A pool of one engine of the tests, and threads to ask it from."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from flows.engines.pool import EnginePool

from .samples import SCRIPTED


@pytest.fixture
def pool(threads):  # closed before they are waited for
    with EnginePool(1, SCRIPTED) as pool:
        yield pool


@pytest.fixture
def threads():
    with ThreadPoolExecutor(8) as threads:
        yield threads
