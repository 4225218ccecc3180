import pytest
import torch


@pytest.fixture
def threads():
    """Sets the number of threads until the test is over."""
    yield torch.set_num_threads
    torch.set_num_threads(1)
