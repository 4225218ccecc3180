"""The methods that `softtargets compare` knows, with the settings it runs them at."""

from collections.abc import Callable
from dataclasses import dataclass

from softtargets.lab.spec import Parameters
from softtargets.smoothing import (
    AbstractSmoothing,
    InstanceLabelSmoothing,
    LabelSmoothing,
    OnlineLabelSmoothing,
    QuadraticRate,
)

BASELINE = "hard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A smoothing method as a row of a comparison.

    Attributes:
        title: short name for tables.
        summary: what it does, in one sentence for somebody who has never heard of it.
        parameters: its settings, as recorded; chosen by hand or from the papers, never tuned.
        build: (number of classes, parameters, temperature of the teacher) -> policy or None.
        needs_teacher: whether it wants the logits of the hard-label run of the same seed.
    """

    title: str
    summary: str
    parameters: Parameters
    build: Callable[[int, Parameters, float], AbstractSmoothing | None]
    needs_teacher: bool = False


def _quadratic(parameters: Parameters, temperature: float) -> QuadraticRate:
    return QuadraticRate(
        p1=float(parameters["p1"]),
        p2=float(parameters["p2"]),
        max_rate=float(parameters["max_rate"]),
        temperature=temperature,
    )


METHODS: dict[str, Method] = {
    BASELINE: Method(
        title="hard labels",
        summary="The usual target: all of it on the label.",
        parameters={},
        build=lambda classes, parameters, temperature: None,
    ),
    "ls": Method(
        title="LS",
        summary="Label smoothing: a fixed tenth of the target is spread evenly over all classes.",
        parameters={"rate": 0.1},
        build=lambda classes, parameters, temperature: LabelSmoothing(float(parameters["rate"])),
    ),
    "ols": Method(
        title="OLS",
        summary="Online label smoothing: half of the target is what the model itself said, on "
        "average, about correctly classified samples of that class in the epoch before.",
        parameters={"hard_weight": 0.5},
        build=lambda classes, parameters, temperature: OnlineLabelSmoothing(
            classes, float(parameters["hard_weight"])
        ),
    ),
    "ils1": Method(
        title="ILS1",
        summary="Instance-based: a teacher's confidence decides how much each sample is smoothed; "
        "what moves is spread evenly over the other classes. Settings chosen by hand, not tuned.",
        parameters={"p1": 0.95, "p2": 1.5, "max_rate": 0.2},
        build=lambda classes, parameters, temperature: InstanceLabelSmoothing(
            _quadratic(parameters, temperature)
        ),
        needs_teacher=True,
    ),
    "ils2": Method(
        title="ILS2",
        summary="Instance-based: a fixed tenth moves from each label to the other classes, in the "
        "proportions a teacher gives for that sample.",
        parameters={"rate": 0.1},
        build=lambda classes, parameters, temperature: InstanceLabelSmoothing(
            float(parameters["rate"]), spread="teacher"
        ),
        needs_teacher=True,
    ),
    "ils": Method(
        title="ILS",
        summary="Instance-based, both: a teacher decides for each sample how much moves and where "
        "to. Settings chosen by hand, not tuned.",
        parameters={"p1": 0.95, "p2": 1.5, "max_rate": 0.2},
        build=lambda classes, parameters, temperature: InstanceLabelSmoothing(
            _quadratic(parameters, temperature), spread="teacher"
        ),
        needs_teacher=True,
    ),
}
