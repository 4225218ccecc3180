"""Ours against the stored values of other packages: to 1e-6, or the difference is accounted for.

Where a package means something else, what it means is computed from our parts and compared.
"""

import itertools
import json

import numpy as np
import pytest
import torch

from softtargets import calibration as c
from softtargets.calibration.selective import area
from tests.calibration import agreement

STORED = json.loads(agreement.STORED.read_text())


def prepared(probs, labels):
    """What the functions below read: tensors of all classes and of the top label."""
    scores, outcomes = map(torch.from_numpy, agreement.top_label(probs, labels))
    return torch.from_numpy(probs), torch.from_numpy(labels), scores, outcomes


@pytest.fixture(params=agreement.SYNTHETIC)
def synthetic_case(request):
    return STORED["values"][request.param], prepared(*agreement.synthetic(request.param))


@pytest.fixture(params=agreement.NETWORKS)
def network_case(request, shared_data):
    data = prepared(*agreement.network(shared_data, request.param))
    return STORED["values"][request.param], data


def binned_at(edges, scores, outcomes):
    edges = torch.as_tensor(np.asarray(edges), dtype=torch.float64)
    return c.BinStatistics.from_scores(scores, outcomes, edges=edges)


def width_edges():
    return np.arange(agreement.BINS + 1) / agreement.BINS


def just_below(edges):
    """The same edges for bins closed on the left, with 0 and 1 as they were."""
    return np.concatenate([edges[:1], np.nextafter(edges[1:-1], 0), edges[-1:]])


def check_torchmetrics(theirs, probs, labels, scores, outcomes):
    """A confidence of 1 has a bin of its own there, and sums are kept in float32."""
    edges = np.concatenate([just_below(width_edges())[:-1], [np.nextafter(1, 0), 1]])
    phantom = binned_at(edges, scores, outcomes)
    for name, norm in (("ECE", "l1"), ("RMSCE", "l2"), ("MCE", "max")):
        assert float(phantom.calibration_error(norm=norm)) == pytest.approx(theirs[name], abs=1e-5)
        if not bool((scores == 1).any()):
            ours = c.expected_calibration_error(probs, labels, norm=norm)
            assert float(ours) == pytest.approx(theirs[name], abs=1e-6)
    ours = c.binary_calibration_error(probs[:, 0], labels == 0, of="event")
    assert float(ours) == pytest.approx(theirs["binary ECE"], abs=1e-6)


def check_netcal(theirs, probs, labels, scores, outcomes):
    """Its bins of equal mass have interpolated quantiles as edges, and fail where two are equal."""
    ours = {
        "ECE": c.expected_calibration_error(probs, labels),
        "MCE": c.expected_calibration_error(probs, labels, norm="max"),
        "binary ECE": c.binary_calibration_error(probs[:, 0], labels == 0, of="event"),
    }
    for name, value in ours.items():
        assert float(value) == pytest.approx(theirs[name], abs=1e-6), name
    inner = np.quantile(scores.numpy(), width_edges())[1:-1]
    edges = just_below(np.concatenate([[0], inner, [1]]))
    if theirs["ECE, equal mass"] is None:
        assert inner[-1] == 1
    else:
        value = binned_at(edges, scores, outcomes).calibration_error()
        assert float(value) == pytest.approx(theirs["ECE, equal mass"], abs=1e-6)


def check_uncertainty_calibration(theirs, probs, labels, scores, outcomes):
    """Debiased, it counts bins of one sample as 0 and floors each class before the mean.

    Its bins of equal mass have the larger ones first and edges midway between samples.
    """
    ours = {
        "ECE": c.expected_calibration_error(probs, labels),
        "RMSCE": c.expected_calibration_error(probs, labels, norm="l2"),
        "class-wise ECE": c.classwise_calibration_error(probs, labels),
        "class-wise RMSCE": c.classwise_calibration_error(probs, labels, norm="l2"),
        "binary ECE": c.binary_calibration_error(probs[:, 0], labels == 0, of="event"),
    }
    for name, value in ours.items():
        assert float(value) == pytest.approx(theirs[name], abs=1e-6), name

    def square(statistics):
        counts = statistics.counts
        seen = c.BinStatistics(
            edges=statistics.edges,
            counts=counts.where(counts > 1, 0),
            confidence_sums=statistics.confidence_sums.where(counts > 1, 0),
            outcome_sums=statistics.outcome_sums.where(counts > 1, 0),
        )
        error = seen.calibration_error(norm="l2", debiased=True)
        return error.sign() * error.square() * seen.counts.sum(-1) / counts.sum(-1)

    top = square(c.BinStatistics.top_label(probs, labels)).clamp_min(0).sqrt()
    assert float(top) == pytest.approx(theirs["RMSCE, debiased"], abs=1e-6)
    each = square(c.BinStatistics.class_wise(probs, labels)).clamp_min(0).mean().sqrt()
    assert float(each) == pytest.approx(theirs["class-wise RMSCE, debiased"], abs=1e-6)
    parts = np.array_split(np.sort(scores.numpy()), agreement.BINS)
    middles = [(a[-1] + b[0]) / 2 for a, b in itertools.pairwise(parts)]
    value = binned_at([0, *middles, 1], scores, outcomes).calibration_error()
    assert float(value) == pytest.approx(theirs["ECE, equal mass"], abs=1e-6)


