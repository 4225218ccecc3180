"""Corrupted pictures: what each kind does, that it is the same every time, and worse each time."""

import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from softtargets.lab.data import CORRUPTIONS, SEVERITIES, corrupt, corrupted, load
from softtargets.lab.data.dataset import DataSet, Scale, Split
from softtargets.lab.errors import LabError

PICTURES = torch.rand(40, 3, 20, 24, generator=torch.Generator().manual_seed(0))
NUMBERS = torch.arange(40)


@pytest.mark.parametrize("name", CORRUPTIONS)
class TestEveryKind:
    def test_it_is_worse_with_each_severity(self, name):
        distances = [
            float((corrupt(name, PICTURES, severity, NUMBERS) - PICTURES).square().mean())
            for severity in SEVERITIES
        ]
        assert distances == sorted(distances)
        assert len(set(distances)) == 5
        assert 0 < distances[0] < 0.1

    def test_it_depends_on_the_picture_alone(self, name):
        whole = corrupt(name, PICTURES, 3, NUMBERS)
        some = torch.tensor([7, 31, 2])
        torch.testing.assert_close(corrupt(name, PICTURES[some], 3, some), whole[some])
        assert 0 <= whole.min() <= whole.max() <= 1

    def test_digits_are_standardised_as_they_were(self, name):
        data = load("digits")
        made = corrupted(data, name, 2, 50)
        assert made.shape == (50, 8, 8)
        raw = (data.test.take(slice(50)) * data.deviation + data.mean).float() / 16
        expected = corrupt(name, raw.clamp(0, 1).unsqueeze(1), 2, torch.arange(50))[:, 0]
        found = (made * data.deviation + data.mean).float() / 16
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_noise_is_normal():
    grey = torch.full((60, 3, 20, 20), 0.5)
    noise = (corrupt("noise", grey, 2, torch.arange(60)) - 0.5).flatten().numpy() / 0.1
    assert stats.kstest(noise, "norm").pvalue > 1e-3


def test_specks_are_black_or_white_in_all_channels():
    made = corrupt("specks", PICTURES, 4, NUMBERS)
    changed = made != PICTURES
    assert bool((changed == changed[:, :1]).all())
    assert set(made[changed].tolist()) == {0.0, 1.0}
    assert changed.float().mean().item() == pytest.approx(0.15, abs=0.01)
    assert made[changed].mean().item() == pytest.approx(0.5, abs=0.03)


def test_blur_is_scipys():
    width = 0.06 * 20
    theirs = ndimage.gaussian_filter(
        PICTURES.double().numpy(), (0, 0, width, width), mode="nearest", radius=(0, 0, 5, 5)
    )
    np.testing.assert_allclose(corrupt("blur", PICTURES, 4, NUMBERS).numpy(), theirs, atol=1e-6)


def test_pixels_are_means_of_cells():
    made = corrupt("pixelate", PICTURES, 3, NUMBERS)
    cells = PICTURES.unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2))
    expected = cells.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(made, expected)


def test_stored_bytes_are_scaled_by_channel():
    generator = torch.Generator().manual_seed(1)
    bytes_ = torch.randint(256, (30, 3, 6, 6), generator=generator, dtype=torch.uint8)
    bytes_[0, 0, 0, :2] = torch.tensor([0, 255], dtype=torch.uint8)
    mean = torch.tensor([100.0, 120, 140], dtype=torch.float64).reshape(3, 1, 1)
    scale = Scale(mean=mean, deviation=mean / 2)
    split = Split(inputs=bytes_, labels=torch.zeros(30).long(), scale=scale)
    data = DataSet(
        name="", digest="", num_classes=2, train=split, validation=split, test=split,
        mean=scale.mean, deviation=scale.deviation, positions=torch.arange(30), total=30,
    )  # fmt: skip
    found = corrupted(data, "contrast", 3) * scale.deviation + scale.mean
    raw = bytes_.double()
    middle = raw.mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(found, middle + 0.4 * (raw - middle), atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_channels_may_come_last(name, tmp_path):
    pictures = PICTURES[:24, :, :10, :12].numpy()
    labels = np.arange(24) % 2
    found = []
    for path, given in (("first", pictures), ("last", pictures.transpose(0, 2, 3, 1))):
        arrays = {"x_train": given, "y_train": labels, "x_test": given, "y_test": labels}
        np.savez(tmp_path / f"{path}.npz", **arrays)
        found.append(corrupted(load(str(tmp_path / f"{path}.npz")), name, 4))
    torch.testing.assert_close(found[1].movedim(-1, 1), found[0], atol=1e-5, rtol=0)


def test_errors():
    with pytest.raises(LabError, match="unknown corruption 'fog': choose from noise"):
        corrupt("fog", PICTURES, 1, NUMBERS)
    with pytest.raises(LabError, match="severities 1 to 5, got 6"):
        corrupt("noise", PICTURES, 6, NUMBERS)
    with pytest.raises(LabError, match=r"only pictures, .* got samples of shape \(2,\)"):
        corrupted(load("two-gaussians?seed=0"), "noise", 1)
