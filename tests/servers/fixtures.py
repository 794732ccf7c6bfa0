"""Fixtures of the servers, for every test (``tests/conftest.py`` takes them in).

``seaweed`` is one real S3 server for the whole session, with the bucket ``BUCKET``; ask for
``s3_place`` to get a prefix of your own in it and this process's environment set for it. Tests
that kill the server start one of their own: ``own_seaweed``.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from flows.settings import S3Settings
from flows.store.boto import forget_clients
from flows.store.s3 import S3Objects

from .careless import Careless
from .faults import Faults
from .seaweed import BUCKET, FOREIGN, REGION, Identity, Seaweed, environment


@dataclass(frozen=True)
class Place:
    """A prefix on a server that nobody else uses."""

    endpoint: str
    bucket: str
    prefix: str

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"

    @property
    def environment(self) -> dict[str, str]:
        """For another process."""
        return environment(self.endpoint)

    def settings(self, **changes) -> S3Settings:
        values = {"endpoint_url": self.endpoint, "region": REGION, "addressing": "path"}
        return S3Settings(**(values | changes))

    def objects(self, **changes) -> S3Objects:
        return S3Objects(self.bucket, self.prefix, self.settings(**changes))


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory) -> Iterator[Seaweed]:
    with Seaweed(tmp_path_factory.mktemp("seaweed")) as server:
        server.make_bucket(BUCKET)
        yield server


@pytest.fixture
def own_seaweed(tmp_path) -> Iterator[Seaweed]:
    """A server of the test's own, to be killed; it has the bucket ``BUCKET``."""
    with Seaweed(tmp_path / "seaweed") as server:
        server.make_bucket(BUCKET)
        yield server


@pytest.fixture
def s3_environment(monkeypatch, seaweed) -> dict[str, str]:
    """This process's environment set for ``seaweed`` as ``ADMIN``, and nothing foreign in it."""
    return set_environment(monkeypatch, seaweed.endpoint)


def set_environment(monkeypatch, endpoint: str) -> dict[str, str]:
    for name in FOREIGN:
        monkeypatch.delenv(name, raising=False)
    values = environment(endpoint)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


@pytest.fixture
def become(monkeypatch) -> Iterator[Callable[..., None]]:
    """Call it with an identity, or variables: this process's clients are that one's until the end.

    A client keeps the credentials of the environment that it was made in.
    """

    def change(identity: Identity | None = None, **variables: str | None) -> None:
        for name, value in ((identity.environment if identity else {}) | variables).items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)
        forget_clients()

    yield change
    forget_clients()


@pytest.fixture
def s3_place(seaweed, s3_environment, request) -> Place:
    return Place(seaweed.endpoint, BUCKET, fresh_prefix(request.node.name))


@pytest.fixture
def careless(monkeypatch) -> Iterator[Careless]:
    """A server that ignores conditions; this process's environment is set for it."""
    with Careless() as server:
        set_environment(monkeypatch, server.endpoint)
        yield server


@pytest.fixture
def careless_place(careless) -> Place:
    """Ask for ``.objects(unconditional="degrade")``: without it ``prepare`` refuses the server."""
    return Place(careless.endpoint, careless.bucket, "home")


@pytest.fixture(scope="session")
def proxy(seaweed) -> Iterator[Faults]:
    with Faults(seaweed.ports["s3"]) as made:
        yield made


@pytest.fixture
def faults(proxy) -> Iterator[Faults]:
    """A proxy before ``seaweed`` that does harm on command; healed afterwards."""
    proxy.requests.clear()
    yield proxy
    proxy.heal()


@pytest.fixture
def faulty_place(s3_place, faults) -> Place:
    """The same prefix as ``s3_place``, by way of ``faults``."""
    return replace(s3_place, endpoint=faults.endpoint)


def fresh_prefix(name: str) -> str:
    return f"{re.sub(r'[^a-z0-9]+', '-', name.lower())[:40].strip('-')}-{uuid.uuid4().hex[:8]}"
