"""Measures of runs by seed, with what they become as the test samples are redrawn."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from softtargets import calibration
from softtargets.calibration import BinStatistics
from softtargets.claims.intervals import DRAWS, Paired, sample_weights
from softtargets.claims.runs import Run

BINS = 15


def accuracy(runs: Sequence[Run]) -> Paired:
    """Top-1 accuracy on the test samples."""
    return sample_mean(runs, lambda run: run.test_logits.argmax(-1) == run.test_labels)


def sample_mean(runs: Sequence[Run], of_samples: Callable[[Run], Tensor]) -> Paired:
    """The mean of a number, or a share, over samples.

    Args:
        runs: by seed.
        of_samples: of a run, `(N,)`, the same samples for every run.
    """
    return mean_of_rows(torch.stack([of_samples(run).double() for run in runs], 1))


def mean_of_rows(rows: Tensor) -> Paired:
    """The mean over samples.

    Args:
        rows: `(N, S)` float64, by sample and seed.
    """
    return Paired(rows.mean(0), (sample_weights(len(rows)) @ rows.float()).double() / len(rows))


def log_loss(runs: Sequence[Run], *, scaled: bool = False) -> Paired:
    """NLL of the test labels, as trained or after temperature scaling."""

    def losses(run: Run) -> Tensor:
        logs = _logits(run, scaled=scaled).log_softmax(-1)
        return -logs.gather(-1, run.test_labels.unsqueeze(-1)).squeeze(-1)

    return sample_mean(runs, losses)


def calibration_error(runs: Sequence[Run], *, scaled: bool = False) -> Paired:
    """Debiased ECE, 15 bins of equal width, signed; spread by that of the plain ECE."""
    values, draws = [], []
    for run in runs:
        metrics = run.record.scaled if scaled else run.record.metrics
        values.append(metrics["expected_calibration_error_debiased"].value)
        draws.append(plain_error(_logits(run, scaled=scaled), run.test_labels))
    return _paired(values, draws)


def plain_error(logits: Tensor, labels: Tensor) -> Tensor:
    """Return `(DRAWS,)`, the plain ECE of each draw of the samples.

    Args:
        logits: `(N, K)`.
        labels: `(N,)`.
    """
    confidence, predicted = logits.softmax(-1).max(-1)
    return _binned_error(confidence, confidence - (predicted == labels).double())


def classwise_error(runs: Sequence[Run]) -> Paired:
    """Class-wise ECE, 15 bins, debiased and signed; spread by that of the plain one."""
    values, draws = [], []
    for run in runs:
        values.append(run.record.metrics["classwise_calibration_error_debiased"].value)
        probs = run.test_logits.softmax(-1)
        each = [
            _binned_error(probs[:, k], probs[:, k] - (run.test_labels == k).double())
            for k in range(probs.shape[-1])
        ]
        draws.append(torch.stack(each).mean(0))
    return _paired(values, draws)


def risk_coverage_area(runs: Sequence[Run], score: Callable[[Run], Tensor]) -> Paired:
    """Area under the risk-coverage curve of a score, the most trusted samples first.

    Args:
        runs: by seed.
        score: of a run's test samples, `(N,)`, larger where the prediction is trusted more.
    """
    values, draws = [], []
    for run in runs:
        scores = score(run)
        errors = (run.test_logits.argmax(-1) != run.test_labels).float()
        area = calibration.area_under_risk_coverage(
            run.test_logits.softmax(-1), run.test_labels, scores=scores
        )
        values.append(float(area))
        order = scores.argsort(descending=True)
        weights = sample_weights(len(order))[:, order]
        wrong = (weights * errors[order]).cumsum(1)
        seen = weights.cumsum(1).clamp(min=1)
        draws.append(((wrong / seen) * weights).sum(1).double() / weights.shape[1])
    return _paired(values, draws)


def confidence(run: Run) -> Tensor:
    """Return the largest probability of each test sample."""
    return run.test_logits.softmax(-1).amax(-1)


def by_seed(runs: Sequence[Run], measure: Callable[[Run], float]) -> Paired:
    """A measure of each run that does not depend on test samples."""
    return Paired.fixed([measure(run) for run in runs])


def _logits(run: Run, *, scaled: bool) -> Tensor:
    return run.test_logits / run.record.temperature if scaled else run.test_logits


def _binned_error(scores: Tensor, gaps: Tensor) -> Tensor:
    """`(DRAWS,)`: the plain error over bins, by draw."""
    table = _table(scores, gaps)
    return (sample_weights(len(table)) @ table).abs().sum(1).double() / len(table)


def _table(scores: Tensor, gaps: Tensor) -> Tensor:
    """`(N, BINS)` float32: the gap of each sample in the column of its bin."""
    scores = scores.contiguous()
    edges = BinStatistics.from_scores(scores, torch.zeros_like(scores), bins=BINS).edges
    bins = torch.bucketize(scores, edges[1:-1].to(scores))
    table = torch.zeros(len(scores), BINS)
    table[torch.arange(len(scores)), bins] = gaps.float()
    return table


def _paired(values: list[float], draws: list[Tensor]) -> Paired:
    assert all(each.shape == (DRAWS,) for each in draws)
    return Paired(torch.tensor(values, dtype=torch.float64), torch.stack(draws, 1))
