"""Scores against plain loops, scikit-learn and real predictions."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import brier_score_loss, log_loss

from softtargets import calibration
from tests.calibration.metrics import EVERY


def test_equal_plain_loops(make_predictions):
    logits, labels = make_predictions(200, 7)
    loss = brier = right = 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        total = math.fsum(math.exp(z) for z in row)
        probs = [math.exp(z) / total for z in row]
        loss -= math.log(probs[label])
        brier += math.fsum((p - (k == label)) ** 2 for k, p in enumerate(probs))
        right += row.index(max(row)) == label
    value = calibration.negative_log_likelihood(logits, labels)
    assert float(value) == pytest.approx(loss / 200, rel=1e-12)
    value = calibration.brier_score(logits.softmax(-1), labels)
    assert float(value) == pytest.approx(brier / 200, rel=1e-12)
    assert float(calibration.accuracy(logits, labels)) == right / 200
    assert float(calibration.accuracy(logits.softmax(-1), labels)) == right / 200


def test_agree_with_scikit_learn(make_predictions):
    logits, labels = make_predictions(300, 5)
    probs = logits.softmax(-1)
    loss = calibration.negative_log_likelihood(logits, labels)
    brier = calibration.brier_score(probs, labels)
    classes = list(range(5))
    expected = log_loss(labels.numpy(), probs.numpy(), labels=classes)
    assert float(loss) == pytest.approx(expected, rel=1e-12)
    expected = brier_score_loss(labels.numpy(), probs.numpy(), labels=classes, scale_by_half=False)
    assert float(brier) == pytest.approx(expected, rel=1e-12)


def test_log_probabilities_are_logits(make_predictions):
    logits, labels = make_predictions(50)
    torch.testing.assert_close(
        calibration.negative_log_likelihood(logits.softmax(-1).log(), labels),
        calibration.negative_log_likelihood(logits, labels),
    )


def test_extremes():
    sure, right, wrong = torch.eye(3), torch.arange(3), torch.tensor([1, 2, 0])
    assert calibration.brier_score(sure, right) == 0
    assert calibration.brier_score(sure, wrong) == 2
    assert calibration.negative_log_likelihood(sure.log(), right) == 0
    assert calibration.negative_log_likelihood(sure.log(), wrong) == math.inf
    huge = torch.tensor([[60000.0, -60000.0]], dtype=torch.float16)
    assert calibration.negative_log_likelihood(huge, torch.tensor([1])) == 120000
    assert calibration.brier_score(torch.ones(1, 1), torch.tensor([0])) == 0


def test_values_carry_no_gradient(make_predictions):
    logits, labels = make_predictions(20)
    logits.requires_grad_()
    probs = logits.softmax(-1)
    for metric in EVERY.values():
        assert not torch.as_tensor(metric(probs, labels)).requires_grad
    assert not calibration.logit_norm_score(logits).requires_grad
    assert not calibration.binary_brier_score(probs[:, 0], labels == 0).requires_grad
    with pytest.raises(ValueError, match="sum to 1"):
        calibration.brier_score(2 * probs, labels)


def test_inputs_stay_as_they_are(make_predictions):
    logits, labels = make_predictions(20)
    probs = logits.softmax(-1)
    before = probs.clone(), labels.clone()
    for metric in EVERY.values():
        metric(probs, labels)
    assert torch.equal(probs, before[0])
    assert torch.equal(labels, before[1])


@pytest.mark.parametrize("dtype", [torch.int8, torch.int32, torch.uint8])
def test_labels_of_any_integer_dtype(make_predictions, dtype):
    logits, labels = make_predictions(20)
    narrow = labels.to(dtype)
    probs = logits.softmax(-1)
    for metric in EVERY.values():
        values = metric(probs, narrow), metric(probs, labels)
        assert torch.equal(*map(torch.as_tensor, values))


@pytest.mark.parametrize(
    ("model", "labels_name", "expected"),
    [
        ("c10_lenet5", "y_c10", (0.531, 1.370, 0.108)),
        ("c10_wrn16_4", "y_c10", (0.911, 0.378, 0.054)),
        ("c100_densenet_bc100", "y_c100", (0.754, 1.226, 0.142)),
        ("c100_wrn16_4", "y_c100", (0.754, 0.956, 0.058)),
    ],
)
def test_published_figures_of_real_networks(shared_data, model, labels_name, expected):
    with np.load(shared_data / "calibration" / "netcal_cifar_probs.npz") as arrays:
        probs = torch.from_numpy(arrays[f"{model}_probs"])
        labels = torch.from_numpy(arrays[labels_name].astype("int64"))
    values = (
        calibration.accuracy(probs, labels),
        calibration.negative_log_likelihood(probs.log(), labels),
        calibration.expected_calibration_error(probs, labels),
    )
    assert [round(float(value), 3) for value in values] == list(expected)
