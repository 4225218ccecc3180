"""The values of `StreamingCalibration` as torchmetrics metrics, alone and in collections."""

import pickle

import pytest
import torch

torchmetrics = pytest.importorskip("torchmetrics", reason="torchmetrics is not installed")

from softtargets.calibration import StreamingCalibration, sums  # noqa: E402
from softtargets.integrations import torchmetrics as ours  # noqa: E402

K = 5
METRICS = {
    "expected_calibration_error": (ours.ExpectedCalibrationError, {}),
    "expected_calibration_error_debiased": (ours.ExpectedCalibrationError, {"debiased": True}),
    "classwise_calibration_error": (ours.ClasswiseCalibrationError, {}),
    "classwise_calibration_error_debiased": (ours.ClasswiseCalibrationError, {"debiased": True}),
    "negative_log_likelihood": (ours.NegativeLogLikelihood, {}),
    "brier_score": (ours.BrierScore, {}),
    "area_under_risk_coverage": (ours.AreaUnderRiskCoverage, {}),
    "excess_area_under_risk_coverage": (ours.AreaUnderRiskCoverage, {"excess": True}),
}


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(90, K, generator=generator)
    labels = torch.multinomial(logits.softmax(-1), 1, generator=generator).squeeze(1)
    return list(zip(logits.split(30), labels.split(30), strict=True))


def expected(batches):
    stream = StreamingCalibration(K, class_wise=True)
    for logits, labels in batches:
        stream.update(labels, logits=logits)
    return stream.compute()


@pytest.mark.parametrize("name", list(METRICS))
def test_metric(batches, name):
    kind, arguments = METRICS[name]
    metric = kind(K, of="logits", **arguments)
    assert metric.compute_with_cache
    for logits, labels in batches:
        value = metric(logits, labels)
        alone = expected([(logits, labels)])
        assert float(value) == pytest.approx(getattr(alone, name), rel=1e-9, abs=1e-12)
    whole = getattr(expected(batches), name)
    assert float(metric.compute()) == pytest.approx(whole, rel=1e-9, abs=1e-12)
    assert float(pickle.loads(pickle.dumps(metric)).compute()) == float(metric.compute())

    first, second = metric.clone(), metric.clone()
    for part, chosen in ((first, batches[:1]), (second, batches[1:])):
        part.reset()
        for logits, labels in chosen:
            part.update(logits, labels)
    second.merge_state(first)
    assert float(second.compute()) == pytest.approx(whole, rel=1e-9, abs=1e-12)

    probs = kind(K, of="probs", **arguments).half()  # states keep their dtype
    for logits, labels in batches:
        probs.update(logits.double().softmax(-1), labels)
    assert float(probs.compute()) == pytest.approx(whole, rel=1e-5)


def test_a_collection_passes_over_a_batch_once(batches, monkeypatch):
    passes = []

    def counted(*arguments):
        passes.append(arguments)
        return sums.sums_of(*arguments)

    monkeypatch.setattr(ours, "sums_of", counted)
    names = [name for name in METRICS if not name.startswith("classwise")]
    collection = torchmetrics.MetricCollection(
        {name: METRICS[name][0](K, of="logits", **METRICS[name][1]) for name in names}
        | {"accuracy": torchmetrics.classification.MulticlassAccuracy(K, average="micro")}
    )
    for logits, labels in batches:
        collection.update(logits, labels)
    # The first batch shows torchmetrics which metrics hold the same sums.
    assert len(passes) == len(names) + len(batches) - 1
    values, whole = collection.compute(), expected(batches)
    for name in [*names, "accuracy"]:
        assert float(values[name]) == pytest.approx(getattr(whole, name), rel=1e-6, abs=1e-12)


def test_agrees_with_theirs(batches):
    """On probabilities, with 15 bins of float32."""
    theirs = torchmetrics.classification.MulticlassCalibrationError(K, n_bins=15)
    metric = ours.ExpectedCalibrationError(K, of="probs")
    for logits, labels in batches:
        for each in (theirs, metric):
            each.update(logits.softmax(-1), labels)
    assert float(metric.compute()) == pytest.approx(float(theirs.compute()), rel=1e-5)


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric:UserWarning")
def test_nothing_counted_is_nan(batches):
    metric = ours.BrierScore(K, of="logits")
    assert metric.compute().isnan()
    metric.update(*batches[0])
    metric.reset()
    assert metric.compute().isnan()


def test_errors(batches):
    with pytest.raises(ValueError, match='`of` must be "probs" or "logits", got \'guess\''):
        ours.BrierScore(K, of="guess")
    with pytest.raises(TypeError, match="of"):
        ours.BrierScore(K)
    with pytest.raises(ValueError, match="`probs` must have entries"):
        ours.BrierScore(K, of="probs").update(*batches[0])
