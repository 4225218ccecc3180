"""How numbers and names are written, the same in the terminal and on the page."""

import math
from collections.abc import Sequence

from softtargets.calibration.temperature import BRACKET
from softtargets.lab.methods import METHODS
from softtargets.lab.summary import METRICS, Mean, Metric

METRIC = {metric.key: metric for metric in METRICS}
ACCURACY = METRIC["accuracy"]
LIKELIHOOD = METRIC["negative_log_likelihood"]
CALIBRATION = METRIC["expected_calibration_error_debiased"]

PERCENT = "\N{NO-BREAK SPACE}%"
# Of temperatures that the search for them has ended at.
AT_BOUND = f"at its bound, {BRACKET[0]:g} or {BRACKET[1]:g}"
NO_OPTIMUM = "the scaled numbers are not an optimum"
_TIED = "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}"


def title(method: str) -> str:
    """Return the name a reader sees."""
    return METHODS[method].title if method in METHODS else method


def introduced(method: str) -> str:
    """Return the name with what it stands for, for its first mention."""
    name = METHODS[method].name if method in METHODS else title(method)
    return name if name == title(method) else f"{name} ({title(method)})"


def decimal(value: float, digits: int, *, signed: bool = False) -> str:
    """Return the number with a proper minus sign; what rounds to zero has no sign."""
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    if math.isfinite(value) and float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", "\N{MINUS SIGN}")


def number(metric: Metric, value: float, *, signed: bool = False) -> str:
    """Return a value in the metric's unit, without naming the unit."""
    return decimal(value * metric.scale, metric.digits, signed=signed)


def mean_and_half_width(
    metric: Metric, mean: Mean, *, signed: bool = False, joint: str = " ± "
) -> str:
    """Return `value ± half width`, or the value alone where there is no interval."""
    text = number(metric, mean.value, signed=signed)
    if math.isnan(mean.half_width):
        return text
    return f"{text}{joint}{number(metric, mean.half_width)}"


def percentage(share: float, digits: int = 1) -> str:
    """Return a share as `98.8 %`, with a space that does not break."""
    return f"{decimal(100 * share, digits)}{PERCENT}"


def quantity(metric: Metric, value: float) -> str:
    """Return a value with its unit, for a sentence."""
    return number(metric, value) + (PERCENT if metric.scale == 100 else "")


def told(metric: Metric, value: float) -> str:
    """Return a value for a sentence, where a calibration error is not below 0."""
    if metric == CALIBRATION and value <= 0:
        return f"0{PERCENT} (none to be seen)"
    return quantity(metric, value)


def change(metric: Metric, difference: Mean) -> str:
    """Return a difference with its half width and unit, for a sentence."""
    text = mean_and_half_width(metric, difference, signed=True, joint=_TIED)
    return text + ("\N{NO-BREAK SPACE}points" if metric.scale == 100 else "")


def listed(words: Sequence[str]) -> str:
    """Return `a`, `a and b` or `a, b and c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def counted(count: int, noun: str) -> str:
    """Return `one seed`, `5 seeds`."""
    return f"one {noun}" if count == 1 else f"{count:,} {noun}s"


# The calibration error is the debiased ECE; the page says so beside its first table.
_NOUNS = {ACCURACY.key: "accuracy", LIKELIHOOD.key: "NLL", CALIBRATION.key: "calibration error"}
_PLURALS = {"has": "have", "is": "are", "says": "say", "makes": "make"}


def noun(metric: Metric) -> str:
    """Return what a sentence calls a metric."""
    return _NOUNS.get(metric.key, metric.title.replace(" %", ""))


def superlative(metric: Metric) -> str:
    """Return the good end of a metric."""
    return "highest" if metric.higher_is_better else "lowest"


def verb(method: str, singular: str) -> str:
    """Return the verb as the method's name needs it: LS has, hard labels have."""
    return _PLURALS[singular] if title(method).endswith("labels") else singular


def points(share: float, digits: int = 1) -> str:
    """Return a difference of shares in percentage points."""
    return f"{decimal(100 * share, digits)} points"


def opened(text: str) -> str:
    """Return a sentence with its first letter large."""
    return text[:1].upper() + text[1:]
