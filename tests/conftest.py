"""What every test may ask for, and the order of the files."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from . import debian
from .forked import Zygote
from .servers.descriptions import share_descriptions
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

__all__ = [
    "become",
    "careless",
    "careless_place",
    "faults",
    "faulty_place",
    "own_seaweed",
    "proxy",
    "s3_environment",
    "s3_place",
    "seaweed",
]

# Hundreds of processes are started that would compile the same modules again and again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
share_descriptions()

# Files of tests/scheduling that share servers (its conftest.py) are run by one process: starting a
# city takes a minute of a processor, a server a quarter.
TOGETHER = (
    ("order", "told", "attempts", "dashboard", "people", "struck"),
    ("deploy", "deploy_verb", "notices", "prefect_cli", "server"),
)
# Files of these folders wait for minutes for servers, chunks and people. Begun last they would be
# all that goes on, one on each process.
LONG = ("chaos", "scheduling", "acceptance")
STRUCK = "test_struck.py"
# Tests here wait for servers longer than others may take at all.
PATIENT = (*LONG, "up", "worker")
HERE = Path(__file__).parent


class ByServers(LoadFileScheduling):
    """Files are dealt out whole, and together where they share servers."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        folder, _, name = file.rpartition("/test_")
        if folder.endswith("scheduling"):
            return next((names[0] for names in TOGETHER if name[:-3] in names), file)
        return file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByServers:
    return ByServers(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of folders that take long come first; what kills servers last among those that share
    them: Prefect's server no longer hears at once of new automations when its database was away.
    """

    def place(item: pytest.Item) -> tuple[int, bool]:
        folder = item.path.relative_to(HERE).parts[0]
        return LONG.index(folder) if folder in LONG else len(LONG), item.path.name == STRUCK

    items.sort(key=place)
    for item in items:
        if item.path.relative_to(HERE).parts[0] in PATIENT and not item.get_closest_marker(
            "timeout"
        ):
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def zygote(tmp_path_factory) -> Iterator[Zygote]:
    """Forks processes of ``kontext``: each has nothing to import, which takes longest of all."""
    made = Zygote(tmp_path_factory.mktemp("zygote"))
    yield made
    made.close()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before a test: what it needs of Debian's."""
    debian.check(item)
