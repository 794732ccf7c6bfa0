"""Random-weight models, built once for all engine tests."""

import pytest

from kontext_engine.engine import KontextEngine
from tests.engine.tiny import FULL, PLAIN, save_tiny_model
from tests.threads import one_thread  # noqa: F401


@pytest.fixture(scope="session")
def full_spec(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("models") / "full", FULL)


@pytest.fixture(scope="session")
def plain_spec(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("models") / "plain", PLAIN)


@pytest.fixture(scope="session")
def full_engine(full_spec):
    return KontextEngine.load(full_spec)


@pytest.fixture(scope="session")
def plain_engine(plain_spec):
    return KontextEngine.load(plain_spec)
