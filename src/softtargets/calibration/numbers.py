"""The numbers of a report: their values, their intervals, and their noise without bias."""

import torch
from torch import Tensor

from softtargets.calibration.binning import BinStatistics
from softtargets.calibration.gaps import GapModel, RootError
from softtargets.calibration.intervals import (
    Centred,
    Interval,
    inverted_interval,
    percentile_interval,
    reflected_interval,
    scales_of,
    unbiased,
    widest,
)
from softtargets.calibration.measurement import Measurement
from softtargets.calibration.reliability import wilson_interval
from softtargets.calibration.smooth import smooth_error

_MEANS = ("accuracy", "negative_log_likelihood", "brier_score")
_SELECTIVE = (
    "area_under_risk_coverage",
    "excess_area_under_risk_coverage",
    "risk_at_80_percent_coverage",
)


def values(measured: Measurement) -> dict[str, float]:
    """Every number of the report, as its function defines it."""
    top_label, class_wise = measured.top_label, measured.class_wise
    resolution, uncertainty = _spread_of_outcomes(class_wise)
    ece = top_label.calibration_error(debiased=True, floor=False)
    class_wise_error = class_wise.calibration_error(debiased=True, floor=False).mean()
    found: dict[str, Tensor | float] = {
        **dict(zip(_MEANS, measured.means, strict=True)),
        "brier_reliability": class_wise.calibration_error(norm="l2").square().sum(),
        "brier_resolution": resolution,
        "brier_uncertainty": uncertainty,
        "expected_calibration_error": top_label.calibration_error(),
        "expected_calibration_error_debiased": ece.clamp_min(0),
        "expected_calibration_error_signed": ece,
        "overconfidence_error": (-top_label.signed_gaps).clamp_min(0).sum(),
        "underconfidence_error": top_label.signed_gaps.clamp_min(0).sum(),
        "root_mean_square_calibration_error": top_label.calibration_error(norm="l2"),
        "maximum_calibration_error": top_label.calibration_error(norm="max"),
        "smooth_calibration_error": smooth_error(measured.confidences, measured.hits),
        "classwise_calibration_error": class_wise.calibration_error().mean(),
        "classwise_calibration_error_debiased": class_wise_error.clamp_min(0),
        "classwise_calibration_error_signed": class_wise_error,
    }
    found |= dict(zip(_SELECTIVE, measured.selective, strict=True))
    return {name: float(value) for name, value in found.items()}


def intervals(measured: Measurement) -> dict[str, Interval]:
    """The 95 % interval of every number; `evaluate` says which is made how."""
    found = {}
    drawn = [*measured.drawn_means, *measured.drawn_selective]
    for name, draws in zip((*_MEANS, *_SELECTIVE), drawn, strict=True):
        found[name] = percentile_interval(draws)
    share = torch.tensor(measured.means[0], dtype=torch.float64)
    wilson = wilson_interval(share, torch.tensor(measured.num_samples))
    found["accuracy"] = float(wilson[0]), float(wilson[1])
    top_label, class_wise = measured.top_label_model, measured.class_wise_model
    error = inverted_interval(top_label.error("l1"))
    ends = inverted_interval(class_wise.error("l1"), largest=float(measured.num_classes))
    class_error = ends[0] / measured.num_classes, ends[1] / measured.num_classes
    found |= {
        "brier_reliability": inverted_interval(class_wise.error("l2"), largest=2.0),
        "expected_calibration_error": error,
        "expected_calibration_error_debiased": error,
        "root_mean_square_calibration_error": inverted_interval(RootError(top_label.error("l2"))),
        "maximum_calibration_error": inverted_interval(top_label.error("max")),
        "smooth_calibration_error": inverted_interval(measured.smooth_model),
        "classwise_calibration_error": class_error,
        "classwise_calibration_error_debiased": class_error,
    }
    parts = {**_signed_parts(top_label), **_brier_terms(measured)}
    for name in ("overconfidence_error", "underconfidence_error", "brier_resolution"):
        low, high = widest(parts[name])
        found[name] = max(low, 0.0), max(high, 0.0)
    _, uncertainty = _spread_of_outcomes(measured.class_wise)
    noise = _drawn_uncertainty(measured) - uncertainty
    low, high = reflected_interval(float(uncertainty), noise)
    found["brier_uncertainty"] = max(low, 0.0), min(high, 1 - 1 / measured.num_classes)
    return found


def unbiased_numbers(measured: Measurement) -> dict[str, list[Centred]]:
    """Every number that may differ between models of the same samples, under three truths."""
    found = {}
    plain = [*measured.means, *measured.selective.tolist()]
    drawn = [*measured.drawn_means, *measured.drawn_selective]
    for name, value, draws in zip((*_MEANS, *_SELECTIVE), plain, drawn, strict=True):
        found[name] = [Centred(value, draws - value)] * 3
    top_label, classes = measured.top_label_model, measured.num_classes
    class_wise = measured.class_wise_model.error("l1")
    scales = scales_of(top_label.error("l1"))
    root = RootError(top_label.error("l2"))
    found |= {
        "expected_calibration_error": unbiased(top_label.error("l1"), scales),
        "root_mean_square_calibration_error": unbiased(root, scales),
        "maximum_calibration_error": unbiased(top_label.error("max"), scales),
        "smooth_calibration_error": unbiased(
            measured.smooth_model, scales_of(measured.smooth_model)
        ),
        "classwise_calibration_error": [
            Centred(estimate / classes, noise / classes)
            for estimate, noise in unbiased(class_wise, scales_of(class_wise))
        ],
        **_signed_parts(top_label),
        **_brier_terms(measured),
    }
    return found


def _signed_parts(model: GapModel) -> dict[str, list[Centred]]:
    scales = scales_of(model.error("l1"))
    return {
        "overconfidence_error": unbiased(model.error("over"), scales),
        "underconfidence_error": unbiased(model.error("under"), scales),
    }


def _brier_terms(measured: Measurement) -> dict[str, list[Centred]]:
    """Reliability and resolution of the Brier score.

    Noise adds to the resolution what it adds to the reliability, for their difference,
    Brier score - uncertainty but for the variation inside bins, does not know of bins.
    """
    model = measured.class_wise_model
    reliability = unbiased(model.error("l2"), scales_of(model.error("l1")))
    plain, _ = _spread_of_outcomes(measured.class_wise)
    observed, uncertainty = model.error("l2").observed, _drawn_uncertainty(measured)
    resolution = []
    for estimate, noise in reliability:
        whole = noise + uncertainty - measured.drawn_means[2]
        resolution.append(Centred(float(plain) + estimate - observed, whole - whole.mean()))
    return {"brier_reliability": reliability, "brier_resolution": resolution}


def _drawn_uncertainty(measured: Measurement) -> Tensor:
    return 1 - measured.drawn_label_shares.square().sum(0)


def _spread_of_outcomes(statistics: BinStatistics) -> tuple[Tensor, Tensor]:
    """Resolution and uncertainty, as `brier_decomposition` defines them."""
    counts = statistics.counts.double()
    total = counts.sum(-1, keepdim=True)
    rate = statistics.outcome_sums.sum(-1, keepdim=True) / total
    outcomes = statistics.outcome_sums / counts.clamp_min(1)
    resolution = (counts / total * (outcomes - rate).square()).sum()
    return resolution, (rate * (1 - rate)).sum()
