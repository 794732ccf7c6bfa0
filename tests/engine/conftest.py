"""Random-weight models, built once for all engine tests."""

import pytest
import torch

from kontext_engine.engine import KontextEngine
from tests.engine.tiny import FULL, PLAIN, save_tiny_model


@pytest.fixture(scope="package", autouse=True)
def one_thread():
    """Tensors this small are slower on several threads, and far slower on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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
