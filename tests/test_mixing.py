"""MixUp and CutMix: the target is mixed as the input is, and smoothing may come before or after."""

import math

import pytest
import torch
from torch.nn import functional

import softtargets as st

N, K, H, W = 6, 4, 7, 9


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def labels_and_images(dtype=torch.float64):
    """Images that are their own one-hot labels, everywhere."""
    labels = torch.randint(K, (N,))
    images = functional.one_hot(labels, K).to(dtype)[:, :, None, None].expand(N, K, H, W)
    return images, labels, st.Target.from_labels(labels, K, dtype=torch.float64)


def shares(alpha, count=100_000):
    """Many draws of lam, in float64."""
    inputs = torch.zeros(count, 1, dtype=torch.float64)
    target = st.Target.from_labels(torch.zeros(count).long(), 2)
    return st.mixup(inputs, target, alpha=alpha, per="sample", generator=generator()).lam


class TestMixup:
    @pytest.mark.parametrize("per", ["batch", "sample"])
    def test_inputs_and_targets_are_mixed_alike(self, per):
        images, _, target = labels_and_images()
        mixed = st.mixup(images, target, alpha=1.0, per=per, generator=generator())
        torch.testing.assert_close(mixed.inputs[:, :, 2, 3], mixed.target.dense())
        lam = mixed.lam[:, None, None, None]
        expected = lam * images + (1 - lam) * images[mixed.partners]
        torch.testing.assert_close(mixed.inputs, expected)
        assert len(mixed.lam.unique()) == (1 if per == "batch" else N)
        assert sorted(mixed.partners.tolist()) == list(range(N))

    def test_label_maps_are_mixed_pixel_by_pixel(self):
        images, labels, _ = labels_and_images()
        maps = st.Target.from_labels(labels[:, None, None].expand(N, H, W), K)
        mixed = st.mixup(images, maps, alpha=1.0, per="sample", generator=generator())
        torch.testing.assert_close(
            mixed.inputs.movedim(1, -1), mixed.target.dense().double(), rtol=0, atol=1e-6
        )

    @pytest.mark.parametrize("alpha", [1e-300, 1e-8, 1e-3, 0.01, 0.2, 0.5, 1.0, 5.0, 1e6])
    def test_the_shares_are_beta_distributed(self, alpha):
        lam = shares(alpha)
        count = len(lam)
        assert bool(((lam >= 0) & (lam <= 1)).all())
        variance = 1 / (4 * (2 * alpha + 1))
        assert lam.mean().item() == pytest.approx(0.5, abs=4 * (variance / count) ** 0.5)
        # E[(lam - 1/2)^4] of a symmetric beta distribution.
        fourth = 3 * variance**2 * (2 * alpha + 1) / (2 * alpha + 3)
        error = 4 * ((fourth - variance**2) / count) ** 0.5
        assert lam.var().item() == pytest.approx(variance, abs=error + 2e-5 * variance)
        # Small alphas give almost all of one and none of the other.
        between = alpha / (2 * (2 * alpha + 1))
        assert (lam * (1 - lam)).mean().item() == pytest.approx(between, abs=error + 1e-15)

    def test_the_shares_have_the_arcsine_law_at_a_half(self):
        lam = shares(0.5).sort().values
        expected = 2 / math.pi * lam.sqrt().asin()
        ranks = (torch.arange(len(lam)) + 0.5) / len(lam)
        assert (ranks - expected).abs().max().item() < 1.63 / len(lam) ** 0.5

    def test_an_empty_batch(self):
        target = st.Target.from_labels(torch.zeros(0).long(), K)
        mixed = st.mixup(torch.zeros(0, 3), target, generator=generator())
        assert mixed.inputs.shape == (0, 3)
        assert mixed.target.batch_shape == (0,)


