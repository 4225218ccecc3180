"""What an audit finds: frozen numbers, with what is needed to draw them."""

from dataclasses import dataclass
from pathlib import Path

from softtargets.audit.naming import Kind
from softtargets.audit.predictions import place
from softtargets.calibration import Estimate, ReliabilityCurve, RiskCoverageCurve


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """Numbers of one set of predictions, each with its 95 % interval.

    Args:
        num_samples: N.
        accuracy: share of right predictions.
        confidence: mean probability of the predicted class.
        gap: confidence minus accuracy: above 0 over-confident, below under-confident.
        expected_calibration_error: top-label, debiased and floored at 0.
        expected_calibration_error_plain: the same as others compute it, biased upwards.
        overconfidence_error: the part of the plain one from bins that are too sure.
        underconfidence_error: the other part.
        smooth_calibration_error: top-label, with a kernel instead of bins.
        classwise_calibration_error: mean over classes, debiased and floored at 0.
        negative_log_likelihood: natural logarithm; inf where a label has probability 0.
        brier_score: summed over classes.
        area_under_risk_coverage: mean error over all shares of surest predictions.
        excess_area: the same minus that of an ideal order of the same predictions.
    """

    num_samples: int
    accuracy: Estimate
    confidence: Estimate
    gap: Estimate
    expected_calibration_error: Estimate
    expected_calibration_error_plain: Estimate
    overconfidence_error: Estimate
    underconfidence_error: Estimate
    smooth_calibration_error: Estimate
    classwise_calibration_error: Estimate
    negative_log_likelihood: Estimate
    brier_score: Estimate
    area_under_risk_coverage: Estimate
    excess_area: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassMeasures:
    """One class, where it is the prediction.

    Args:
        index: of the class.
        labels: samples of it.
        predictions: how often it is predicted.
        confidence: mean confidence then, NaN without predictions.
        precision: share of them that is right.
        gap: confidence minus precision; the interval holds for all classes at once (95 %).
    """

    index: int
    labels: int
    predictions: int
    confidence: float
    precision: float
    gap: Estimate

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return not self.gap.low <= 0 <= self.gap.high and self.predictions > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleMeasures:
    """Some of the numbers of `Measures`, of single predictions or of what averaging changes.

    Args:
        accuracy: see `Measures`, with intervals for whole groups drawn, as are all others.
        confidence: likewise.
        gap: likewise.
        expected_calibration_error: debiased; without an interval.
        negative_log_likelihood: see `Measures`.
        brier_score: likewise.
    """

    accuracy: Estimate
    confidence: Estimate
    gap: Estimate
    expected_calibration_error: Estimate
    negative_log_likelihood: Estimate
    brier_score: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregation:
    """What averaging the logits of groups brings; the rest of an audit is of groups.

    Args:
        column: which says what belongs together.
        num_predictions: single ones.
        smallest: predictions in the smallest group.
        largest: in the largest one.
        single: the predictions before averaging, each counting the same.
        difference: groups minus single predictions, paired by group.
    """

    column: str
    num_predictions: int
    smallest: int
    largest: int
    single: SingleMeasures
    difference: SingleMeasures


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scaling:
    """What dividing logits by a temperature does, on rows it was not fitted on.

    Args:
        temperature: T to use, 1 if no other lowers the NLL.
        at_bound: whether the data do not determine T.
        improves: whether the NLL falls.
        rows: rows judged on.
        source: where T was fitted: the name of a file, "" for halves of the same one.
        before: the rows as they are.
        after: the same rows scaled.
        curve: their reliability, scaled.
    """

    temperature: float
    at_bound: bool
    improves: bool
    rows: int
    source: str
    before: Measures
    after: Measures
    curve: ReliabilityCurve


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """The second model minus the first, paired by sample, each with its 95 % interval.

    Args:
        accuracy: above 0 the second is more often right.
        expected_calibration_error: debiased; below 0 the second is better calibrated.
        negative_log_likelihood: below 0 the second is better.
        brier_score: below 0 the second is better.
        area_under_risk_coverage: below 0 the second is better.
    """

    accuracy: Estimate
    expected_calibration_error: Estimate
    negative_log_likelihood: Estimate
    brier_score: Estimate
    area_under_risk_coverage: Estimate


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Audit:
    """The audit of one file.

    Args:
        path: of the file, as given.
        key: name of the array in it.
        kind: what the file declares.
        note: what was special about reading it, or "".
        num_samples: N, the groups if rows were grouped.
        num_classes: K.
        measures: of all rows, or groups.
        curve: reliability of all rows, 15 bins of equal width.
        risk_coverage: of all rows, at some hundred shares of them.
        classes: one per class, the clearest and largest gap first.
        scaling: what temperature scaling would do, None if it was not tried.
        not_scaled: why it was not, or "".
        aggregation: what averaging over groups brings, None if rows stand alone.
    """

    path: Path
    key: str
    kind: Kind
    note: str
    num_samples: int
    num_classes: int
    measures: Measures
    curve: ReliabilityCurve
    risk_coverage: RiskCoverageCurve
    classes: list[ClassMeasures]
    scaling: Scaling | None
    not_scaled: str
    aggregation: Aggregation | None = None

    @property
    def unit(self) -> str:
        """What the numbers are of."""
        return "sample" if self.aggregation is None else "group"

    @property
    def row(self) -> str:
        """What is drawn, fitted on and judged on."""
        return "row" if self.aggregation is None else "group"

    @property
    def title(self) -> str:
        """The file's name without its folder, and the array."""
        return place(Path(self.path.name), self.key)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """Two audits of the same samples.

    Args:
        first: the file asked about.
        second: the other.
        differences: second minus first, all rows.
        scaled: the same after temperature scaling of each, on the rows that was judged on; None if
            it was not tried for both.
    """

    first: Audit
    second: Audit
    differences: Differences
    scaled: Differences | None
