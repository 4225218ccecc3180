"""Differences of two models on the same samples."""

import pytest
import torch

from softtargets.audit.against import compare
from softtargets.audit.errors import AuditError
from softtargets.audit.intervals import area_values, calibration_error_difference
from softtargets.audit.run import read
from softtargets.audit.tally import tally
from softtargets.calibration import BinStatistics, selective
from tests.audit.conftest import draw
from tests.audit.test_run import of


def two_models(rows, seed=0):
    logits, labels = map(torch.from_numpy, draw(rows, seed=seed))
    generator = torch.Generator().manual_seed(seed)
    return logits, logits + 2 * torch.randn(logits.shape, generator=generator), labels


def test_intervals_are_those_of_a_paired_bootstrap():
    one, other, labels = two_models(1200)
    first, second = (tally([(each, labels)], "logits") for each in (one, other))
    generator = torch.Generator().manual_seed(1)
    areas, errors = [], []
    for _ in range(400):
        rows = torch.randint(len(labels), (len(labels),), generator=generator)
        pairs = [(each.confidence[rows], each.right[rows]) for each in (first, second)]
        areas.append([selective.area(scores, ~right) for scores, right in pairs])
        errors.append([BinStatistics.from_scores(*pair).calibration_error() for pair in pairs])
    areas, errors = torch.tensor(areas), torch.tensor(errors)
    for each, drawn in zip((first, second), areas.T, strict=True):
        values = area_values(each)
        assert float(values.mean()) == pytest.approx(float(drawn.mean()), abs=0.002)
        assert float(values.std()) / 1200**0.5 == pytest.approx(float(drawn.std()), rel=0.15)
    paired = area_values(second) - area_values(first)
    expected = float((areas[:, 1] - areas[:, 0]).std())
    assert float(paired.std()) / 1200**0.5 == pytest.approx(expected, rel=0.15)
    difference = calibration_error_difference(first, second, seed=0)
    half = 1.96 * float((errors[:, 1] - errors[:, 0]).std())
    # It may span the intervals of several truths, and is then the wider one.
    assert 0.85 * half < (difference.high - difference.low) / 2 < 1.6 * half
    assert difference.low < difference.value < difference.high


def test_equal_models_do_not_differ():
    logits, _, labels = two_models(500)
    found = compare(read(of(logits, labels)), read(of(logits.double(), labels)))
    for differences in (found.differences, found.scaled):
        for name in differences.__slots__:
            difference = getattr(differences, name)
            assert abs(difference.value) < 1e-6
            assert difference.low <= 1e-6
            assert difference.high >= -1e-6


def test_the_difference_is_told_from_chance_about_as_often_as_it_should_be():
    false_alarms = 0
    for seed in range(60):
        one, _, labels = two_models(800, seed)
        # Two models that are too sure of half of the samples, each of the other half.
        keep = torch.rand(800, generator=torch.Generator().manual_seed(seed)) < 0.5
        first = torch.where(keep.unsqueeze(-1), one, 2 * one)
        second = torch.where(keep.unsqueeze(-1), 2 * one, one)
        tallies = [tally([(each, labels)], "logits") for each in (first, second)]
        difference = calibration_error_difference(*tallies, seed=seed)
        false_alarms += not difference.low <= 0 <= difference.high
    assert false_alarms <= 8  # 5 % of 60 is 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda z, y: (z[:, :4], y.clamp_max(3)), "has 4 classes, x.npz: logits has 5"),
        (lambda z, y: (z[:99], y[:99]), "has 99 rows, x.npz: logits has 100; a comparison needs"),
        (lambda z, y: (z, y.roll(1)), r"has the label \d in row \d, x.npz: logits has \d; a comp"),
    ],
)
def test_other_samples_are_refused(change, message):
    logits, _, labels = two_models(100)
    with pytest.raises(AuditError, match=message):
        compare(read(of(logits, labels)), read(of(*change(logits, labels))))