class TestCutmix:
    @pytest.mark.parametrize("per", ["batch", "sample"])
    def test_the_target_has_the_share_of_the_area(self, per):
        images, _, target = labels_and_images()
        for seed in range(20):
            mixed = st.cutmix(images, target, per=per, generator=generator(seed))
            torch.testing.assert_close(mixed.inputs.mean((2, 3)), mixed.target.dense())

    def test_label_maps_are_pasted(self):
        images = torch.randn(N, 3, H, W)
        maps = torch.randint(K, (N, H, W))
        maps[0, :3] = -100
        mixed = st.cutmix(
            images, st.Target.from_labels(maps, K), per="sample", generator=generator(3)
        )
        own = (mixed.inputs == images).all(1)
        assert 0 < own.double().mean() < 1
        torch.testing.assert_close(mixed.lam.double(), own.double().mean((1, 2)), atol=1e-6, rtol=0)
        pasted = torch.where(own, maps, maps[mixed.partners])
        expected = st.Target.from_labels(pasted, K)
        assert torch.equal(mixed.target.dense(), expected.dense())
        assert torch.equal(mixed.target.ignored(), pasted == -100)
        logits = torch.randn(N, K, H, W)
        torch.testing.assert_close(
            st.cross_entropy(logits, mixed.target, smoothing=0.1),
            st.cross_entropy(logits, pasted, smoothing=0.1),
        )

    def test_shapes_are_checked(self):
        _, _, target = labels_and_images()
        with pytest.raises(ValueError, match=r"`inputs` must have shape \(N, \.\.\., H, W\)"):
            st.cutmix(torch.randn(N, 3), target, generator=generator())
        maps = st.Target.from_labels(torch.zeros(N, W, H, dtype=torch.long), K)
        with pytest.raises(ValueError, match=r"batch shape \(N,\) or \(N, H, W\)"):
            st.cutmix(torch.randn(N, 3, H, W), maps, generator=generator())


@pytest.mark.parametrize("mix", [st.mixup, st.cutmix])
class TestBoth:
    def test_smoothing_before_or_after_is_the_same(self, mix):
        images, _, target = labels_and_images()
        prior = torch.softmax(torch.randn(K, dtype=torch.float64), -1)
        for keywords in ({"rate": 0.1}, {"rate": 0.3, "prior": prior}):
            after = mix(images, target, generator=generator()).target.smooth(**keywords)
            before = mix(images, target.smooth(**keywords), generator=generator()).target
            torch.testing.assert_close(before.dense(), after.dense(), rtol=0, atol=1e-12)
            logits = torch.randn(N, K, dtype=torch.float64)
            torch.testing.assert_close(
                st.cross_entropy(logits, before), st.cross_entropy(logits, after)
            )

    def test_the_generator_decides(self, mix):
        images, _, target = labels_and_images()
        first = mix(images, target, per="sample", generator=generator(5))
        torch.rand(3)
        again = mix(images, target, per="sample", generator=generator(5))
        assert torch.equal(first.inputs, again.inputs)
        assert torch.equal(first.target.dense(), again.target.dense())

    def test_inputs_are_left_alone_and_keep_their_dtype(self, mix):
        images, _, target = labels_and_images()
        for dtype in (torch.float16, torch.float32):
            given = images.to(dtype).clone()
            kept = given.clone()
            mixed = mix(given, target.to(torch.float32), generator=generator())
            assert mixed.inputs.dtype == dtype
            assert mixed.target.dtype == mixed.lam.dtype == torch.float32
            assert torch.equal(given, kept)

    def test_rows_of_other_libraries(self, mix):
        images, labels, _ = labels_and_images()
        rows = functional.one_hot(labels, K).double() * 0.9 + 0.1 / K
        mixed = mix(images, st.Target.from_probs(rows, smoothed=True), generator=generator())
        with pytest.raises(ValueError, match="smoothed already"):
            st.CrossEntropyLoss(0.1)(torch.randn(N, K), mixed.target)

    def test_a_partner_without_a_label_brings_no_mass(self, mix):
        images, labels, _ = labels_and_images()
        labels[0] = -100
        mixed = mix(images, st.Target.from_labels(labels, K), generator=generator())
        kept = torch.where(labels == -100, 0, 1.0)
        lam = mixed.lam.float()
        torch.testing.assert_close(
            mixed.target.mass(), lam * kept + (1 - lam) * kept[mixed.partners]
        )

    def test_errors(self, mix):
        images, labels, target = labels_and_images()
        with pytest.raises(TypeError, match="`target` must be a `Target`, got Tensor; make one"):
            mix(images, labels, generator=generator())
        with pytest.raises(TypeError, match=r"`generator` must be a torch\.Generator, got int"):
            mix(images, target, generator=0)
        with pytest.raises(ValueError, match="`alpha` must be finite and > 0, got 0"):
            mix(images, target, alpha=0.0, generator=generator())
        with pytest.raises(ValueError, match='`per` must be "batch" or "sample"'):
            mix(images, target, per="image", generator=generator())
        with pytest.raises(ValueError, match="`target` must have one entry per sample"):
            mix(images[:3], target, generator=generator())
        with pytest.raises(TypeError, match="`inputs` must be a floating point tensor"):
            mix(images.byte(), target, generator=generator())
