"""Noise on labels that lie on a device: the flips, estimates and losses of the CPU."""

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


@pytest.mark.parametrize("method", ["anchor", "confident", "dual"])
def test_from_an_estimate_to_a_corrected_loss(method):
    labels = torch.arange(4).repeat(50)
    noisy = st.noise.symmetric(labels, 0.2, 4, generator=torch.Generator().manual_seed(0)).labels
    noise = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    logits, results = 4.0 * torch.eye(4)[labels] + noise, []
    for device in ("cpu", "cuda"):
        generator = torch.Generator().manual_seed(0)
        z, y = logits.to(device).requires_grad_(), noisy.to(device)
        known = st.noise.bootstrap_transition(
            z.softmax(-1), y, method, draws=40, generator=generator
        )
        assert all(part.device.type == device for part in known)
        transition = 0.5 * known.transition + 0.5 * torch.eye(4).to(known.transition)
        found = [*known]
        for correction in (
            st.ForwardCorrection(transition),
            st.BackwardCorrection(transition, allow_negative=True),
        ):
            loss = st.CrossEntropyLoss(0.1, correction=correction)(z, y)
            found += [loss, *torch.autograd.grad(loss, z)]
        results.append([each.detach().cpu() for each in found])
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", [st.noise.SymmetricTransition, st.noise.PairTransition])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_structured_noise_of_many_classes(kind, dtype):
    logits, labels = torch.randn(64, 1000).to(dtype), torch.arange(64)
    labels[3] = -100
    correction = st.ForwardCorrection(kind(0.3, 1000))
    results = []
    for device in ("cpu", "cuda"):
        z = logits.to(device).requires_grad_()
        loss = st.cross_entropy(z, labels.to(device), smoothing=0.1, correction=correction)
        results.append([loss.detach().cpu(), torch.autograd.grad(loss, z)[0].cpu()])
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-2, atol=1e-5)
