"""Mollification: what it does to inputs and to targets, against the formulas in float64."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy import ndimage, stats

import softtargets as st

N, K, H, W = 9, 4, 7, 10
KINDS = ("clean", "noise", "blur")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(count=N, height=H, width=W):
    images = torch.randn(count, 2, height, width, dtype=torch.float64, generator=generator(7))
    labels = torch.arange(count) % K
    return images, labels, st.Target.from_labels(labels, K, dtype=torch.float64)


def mollified(images, target, seed=0, **keywords):
    return st.mollify(images, target, generator=generator(seed), **keywords)


def dense_heat(image, width):
    """Reflect, transform the periodic picture by Fourier, damp each frequency, cut out."""
    rows, columns = image.shape[-2:]
    tiled = np.concatenate([image, image[..., ::-1, :]], -2)
    tiled = np.concatenate([tiled, tiled[..., ::-1]], -1)
    down = 2 * np.pi * np.fft.fftfreq(2 * rows)
    across = 2 * np.pi * np.fft.fftfreq(2 * columns)
    damping = np.exp(-(width**2) / 2 * (down[:, None] ** 2 + across**2))
    return np.fft.ifft2(np.fft.fft2(tiled) * damping).real[..., :rows, :columns]


class TestInputs:
    def test_noise_keeps_the_sum_of_squared_shares(self):
        images, _, target = batch(20_000, 1, 1)
        made = mollified(images, target, kinds=("noise",))
        assert made.inputs.var().item() == pytest.approx(1, abs=0.03)
        assert bool((made.kind == 0).all())
        # What is left of the input, by regression within narrow ranges of t.
        for low in (0.05, 0.3, 0.6):
            chosen = (made.time > low) & (made.time < low + 0.05)
            x, y = images[chosen].flatten(), made.inputs[chosen].flatten()
            share = float((x * y).sum() / (x * x).sum())
            spread = 4 / math.sqrt(len(x))
            assert share == pytest.approx(math.cos(math.pi / 2 * (low + 0.025)), abs=spread)

    def test_noise_is_that_of_the_formula(self):
        images, _, target = batch()
        zeros = mollified(torch.zeros_like(images), target, kinds=("clean", "noise"))
        made = mollified(images, target, kinds=("clean", "noise"))
        angle = math.pi / 2 * made.time.numpy()[:, None, None, None]
        expected = np.cos(angle) * images.numpy() + zeros.inputs.numpy()
        np.testing.assert_allclose(made.inputs.numpy(), expected, atol=1e-12)
        noise = (zeros.inputs.numpy() / np.maximum(np.sin(angle), 1e-300))[made.kind.numpy() == 1]
        assert stats.kstest(noise.flatten(), "norm").pvalue > 1e-3

    def test_blur_is_the_heat_equation_with_reflecting_borders(self):
        images, _, target = batch()
        made = mollified(images, target, kinds=("blur",))
        for image, blurred, time in zip(images, made.inputs, made.time.tolist(), strict=True):
            width = 0.3 ** (1 - time) * W**time
            np.testing.assert_allclose(
                blurred.numpy(), dense_heat(image.numpy(), width), atol=1e-12
            )

    def test_blur_is_scipys_gaussian_where_that_is_sampled_finely_enough(self):
        images, _, target = batch(40, 16, 12)
        made = mollified(images, target, kinds=("blur",))
        compared = 0
        for image, blurred, time in zip(images, made.inputs, made.time.tolist(), strict=True):
            width = 0.3 ** (1 - time) * 16**time
            if width > 2:
                theirs = ndimage.gaussian_filter(
                    image.numpy(), (0, width, width), mode="reflect", truncate=12
                )
                np.testing.assert_allclose(blurred.numpy(), theirs, atol=1e-6)
                compared += 1
        assert compared > 5

    def test_blur_keeps_the_mean_and_never_adds_energy(self):
        images, _, target = batch()
        made = mollified(images, target, kinds=("blur",))
        torch.testing.assert_close(made.inputs.mean((2, 3)), images.mean((2, 3)))
        assert bool((made.inputs.var((2, 3)) < images.var((2, 3))).all())

    def test_clean_samples_are_left_alone_and_the_others_are_not(self):
        images, _, target = batch(60)
        kept = images.clone()
        made = mollified(images, target)
        assert torch.equal(images, kept)
        same = (made.inputs == images).flatten(1).all(1)
        assert torch.equal(same, made.kind == 0)
        assert torch.equal(made.time == 0, same)
        assert set(made.kind.tolist()) == {0, 1, 2}

    @pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 4, 5)])
    def test_inputs_of_any_shape(self, shape):
        inputs = torch.randn(N, *shape)
        target = st.Target.from_labels(torch.zeros(N).long(), K)
        kinds = KINDS if len(shape) > 1 else KINDS[:2]
        assert mollified(inputs, target, kinds=kinds).inputs.shape == inputs.shape

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
    def test_dtypes_are_kept(self, dtype):
        images, _, target = batch()
        made = mollified(images.to(dtype), target.to(torch.float32))
        assert made.inputs.dtype == dtype
        assert made.target.dtype == made.rate.dtype == made.time.dtype == torch.float32
        wide = mollified(images.to(dtype).float(), target.to(torch.float32))
        torch.testing.assert_close(made.inputs, wide.inputs.to(dtype))

    def test_gradients_reach_the_inputs(self):
        images, _, target = batch(4, 3, 5)
        images.requires_grad_()
        assert torch.autograd.gradcheck(lambda x: mollified(x, target, seed=3).inputs, (images,))

    def test_an_empty_batch(self):
        made = mollified(torch.zeros(0, 3, 4), st.Target.from_labels(torch.zeros(0).long(), K))
        assert made.inputs.shape == (0, 3, 4)
        assert made.target.batch_shape == (0,)


class TestTimes:
    @pytest.mark.parametrize("beta", [0.5, 1.0, 2.0, 9.0])
    def test_they_are_beta_distributed(self, beta):
        _, _, target = batch(50_000)
        made = mollified(torch.zeros(50_000, 1).double(), target, kinds=("noise",), beta=beta)
        times = made.time.numpy()
        assert stats.kstest(times, stats.beta(1, beta).cdf).pvalue > 1e-3
        variance = beta / ((1 + beta) ** 2 * (2 + beta))
        assert times.mean() == pytest.approx(1 / (1 + beta), abs=4 * math.sqrt(variance / 5e4))

    def test_kinds_are_even_and_a_repeated_one_is_twice_as_likely(self):
        _, _, target = batch(40_000)
        made = mollified(torch.zeros(40_000, 1, 1), target, kinds=("noise", "clean", "noise"))
        shares = made.kind.bincount(minlength=3) / 40_000
        assert torch.allclose(shares, torch.full((3,), 1 / 3), atol=0.01)
        assert torch.equal(made.time == 0, made.kind == 1)

    def test_the_generator_decides(self):
        images, _, target = batch()
        first = mollified(images, target, seed=5)
        torch.rand(3)
        again, other = mollified(images, target, seed=5), mollified(images, target, seed=6)
        assert torch.equal(first.inputs, again.inputs)
        assert torch.equal(first.target.dense(), again.target.dense())
        assert not torch.equal(first.time, other.time)


class TestTargets:
    @pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
    def test_rates_follow_the_times(self, power):
        images, labels, target = batch(30)
        made = mollified(images, target, power=power)
        time = made.time.numpy()
        rates = np.choose(
            made.kind.numpy(), [0 * time, np.sin(np.pi / 2 * time) ** (2 * power), time**power]
        )
        np.testing.assert_allclose(made.rate.numpy(), rates, atol=1e-12)
        rows = (1 - rates[:, None]) * np.eye(K)[labels] + rates[:, None] / K
        np.testing.assert_allclose(made.target.dense().numpy(), rows, atol=1e-12)

    def test_the_loss_is_that_of_the_rows(self):
        images, _, target = batch()
        made = mollified(images, target)
        logits = torch.randn(N, K, dtype=torch.float64)
        weight = torch.rand(K, dtype=torch.float64) + 0.5
        rows = st.Target.from_probs(made.target.dense())
        for smoothing in (None, 0.1):
            torch.testing.assert_close(
                st.cross_entropy(logits, made.target, smoothing=smoothing, weight=weight),
                st.cross_entropy(logits, rows, smoothing=smoothing, weight=weight),
            )

    @settings(max_examples=20, deadline=None)
    @given(rate=some.floats(0, 1), seed=some.integers(0, 99))
    def test_smoothing_before_or_after_is_the_same(self, rate, seed):
        images, _, target = batch()
        after = mollified(images, target, seed).target.smooth(rate)
        before = mollified(images, target.smooth(rate), seed).target
        torch.testing.assert_close(before.dense(), after.dense(), rtol=0, atol=1e-12)
        logits = torch.randn(N, K, dtype=torch.float64, generator=generator())
        weight = torch.arange(1.0, K + 1, dtype=torch.float64)
        torch.testing.assert_close(
            st.cross_entropy(logits, before, weight=weight),
            st.cross_entropy(logits, after, weight=weight),
        )
        with pytest.raises(ValueError, match="smoothed already"):
            before.smooth(rate)

    def test_with_mixup_in_both_orders(self):
        """Targets are linear in each other; the inputs of course differ."""
        images, _, target = batch()
        mixed = st.mixup(images, target, per="sample", generator=generator(1))
        made = mollified(mixed.inputs, mixed.target)
        rate = made.rate.unsqueeze(-1)
        expected = (1 - rate) * mixed.target.dense() + rate / K
        torch.testing.assert_close(made.target.dense(), expected)
        first = mollified(images, target)
        later = st.mixup(first.inputs, first.target, per="sample", generator=generator(1))
        lam = later.lam.unsqueeze(-1)
        rows = first.target.dense()
        torch.testing.assert_close(
            later.target.dense(), lam * rows + (1 - lam) * rows[later.partners]
        )
        loss = st.CrossEntropyLoss(0.1)(torch.randn(N, K).double(), later.target)
        assert loss.isfinite()

    def test_policies_that_take_soft_targets_take_these(self):
        images, _, target = batch()
        made = mollified(images, target).target
        logits = torch.randn(N, K, dtype=torch.float64, generator=generator())
        rows = st.Target.from_probs(made.dense())
        for policy in (st.MaxSup(0.2), st.Bootstrapping(0.8), st.LabelSmoothing(0.1, torch.eye(K))):
            torch.testing.assert_close(policy(made, logits).dense(), policy(rows, logits).dense())
        with pytest.raises(TypeError, match="for OnlineLabelSmoothing"):
            st.OnlineLabelSmoothing(K)(made, logits)

    def test_ignored_labels_stay_ignored(self):
        images, labels, _ = batch()
        labels[::3] = -100
        made = mollified(images, st.Target.from_labels(labels, K))
        assert torch.equal(made.target.ignored(), labels == -100)
        assert torch.equal(made.target.mass() == 0, labels == -100)

    def test_label_maps_have_the_rate_of_their_image(self):
        images, _, _ = batch()
        maps = torch.randint(K, (N, H, W), generator=generator())
        made = mollified(images, st.Target.from_labels(maps, K, dtype=torch.float64))
        rate = made.rate[:, None, None, None]
        expected = (1 - rate) * torch.eye(K, dtype=torch.float64)[maps] + rate / K
        torch.testing.assert_close(made.target.dense(), expected)


def test_errors():
    images, labels, target = batch()
    with pytest.raises(TypeError, match="`target` must be a `Target`, got Tensor; make one"):
        mollified(images, labels)
    with pytest.raises(TypeError, match=r"`generator` must be a torch\.Generator, got int"):
        st.mollify(images, target, generator=0)
    with pytest.raises(TypeError, match="`inputs` must be a floating point tensor"):
        mollified(images.byte(), target)
    with pytest.raises(ValueError, match="`target` must have one entry per sample"):
        mollified(images[:3], target)
    with pytest.raises(TypeError, match=r"`kinds` must be a sequence of kinds, got 'noise'; write"):
        mollified(images, target, kinds="noise")
    for kinds in (("clean",), (), ("noise", "smear")):
        with pytest.raises(ValueError, match='`kinds` must be of "clean", "noise" and "blur"'):
            mollified(images, target, kinds=kinds)
    with pytest.raises(
        ValueError, match=r"with pixels, to be blurred, got \(9, 5\); for other inputs use"
    ):
        mollified(torch.zeros(N, 5), target)
    for name in ("beta", "power"):
        with pytest.raises(ValueError, match=f"`{name}` must be finite and > 0, got 0"):
            mollified(images, target, **{name: 0})
