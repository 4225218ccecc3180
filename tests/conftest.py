import os
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

# Triton and TorchInductor read it when Triton is imported; on a device tests/gpu runs the kernels.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

settings.register_profile(
    "moderate", deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("moderate")


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared_data():
    """A folder of real data sets, named by the variable SOFTTARGETS_DATA."""
    folder = os.environ.get("SOFTTARGETS_DATA")
    if not folder:
        pytest.skip("needs real data: name its folder in SOFTTARGETS_DATA, see CONTRIBUTING.md")
    return Path(folder)
