"""For packages whose tests compute with small tensors."""

import pytest
import torch


@pytest.fixture(scope="package", autouse=True)
def one_thread():
    """Tensors this small are slower on several threads, and far slower on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
