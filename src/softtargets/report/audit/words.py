"""What an audit says, in sentences for somebody who has never heard of calibration."""

from collections.abc import Sequence
from dataclasses import dataclass

from softtargets.audit.result import Audit, ClassMeasures, Sampling, Scaling
from softtargets.calibration import Estimate
from softtargets.calibration.temperature import BRACKET
from softtargets.report.audit.lean import NOTABLE, Lean, lean
from softtargets.report.audit.sheets import SINGLE, beyond, estimate_text
from softtargets.report.notation import PERCENT, counted, decimal, percentage, points

_NAMED = 3  # worst classes in a sentence
_KEPT = 0.8  # coverage at which the errors are told
_FEW_UNITS = 50
_FEW = 1000  # samples below which intervals of calibration errors are wide


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A question of a reader, and its answers."""

    question: str
    answers: list[str]


def headline(audit: Audit) -> str:
    """Return the verdict in one or two sentences."""
    measures = audit.measures
    gap, error = measures.gap, measures.expected_calibration_error
    told = (
        f"it says {percentage(measures.confidence.value)} on average and is right "
        f"{percentage(measures.accuracy.value)} of the time"
    )
    leaning = lean(measures)
    if leaning == Lean.MIXED:
        return (
            "Do not take its confidence at its word: it is too high in places and too low in "
            f"others, by {points(error.value)} all in all ({interval(error)}). That does not show "
            f"on average, where {told}."
        )
    if leaning == Lean.NONE:
        return (
            f"Its confidence holds as far as can be told: {told}. With "
            f"{_size(audit)}, a calibration error of up to "
            f"{points(error.high)} would not show."
        )
    word = "too sure" if leaning == Lean.OVER else "too unsure"
    size = f"{points(abs(gap.value))} {word} ({interval(gap, flipped=leaning == Lean.UNDER)})"
    if abs(gap.value) < NOTABLE:
        return f"Its confidence is nearly right: {told}, {size}. That is not chance, but small."
    return f"Do not take its confidence at its word, it is {leaning}: {told}, {size}."


def summary(audit: Audit) -> list[str]:
    """Return what would help, one sentence for each remedy."""
    return [
        *aggregation_answers(audit)[:1],
        scaling_answers(audit)[0],
        smoothing_answers(audit)[0],
    ]


def findings(audit: Audit) -> list[Finding]:
    """Return the questions of the page with their answers."""
    averaged = aggregation_answers(audit)
    return [
        *([Finding(question="What does averaging bring?", answers=averaged)] if averaged else []),
        Finding(question="Would temperature scaling help?", answers=scaling_answers(audit)),
        Finding(
            question="Would label smoothing during training help?",
            answers=smoothing_answers(audit),
        ),
        Finding(question="Which classes are worst?", answers=[classes_answer(audit)]),
        Finding(question="Does its confidence find the errors?", answers=[selection_answer(audit)]),
        Finding(question="How far can this be trusted?", answers=_cautions(audit)),
    ]


def basis(audit: Audit) -> str:
    """Return what the numbers are of: how many samples, in what, or groups of predictions."""
    aggregation, count = audit.aggregation, counted(audit.num_samples, audit.unit)
    if aggregation is None:
        return _size(audit) + (f", {_left_out(audit.sampling)}" if audit.sampling else "")
    ends = aggregation.smallest, aggregation.largest
    sizes = f"{ends[0]:,} each" if ends[0] == ends[1] else f"{ends[0]:,} to {ends[1]:,} each"
    predictions = counted(aggregation.num_predictions, "prediction")
    return f"{predictions} in {count} by {aggregation.column}, {sizes}"


def classes_held(audit: Audit) -> str:
    """Return the number of classes, to follow `basis`."""
    mark = "," if audit.aggregation is None and audit.sampling is None else ";"
    return f"{mark} {audit.num_classes:,} classes"


def whole_units(audit: Audit) -> str:
    """Return what intervals are for, to follow "intervals"; "" if each sample is by itself."""
    unit = "" if audit.sampling is None else audit.sampling.unit
    return f" for whole {unit}s drawn" if unit else ""


def beyond_interval(audit: Audit, states: Sequence[int] = (0, 1)) -> str:
    """Return why a number lies outside of its own interval; "" where none does.

    Args:
        audit: what was found.
        states: 0 for the numbers as given, 1 for those after scaling.
    """
    if not any(beyond(audit, state) for state in states):
        return ""
    return (
        "An error may lie outside of its interval: that is for the true error, and chance adds to "
        "the plain one and its parts."
    )


def _size(audit: Audit) -> str:
    count, sampling = counted(audit.num_samples, audit.unit), audit.sampling
    if sampling is None or not sampling.unit:
        return count
    by = f" by {sampling.column}" if sampling.column else ""
    return f"{count} in {counted(sampling.num_units, sampling.unit)}{by}"


def _left_out(sampling: Sampling) -> str:
    """Which predictions are not measured."""
    if sampling.column and not sampling.ignored:
        return "drawn as a whole"
    told = f"{sampling.ignored:,} ignored"
    if sampling.drawn is None:
        return told
    return (
        f"{told} ({sampling.drawn:,} of {sampling.per_unit:,} positions of each "
        f"{sampling.unit} drawn at random, seeded)"
    )


def aggregation_answers(audit: Audit) -> list[str]:
    """Return what averaging over groups changes, nothing where rows stand alone."""
    aggregation = audit.aggregation
    if aggregation is None:
        return []
    change, single, measures = aggregation.difference, aggregation.single, audit.measures
    if aggregation.largest == 1:
        return ["Averaging changes nothing: every group holds one prediction."]
    accuracy = f"from {percentage(single.accuracy.value)} to {percentage(measures.accuracy.value)}"
    losses = [decimal(each.negative_log_likelihood.value, 3) for each in (single, measures)]
    errors = [percentage(each.expected_calibration_error.value) for each in (single, measures)]
    return [
        f"Averaging logits by {aggregation.column} takes accuracy {accuracy} "
        f"({_changed('accuracy', change.accuracy)}), the NLL from {losses[0]} to {losses[1]} "
        f"({_changed('negative_log_likelihood', change.negative_log_likelihood)}) and the "
        f"calibration error from {errors[0]} to {errors[1]}.",
        "The first numbers are of all predictions one by one, the second of groups, each group "
        "counting once. Differences are paired by group. A temperature for groups has to be "
        "fitted on averaged logits.",
    ]


def scaling_answers(audit: Audit) -> list[str]:
    """Return what temperature scaling would give."""
    scaling = audit.scaling
    if scaling is None:
        return [f"Temperature scaling was not tried: {audit.not_scaled}."]
    if scaling.at_bound:
        return [_at_bound(scaling, audit.row)]
    if not scaling.improves:
        return [
            f"Temperature scaling would not help: no T lowers the NLL of {audit.row}s that it was "
            "not fitted on."
        ]
    before, after = scaling.before, scaling.after
    errors = [percentage(each.expected_calibration_error.value) for each in (before, after)]
    losses = [decimal(each.negative_log_likelihood.value, 3) for each in (before, after)]
    left = after.expected_calibration_error
    remains = (
        f"An error stays that is not chance ({interval(left)}): one number cannot mend it."
        if left.low > 0
        else f"What stays cannot be told from chance ({interval(left)})."
    )
    return [
        f"Dividing the logits by T = {decimal(scaling.temperature, 2)} takes the calibration error "
        f"from {errors[0]} to {errors[1]} and the NLL from {losses[0]} to {losses[1]}, on "
        f"{audit.row}s that T was not fitted on.",
        *(["T is below 1: scaling makes this model surer."] if scaling.temperature < 1 else []),
        f"{remains} Scaling changes no predicted class.",
    ]


def smoothing_answers(audit: Audit) -> list[str]:
    """Return whether smoothing during training is likely to help or to hurt, and its price."""
    aggregation = audit.aggregation
    if aggregation is not None and aggregation.largest > 1:
        gaps = [
            decimal(100 * each.gap.value, 1, signed=True)
            for each in (aggregation.single, audit.measures)
        ]
        return [
            "Groups tell nothing for or against label smoothing during training: averaging itself "
            f"takes confidence minus accuracy from {gaps[0]} to {gaps[1]} points. Fit a "
            "temperature on averaged logits; for training, audit single predictions."
        ]
    price = (
        "Its price: models trained with it are often worse at telling their errors apart by "
        "confidence. If you set unsure cases aside, compare risk–coverage curves first."
    )
    answers = {
        Lean.OVER: "Label smoothing during training is likely to help: it lowers confidence, which "
        "is too high here. Temperature scaling does so too, without training again.",
        Lean.UNDER: "Label smoothing during training is likely to hurt: it lowers confidence, "
        "which is too low already. If the model was trained with it, less is likely to be better.",
        Lean.MIXED: "Whether label smoothing during training would help cannot be told: it lowers "
        "all confidences, and here only some are too high.",
        Lean.NONE: "Calibration gives no reason for label smoothing during training: there is "
        "hardly any over-confidence to lower.",
    }
    leaning = lean(audit.measures)
    if leaning != Lean.MIXED and abs(audit.measures.gap.value) < NOTABLE:
        leaning = Lean.NONE
    return [answers[leaning], price]


def classes_answer(audit: Audit) -> str:
    """Return which classes are worst, as far as that is more than chance."""
    clear = [row for row in audit.classes if row.clear]
    if not clear:
        return (
            "No class stands out: wherever one is predicted, what is said and what comes true "
            "differ by no more than chance allows."
        )
    worst = "; ".join(_class(row) for row in clear[:_NAMED])
    return (
        f"Where predicted, {len(clear):,} of {audit.num_classes:,} classes are off by more than "
        f"chance allows. Worst {'is' if len(clear) == 1 else 'are'} {worst}."
    )


def selection_answer(audit: Audit) -> str:
    """Return how many errors are left when unsure predictions are set aside."""
    curve = audit.risk_coverage
    kept = int((curve.coverage - _KEPT).abs().argmin())
    return (
        f"If the least sure {percentage(1 - float(curve.coverage[kept]), 0)} of predictions are "
        f"set aside, {percentage(float(curve.risk[kept]))} of the others are wrong; of all, "
        f"{percentage(1 - audit.measures.accuracy.value)} are. With a perfect order it would be "
        f"{percentage(_ideal_risk(audit, float(curve.coverage[kept])))}."
    )


def interval(estimate: Estimate, *, flipped: bool = False) -> str:
    """Return the interval of a share, in points."""
    low, high = (-estimate.high, -estimate.low) if flipped else (estimate.low, estimate.high)
    return f"95{PERCENT} interval {decimal(100 * low, 1)} to {decimal(100 * high, 1)}"


def _sampling_cautions(audit: Audit) -> list[str]:
    sampling, lines = audit.sampling, []
    if sampling is None:
        return []
    if sampling.unit:
        lines.append(
            f"What lies in one {sampling.unit} is not independent, so intervals are for drawing "
            f"whole {sampling.unit}s, {sampling.num_units:,} here."
        )
        if sampling.num_units < _FEW_UNITS:
            lines.append(
                f"{counted(sampling.num_units, sampling.unit)} are few: intervals are rough, and "
                "may be too narrow."
            )
    if sampling.ignored:
        lines.append(f"{counted(sampling.ignored, sampling.row)} without a label are left out.")
    if sampling.drawn is not None:
        lines.append(
            f"Of each {sampling.unit} {sampling.drawn:,} of {sampling.per_unit:,} positions are "
            "measured, drawn at random; say --positions for another number."
        )
    return lines


def _changed(key: str, difference: Estimate) -> str:
    text = estimate_text(difference, SINGLE[key].scale, SINGLE[key].digits, signed=True)
    unit = " points" if SINGLE[key].scale == 100 else ""
    if not text.interval:
        return text.value + unit
    return f"{text.value}{unit}, 95{PERCENT} interval {text.interval}"


def _ideal_risk(audit: Audit, coverage: float) -> float:
    return max(0.0, 1 - audit.measures.accuracy.value / coverage)


def _class(row: ClassMeasures) -> str:
    return (
        f"class {row.index}, which says {percentage(row.confidence, 0)} and is right "
        f"{percentage(row.precision, 0)} of {counted(row.predictions, 'time')} "
        f"({interval(row.gap)})"
    )


def _at_bound(scaling: Scaling, row: str) -> str:
    if scaling.before.accuracy.value == 1:
        return (
            f"No temperature can be determined: all {scaling.rows:,} {row}s tried are "
            "predicted right, so the search ends at its bound, where confidence is 100"
            f"{PERCENT}. Fit it on {row}s that hold some errors."
        )
    if scaling.temperature > 1:
        return (
            f"No temperature can be determined: on part of the {row}s the search ends at its "
            f"upper bound, T = {BRACKET[1]:g}, where hardly any confidence is left. "
            "See whether labels and rows belong together, and whether the logits are the model's."
        )
    return (
        f"No temperature can be determined: on part of the {row}s the search ends at its bound, "
        f"as it does where there are hardly any errors. Fit it on more {row}s."
    )


def _cautions(audit: Audit) -> list[str]:
    measures = audit.measures
    lines = [
        "Intervals say what other samples of the same kind would change. They do not cover other "
        "data than these, nor training the model again."
    ]
    if measures.num_samples < _FEW:
        lines.append(
            f"{counted(measures.num_samples, audit.unit)} are few for calibration: the interval of "
            f"its error reaches from {percentage(measures.expected_calibration_error.low)} to "
            f"{percentage(measures.expected_calibration_error.high)}."
        )
    lines += _sampling_cautions(audit)
    if audit.scaling is not None and audit.scaling.rows < audit.num_samples:
        lines.append(
            f"Temperature scaling was judged on {audit.scaling.rows:,} {audit.row}s drawn at "
            f"random, all else on all {audit.row}s."
        )
    if measures.negative_log_likelihood.value == float("inf"):
        lines.append(
            f"Some {audit.row}s give the true class the probability 0, so the NLL is infinite."
        )
    return lines
