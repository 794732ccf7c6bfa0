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
LONG = ("chaos", "scheduling", "acceptance")
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of folders that take long come first."""

    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(HERE).parts[0]
        return LONG.index(folder) if folder in LONG else len(LONG)

    items.sort(key=place)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before a test: what it needs of Debian's."""
    debian.check(item)
