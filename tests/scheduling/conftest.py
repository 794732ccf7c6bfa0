from __future__ import annotations

import pytest

from tests.chaos.city import City

from .quick import EDIT, TEMPO


@pytest.fixture(scope="session")
def quick(tmp_path_factory):
    """Servers, a parents' worker and one chunks' worker, for all tests of what people do."""
    with City(tmp_path_factory.mktemp("quick"), tempo=TEMPO) as city:
        city.deploy()
        city.start_parents()
        city.start_worker("worker-1", engine="swift", seconds=EDIT)
        yield city
