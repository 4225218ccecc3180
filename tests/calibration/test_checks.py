"""Bad input is an error that says name, rule, value and way out, whichever function gets it."""

import pytest
import torch

from softtargets import calibration
from tests.calibration import metrics

OF_PROBS = list(metrics.OF_PROBS.values())
# These take rows alone.
OF_ROWS = [calibration.TemperatureScaling().fit]
OF_LOGITS = [
    calibration.negative_log_likelihood,
    calibration.LogitNormScore().fit,
    calibration.evaluate,
    *OF_ROWS,
]
HALF = torch.full((2, 2), 0.5)
LABELS = torch.tensor([0, 1])


def with_row(*row):
    return torch.stack([HALF[0], torch.tensor(row)])


@pytest.mark.parametrize("function", OF_PROBS)
@pytest.mark.parametrize(
    ("probs", "message"),
    [
        (
            with_row(2.0, 0.5),
            r"`probs` must have rows that sum to 1 .* row 1 sums to 2\.5.*softmax",
        ),
        (with_row(0.1, 0.1), r"row 1 sums to 0\.2"),
        (with_row(1.2, -0.2), r"`probs` must have entries in \[0, 1\], got -0\.2 in row 1"),
        (with_row(torch.nan, 0.5), "got nan in row 1.*softmax"),
        (with_row(torch.inf, 0.5), "got inf in row 1"),
        (torch.full((2,), 0.5), r"`probs` must have shape \(N, K\), .*, got \(2,\)"),
        (torch.zeros(0, 2), "`probs` must hold at least one sample"),
        (torch.zeros(2, 0), "at least one sample and one class"),
    ],
)
def test_bad_probs(function, probs, message):
    with pytest.raises(ValueError, match=message):
        function(probs, LABELS)


@pytest.mark.parametrize("function", OF_LOGITS)
@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (with_row(torch.nan, 0.0), "`logits` must hold no NaN, got one in row 1"),
        (with_row(torch.inf, 0.0), "`logits` must be finite or -inf, got inf in row 1"),
        (with_row(-torch.inf, -torch.inf), "row 1 is all -inf"),
        (torch.zeros(2), r"`logits` must have shape \(N, K\).* got \(2,\)"),
        (HALF, "`logits` must be logits, but every row is a distribution"),
        (torch.zeros(0, 2), "`logits` must hold at least one sample"),
    ],
)
def test_bad_logits(function, logits, message):
    with pytest.raises(ValueError, match=message):
        function(logits, LABELS)


@pytest.mark.parametrize("function", OF_ROWS)
def test_rows_alone(function):
    with pytest.raises(ValueError, match=r"`logits` must have shape \(N, K\), got \(2, 2, 3\)"):
        function(torch.zeros(2, 2, 3), LABELS)
    with pytest.raises(ValueError, match="got -100 at 0; drop samples without a label"):
        function(HALF, torch.tensor([-100, 0]))


@pytest.mark.parametrize("function", [*OF_PROBS, *OF_LOGITS, calibration.accuracy])
def test_bad_labels_and_dtypes(function):
    with pytest.raises(ValueError, match=r"`labels` must be in 0 \.\. 1, got 2 at 1"):
        function(HALF, torch.tensor([0, 2]))
    with pytest.raises(ValueError, match=r"got -1 at 0; (drop samples without|mark what has no) "):
        function(HALF, torch.tensor([-1, 0]))
    with pytest.raises(ValueError, match=r"`labels` must have shape \(2,\).*got \(3,\)"):
        function(HALF, torch.tensor([0, 1, 1]))
    with pytest.raises(TypeError, match=r"`labels` must hold integers, got torch\.float32"):
        function(HALF, LABELS.float())
    with pytest.raises(TypeError, match="`labels` must be a tensor of integers, got list"):
        function(HALF, [0, 1])
    with pytest.raises(TypeError, match=r"must be a floating point tensor, got torch\.int64"):
        function(HALF.long(), LABELS)
    with pytest.raises(TypeError, match="must be a floating point tensor, got list"):
        function(HALF.tolist(), LABELS)


BINNED = [
    calibration.expected_calibration_error,
    calibration.overconfidence_error,
    calibration.underconfidence_error,
    calibration.classwise_calibration_error,
    calibration.brier_decomposition,
    calibration.reliability_curve,
]


@pytest.mark.parametrize("function", BINNED)
def test_bad_bins(function):
    with pytest.raises(ValueError, match="`bins` must be at least 1, got 0"):
        function(HALF, LABELS, bins=0)
    with pytest.raises(TypeError, match="`bins` must be an integer, got float"):
        function(HALF, LABELS, bins=2.0)
    with pytest.raises(ValueError, match='`binning` must be "width" or "mass", got \'x\''):
        function(HALF, LABELS, binning="x")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("num_classes", [2, 1000, 32000])
def test_softmax_in_any_dtype_is_accepted(dtype, num_classes):
    generator = torch.Generator().manual_seed(0)
    for scale in (0.1, 3.0, 20.0):
        probs = (scale * torch.randn(16, num_classes, generator=generator)).to(dtype).softmax(-1)
        calibration.expected_calibration_error(probs, torch.zeros(16, dtype=torch.int64))
