"""Are the predicted probabilities right? Errors, scores, curves, scaling and one report.

Start with `evaluate`. Functions of probabilities take `probs` and functions of logits take
`logits`; which of the two an array holds is never guessed from its values.
"""

from softtargets.calibration.binning import BinStatistics
from softtargets.calibration.cross_fitting import CrossFitted, cross_fitted
from softtargets.calibration.errors import (
    classwise_calibration_error,
    expected_calibration_error,
)
from softtargets.calibration.evaluation import evaluate
from softtargets.calibration.reliability import ReliabilityCurve, reliability_curve
from softtargets.calibration.scaling import AbstractScaling
from softtargets.calibration.scores import accuracy, brier_score, negative_log_likelihood
from softtargets.calibration.summary import CalibrationReport, Estimate
from softtargets.calibration.temperature import TemperatureScaling
from softtargets.calibration.vector import ClasswiseTemperatureScaling, VectorScaling

__all__ = [
    "AbstractScaling",
    "BinStatistics",
    "CalibrationReport",
    "ClasswiseTemperatureScaling",
    "CrossFitted",
    "Estimate",
    "ReliabilityCurve",
    "TemperatureScaling",
    "VectorScaling",
    "accuracy",
    "brier_score",
    "classwise_calibration_error",
    "cross_fitted",
    "evaluate",
    "expected_calibration_error",
    "negative_log_likelihood",
    "reliability_curve",
]