def check_relplot(theirs, probs, labels, scores, outcomes):
    """It stops at bandwidths in steps of 1/1024, on a grid of about 1000 cells.

    Its last cell is at fault: of all samples at 1 - 0.9 h and 1 - 0.1 h it does not keep the sum
    of the residuals. So confidences there are left out of the comparison.
    """
    ours = c.expected_calibration_error(probs, labels)
    assert float(ours) == pytest.approx(theirs["ECE"], abs=1e-6)
    inner = scores < 0.998
    ours = c.smooth_calibration_error(probs[inner], labels[inner])
    assert float(ours) == pytest.approx(theirs["smECE below 0.998"], abs=2e-4)
    everywhere = c.smooth_calibration_error(probs, labels)
    fault = 2e-4 if bool((scores < 0.999).all()) else 0.04
    assert float(everywhere) == pytest.approx(theirs["smECE"], abs=fault)


def check_scikit_learn(theirs, probs, labels, scores, outcomes):
    """It moves probabilities of exactly 0 and 1 by a float64 epsilon before taking logarithms."""
    ours = {
        "Brier score": c.brier_score(probs, labels),
        "binary Brier score": c.binary_brier_score(probs[:, 0], labels == 0),
    }
    tiny = torch.finfo(torch.float64).eps
    moved = probs.clamp(tiny, 1 - tiny)
    ours["NLL"] = c.negative_log_likelihood(moved.log(), labels)
    ours["binary NLL"] = c.binary_negative_log_likelihood(moved[:, 0].logit(), labels == 0)
    for name, value in ours.items():
        assert float(value) == pytest.approx(theirs[name], abs=1e-6), name
    curve = c.reliability_curve(probs, labels)
    assert curve.accuracy.tolist() == pytest.approx(theirs["accuracy of bins"], abs=1e-6)
    assert curve.confidence.tolist() == pytest.approx(theirs["confidence of bins"], abs=1e-6)


def check_torch_uncertainty(theirs, probs, labels, scores, outcomes):
    """It takes the trapezoid rule over coverages 1/N .. 1, and equal scores in their order."""
    size, errors = len(scores), 1 - outcomes

    def trapezoid(order):
        first = errors[order.argmax()]
        return float((size * area(order, errors) - (first + errors.mean()) / 2) / (size - 1))

    ranks = scores.unique(return_inverse=True)[1]
    best, worst = trapezoid(2 * ranks + outcomes), trapezoid(2 * ranks + errors)
    assert best - 1e-6 <= theirs["AURC"] <= worst + 1e-6
    if len(ranks.unique()) == size:
        assert best == worst
    risk = c.risk_at_coverage(probs, labels, coverage=0.8)
    assert float(risk) == pytest.approx(theirs["risk at 0.8"], abs=1e-6)


CHECKS = {
    "torchmetrics": check_torchmetrics,
    "netcal": check_netcal,
    "uncertainty-calibration": check_uncertainty_calibration,
    "relplot": check_relplot,
    "scikit-learn": check_scikit_learn,
    "torch-uncertainty": check_torch_uncertainty,
}


@pytest.mark.parametrize("peer", CHECKS)
def test_on_synthetic_predictions(peer, synthetic_case):
    theirs, data = synthetic_case
    CHECKS[peer](theirs[peer], *data)


@pytest.mark.parametrize("peer", CHECKS)
def test_on_real_predictions(peer, network_case):
    theirs, data = network_case
    CHECKS[peer](theirs[peer], *data)


def test_every_value_is_compared():
    assert set(CHECKS) == set(agreement.PEERS)
    for values in STORED["values"].values():
        assert set(values) == set(CHECKS)
    assert {*agreement.SYNTHETIC, *agreement.NETWORKS} == set(STORED["values"])
    assert {*CHECKS, "torch", "numpy"} == set(STORED["versions"])
