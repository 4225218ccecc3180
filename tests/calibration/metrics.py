"""Every metric of classes that exclude each other, as a function of probabilities and labels."""

from functools import partial

from softtargets import calibration as c

OF_PROBS = {
    "ece": c.expected_calibration_error,
    "ece mass l2 debiased": partial(
        c.expected_calibration_error, binning="mass", norm="l2", debiased=True
    ),
    "mce": partial(c.expected_calibration_error, norm="max"),
    "overconfidence": c.overconfidence_error,
    "underconfidence": c.underconfidence_error,
    "class-wise": c.classwise_calibration_error,
    "class-wise mass": partial(c.classwise_calibration_error, binning="mass", norm="l2"),
    "smooth": c.smooth_calibration_error,
    "brier": c.brier_score,
    "reliability": lambda *a, **k: c.brier_decomposition(*a, **k).reliability,
    "resolution": lambda *a, **k: c.brier_decomposition(*a, of="top_label", **k).resolution,
    "aurc": c.area_under_risk_coverage,
    "excess aurc": c.excess_area_under_risk_coverage,
    "risk at 0.7": partial(c.risk_at_coverage, coverage=0.7),
    "risk-coverage curve": lambda *a, **k: c.risk_coverage_curve(*a, **k).risk,
    "reliability curve": lambda *a, **k: c.reliability_curve(*a, **k).accuracy,
    "curve of a class": lambda *a, **k: c.reliability_curve(*a, class_index=0, **k).confidence,
}
OF_LOGITS = {
    "accuracy": c.accuracy,
    "nll": c.negative_log_likelihood,
    "logit norm": lambda *a, **k: c.LogitNormScore().fit(*a, **k).p,
}
EVERY = {
    **OF_PROBS,
    **{
        name: lambda probs, labels, metric=metric, **k: metric(probs.log(), labels, **k)
        for name, metric in OF_LOGITS.items()
    },
}
