"""What every test may ask for, and the order of the files."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import debian
from .servers.fixtures import (
    become,
    careless,
    careless_place,
    faults,
    faulty_place,
    own_seaweed,
    proxy,
    s3_environment,
    s3_place,
    seaweed,
)
from .servers.postgres import own_postgres, postgres
from .servers.prefect import own_prefect, prefect_on_postgres, prefect_server

__all__ = [
    "become",
    "careless",
    "careless_place",
    "faults",
    "faulty_place",
    "own_postgres",
    "own_prefect",
    "own_seaweed",
    "postgres",
    "prefect_on_postgres",
    "prefect_server",
    "proxy",
    "s3_environment",
    "s3_place",
    "seaweed",
]

# Files of these folders wait for minutes for servers, chunks and people. Begun last they would be
# all that goes on, one on each process.
LONG = ("scheduling", "chaos", "acceptance")
# What each process of pytest would make again for the tests that it has of a folder: servers,
# whose start takes 15 to 60 s of a processor, and models. One process has all of them.
SHARED = ("scheduling", "training", "evaluation", "engine")
HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # xdist's own writes the groups that it finds into the names
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Folders that take long come first; who shares what is dear is run by one process."""

    def place(item: pytest.Item) -> tuple[int, bool]:
        folder = item.path.relative_to(HERE).parts[0]
        long = LONG.index(folder) if folder in LONG else len(LONG)
        return long, "quick" not in getattr(item, "fixturenames", ())

    items.sort(key=place)
    for item in items:
        name = item.path.relative_to(HERE)
        group = name.parts[0] if name.parts[0] in SHARED else str(name)
        if "quick" in getattr(item, "fixturenames", ()):
            # Two cities: one would wait, most of the time, as long as all else takes.
            group = "night" if name.stem == "test_order" else "day"
        item.add_marker(pytest.mark.xdist_group(group))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before a test: what it needs of Debian's."""
    debian.check(item)
