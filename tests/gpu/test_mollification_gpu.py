"""Mollification of a batch on a device: the draws of the CPU, the same inputs and targets."""

import pytest
import torch

import softtargets as st

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_device_changes_nothing(dtype):
    images, labels = torch.randn(30, 3, 8, 12).to(dtype), torch.arange(30) % 4
    labels[5] = -100
    expected, found = (
        st.mollify(
            images.to(device),
            st.Target.from_labels(labels.to(device), 4),
            generator=torch.Generator().manual_seed(0),
        )
        for device in ("cpu", "cuda")
    )
    assert found.inputs.is_cuda
    assert found.inputs.dtype == dtype
    torch.testing.assert_close(found.inputs.cpu(), expected.inputs)
    torch.testing.assert_close(found.target.dense().cpu(), expected.target.dense())
    assert torch.equal(found.kind.cpu(), expected.kind)


def test_a_generator_of_the_device():
    images, target = torch.randn(30, 3, 8, 8).cuda(), st.Target.from_labels(torch.arange(30), 30)
    made = [
        st.mollify(images, target.to("cuda"), generator=torch.Generator("cuda").manual_seed(seed))
        for seed in (0, 0, 1)
    ]
    assert torch.equal(made[0].inputs, made[1].inputs)
    assert not torch.equal(made[0].inputs, made[2].inputs)
