"""Noise on labels that lie on a device: the flips of the CPU."""

import pytest
import torch

import softtargets as st

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


@pytest.mark.parametrize("exact", [False, True])
def test_the_device_changes_nothing(exact):
    labels, features = torch.arange(4).repeat(50), torch.randn(200, 6)
    transition = torch.full((4, 4), 0.1).fill_diagonal_(0.7)
    for inject in (
        lambda labels, **options: st.noise.symmetric(labels, 0.3, 4, **options),
        lambda labels, **options: st.noise.asymmetric(labels, 0.3, {0: 1}, **options),
        lambda labels, **options: st.noise.class_matrix(
            labels, transition.to(labels.device), **options
        ),
        lambda labels, **options: st.noise.instance_dependent(
            features.to(labels.device), labels, 0.3, 4, **options
        ),
    ):
        expected = inject(labels, generator=torch.Generator().manual_seed(0), exact=exact)
        noisy = inject(labels.cuda(), generator=torch.Generator().manual_seed(0), exact=exact)
        assert all(part.is_cuda for part in noisy)
        assert all(torch.equal(a.cpu(), b) for a, b in zip(noisy, expected, strict=True))
