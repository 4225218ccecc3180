"""Are the predicted probabilities right? Errors, scores, curves, scaling and one report.

Start with `evaluate`. Functions of probabilities take `probs` and functions of logits take
`logits`; which of the two an array holds is never guessed from its values. Plain names are those
of classes that exclude each other; `binary_` and `multilabel_` ones are of events.
"""

from softtargets.calibration.aggregation import AggregatedLogits, aggregate
from softtargets.calibration.binary import (
    binary_brier_score,
    binary_calibration_error,
    binary_negative_log_likelihood,
    binary_smooth_calibration_error,
    multilabel_calibration_error,
    multilabel_smooth_calibration_error,
)
from softtargets.calibration.binning import BinStatistics
from softtargets.calibration.compare import (
    CalibrationComparison,
    Difference,
    MultilabelComparison,
    compare_calibration,
)
from softtargets.calibration.cross_fitting import CrossFitted, cross_fitted
from softtargets.calibration.decomposition import (
    BrierDecomposition,
    binary_brier_decomposition,
    brier_decomposition,
)
from softtargets.calibration.errors import (
    classwise_calibration_error,
    expected_calibration_error,
    overconfidence_error,
    underconfidence_error,
)
from softtargets.calibration.estimate import estimate_calibration_error
from softtargets.calibration.evaluation import evaluate
from softtargets.calibration.logit_norm import LogitNormScore, logit_norm_score
from softtargets.calibration.multilabel import compare_multilabel, evaluate_multilabel
from softtargets.calibration.reliability import ReliabilityCurve, reliability_curve
from softtargets.calibration.scaling import AbstractScaling
from softtargets.calibration.scores import accuracy, brier_score, negative_log_likelihood
from softtargets.calibration.selective import (
    RiskCoverageCurve,
    area_under_risk_coverage,
    excess_area_under_risk_coverage,
    risk_at_coverage,
    risk_coverage_curve,
)
from softtargets.calibration.smooth import smooth_calibration_error
from softtargets.calibration.streaming import StreamedCalibration, StreamingCalibration
from softtargets.calibration.summary import CalibrationReport, Estimate, MultilabelReport
from softtargets.calibration.temperature import TemperatureScaling
from softtargets.calibration.vector import ClasswiseTemperatureScaling, VectorScaling

__all__ = [
    "AbstractScaling",
    "AggregatedLogits",
    "BinStatistics",
    "BrierDecomposition",
    "CalibrationComparison",
    "CalibrationReport",
    "ClasswiseTemperatureScaling",
    "CrossFitted",
    "Difference",
    "Estimate",
    "LogitNormScore",
    "MultilabelComparison",
    "MultilabelReport",
    "ReliabilityCurve",
    "RiskCoverageCurve",
    "StreamedCalibration",
    "StreamingCalibration",
    "TemperatureScaling",
    "VectorScaling",
    "accuracy",
    "aggregate",
    "area_under_risk_coverage",
    "binary_brier_decomposition",
    "binary_brier_score",
    "binary_calibration_error",
    "binary_negative_log_likelihood",
    "binary_smooth_calibration_error",
    "brier_decomposition",
    "brier_score",
    "classwise_calibration_error",
    "compare_calibration",
    "compare_multilabel",
    "cross_fitted",
    "estimate_calibration_error",
    "evaluate",
    "evaluate_multilabel",
    "excess_area_under_risk_coverage",
    "expected_calibration_error",
    "logit_norm_score",
    "multilabel_calibration_error",
    "multilabel_smooth_calibration_error",
    "negative_log_likelihood",
    "overconfidence_error",
    "reliability_curve",
    "risk_at_coverage",
    "risk_coverage_curve",
    "smooth_calibration_error",
    "underconfidence_error",
]
