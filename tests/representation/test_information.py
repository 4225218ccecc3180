import math

import numpy as np
import pytest
import torch

from softtargets.representation import logit_mutual_information


def with_differences(differences):
    """Logits `(L, N, 3)` whose classes 2 and 0 differ by that."""
    common = torch.randn(*differences.shape, 1, dtype=torch.float64)
    return common + torch.stack(
        [torch.zeros_like(differences), torch.ones_like(differences), differences], -1
    )


def drawn(centres, spread, draws=12, seed=0):
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(draws, len(centres), generator=generator, dtype=torch.float64)
    return torch.as_tensor(centres).double() + spread * noise


def one_by_one(differences):
    f = differences.numpy()
    draws, samples = f.shape
    means = np.array([np.delete(f, i, 0).mean(0) for i in range(draws)])
    variance = np.mean((f - means) ** 2)
    total = 0.0
    for i in range(draws):
        for x in range(samples):
            kernels = np.exp(-((f[i, x] - means[i]) ** 2) / (2 * variance))
            total += math.log(kernels[x] / kernels.mean())
    return total / f.size


def test_is_the_formula():
    differences = drawn(np.linspace(-2, 2, 9), 1.0)
    found = logit_mutual_information(with_differences(differences), (2, 0))
    assert found == pytest.approx(one_by_one(differences), rel=1e-12)


def test_two_groups_say_log_two_and_single_samples_log_n():
    groups = logit_mutual_information(with_differences(drawn([0.0, 50.0] * 100, 1.0, 40)), (2, 0))
    assert groups == pytest.approx(math.log(2), abs=0.02)
    single = logit_mutual_information(with_differences(drawn(range(20), 1e-3)), (2, 0))
    assert single == pytest.approx(math.log(20), abs=1e-9)


def test_equal_samples_say_nothing():
    found = logit_mutual_information(with_differences(drawn([1.0] * 200, 1.0, 100)), (2, 0))
    assert abs(found) < 0.02


def test_draws_can_come_one_by_one():
    logits = with_differences(drawn(range(9), 1.0))
    whole = logit_mutual_information(logits, (2, 0))
    assert logit_mutual_information((draw for draw in logits), torch.tensor([2, 0])) == whole


def test_what_changes_nothing():
    differences = drawn(range(9), 1.0)
    found = logit_mutual_information(with_differences(differences), (2, 0))
    order = torch.randperm(9, generator=torch.Generator().manual_seed(3))
    changed = with_differences(5 - 3 * differences[:, order].flip(0))
    assert logit_mutual_information(changed, (0, 2)) == pytest.approx(found, rel=1e-10)


def test_many_samples_are_compared_in_blocks(monkeypatch):
    logits = with_differences(drawn(range(9), 1.0))
    whole = logit_mutual_information(logits, (2, 0))
    monkeypatch.setattr("softtargets.representation.information._BLOCK_ELEMENTS", 20)
    assert logit_mutual_information(logits, (2, 0)) == pytest.approx(whole, rel=1e-13)


def test_half_precision_is_computed_in_double():
    logits = with_differences(drawn(range(9), 1.0)).half()
    expected = logit_mutual_information(logits.double(), (2, 0))
    assert logit_mutual_information(logits, (2, 0)) == expected


GOOD = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("logits", "classes", "error", "message"),
    [
        (GOOD[:1], (0, 1), ValueError, "two draws and two samples, got 1 and 4"),
        (GOOD[:, :1], (0, 1), ValueError, "got 3 and 1"),
        ([], (0, 1), ValueError, "got 0 and 0"),
        (GOOD[0], (0, 1), ValueError, r"shape \(L, N, K\), got \(4, 2\)"),
        (GOOD, (0, 2), ValueError, r"K above 2, got \(4, 2\)"),
        (GOOD, (1, 1), ValueError, "two different classes, got 1 twice"),
        (GOOD, (0, 1, 2), ValueError, "two classes, got 3"),
        (GOOD, (0, 0.5), TypeError, "`classes`"),
        ([GOOD[0], GOOD[0, :3]], (0, 1), ValueError, "the same samples .* got 3 after 4"),
        (GOOD[:1].expand(3, -1, -1), (0, 1), ValueError, "differ from draw to draw"),
        (GOOD * torch.inf, (0, 1), ValueError, "`logits` must be finite"),
        (GOOD.long(), (0, 1), TypeError, "`logits` must be a floating point tensor"),
    ],
)
def test_errors(logits, classes, error, message):
    with pytest.raises(error, match=message):
        logit_mutual_information(logits, classes)
