"""The numbers of a report: their intervals, and their noise without bias."""

from dataclasses import dataclass

from torch import Tensor

from softtargets.calibration.binning import BinStatistics
from softtargets.calibration.gaps import GapModel, RootError
from softtargets.calibration.intervals import (
    Centred,
    Interval,
    NoisyError,
    inverted_interval,
    percentile_interval,
    reflected_interval,
    scales_of,
    unbiased,
    widest,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrierNoise:
    """What the intervals of the Brier score's terms are made of.

    Args:
        model: the bins of all classes or labels.
        groups: what sums over the bins are divided by.
        score: `(B,)`: the score of each draw.
        resolution: of the samples.
        uncertainty: of the samples.
        drawn_uncertainty: `(B,)`: that of each draw.
        most_uncertainty: the largest there can be.
    """

    model: GapModel
    groups: int
    score: Tensor
    resolution: float
    uncertainty: float
    drawn_uncertainty: Tensor
    most_uncertainty: float

    def terms(self) -> dict[str, list[Centred]]:
        """Reliability and resolution under three truths.

        Noise adds to the resolution what it adds to the reliability, for their difference,
        Brier score - uncertainty but for the variation inside bins, does not know of bins.
        """
        error = self.model.error("l2", self.groups)
        reliability = unbiased(error, scales_of(self.model.error("l1")))
        resolution = []
        for estimate, noise in reliability:
            whole = noise + self.drawn_uncertainty - self.score
            value = self.resolution + estimate - error.observed
            resolution.append(Centred(value, whole - whole.mean()))
        return {"brier_reliability": reliability, "brier_resolution": resolution}

    def intervals(self) -> dict[str, Interval]:
        """Of the three terms."""
        error = self.model.error("l2", self.groups)
        low, high = widest(self.terms()["brier_resolution"])
        noise = self.drawn_uncertainty - self.uncertainty
        least, most = reflected_interval(self.uncertainty, noise)
        top = self.most_uncertainty
        return {
            "brier_reliability": inverted_interval(error, largest=2.0),
            "brier_resolution": (max(low, 0.0), max(high, 0.0)),
            "brier_uncertainty": (max(min(least, top), 0.0), max(min(most, top), 0.0)),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Noisy:
    """Numbers of a model with their draws.

    Args:
        means: values of the samples that noise does not bias, and `(B,)` draws of them.
        errors: what noise makes larger, and the error that says which truths it is judged under.
        parts: the two sides of `whole`.
        whole: a sum of absolute gaps.
        brier: the terms of the Brier score.
    """

    means: dict[str, tuple[float, Tensor]]
    errors: dict[str, tuple[NoisyError, NoisyError]]
    parts: dict[str, NoisyError]
    whole: NoisyError
    brier: BrierNoise

    def intervals(self) -> dict[str, Interval]:
        """The 95 % interval of every number; `evaluate` says which is made how."""
        found = {name: percentile_interval(draws) for name, (_, draws) in self.means.items()}
        found |= {name: inverted_interval(error) for name, (error, _) in self.errors.items()}
        for name, estimates in self._unbiased_parts().items():
            low, high = widest(estimates)
            found[name] = max(low, 0.0), min(max(high, 0.0), 1.0)
        return found | self.brier.intervals()

    def unbiased(self) -> dict[str, list[Centred]]:
        """Every number that may differ between models of the same samples, under three truths."""
        found = {}
        for name, (value, draws) in self.means.items():
            found[name] = [Centred(value, draws - value)] * 3
        for name, (error, judge) in self.errors.items():
            found[name] = unbiased(error, scales_of(judge))
        return found | self._unbiased_parts() | self.brier.terms()

    def _unbiased_parts(self) -> dict[str, list[Centred]]:
        scales = scales_of(self.whole)
        return {name: unbiased(part, scales) for name, part in self.parts.items()}


def gap_errors(model: GapModel, groups: int = 1) -> dict[str, tuple[NoisyError, NoisyError]]:
    """The three norms of the gaps of some bins, those of the l1 norm judging them."""
    whole = model.error("l1", groups)
    return {
        "expected_calibration_error": (whole, whole),
        "root_mean_square_calibration_error": (RootError(model.error("l2", groups)), whole),
        "maximum_calibration_error": (model.error("max"), whole),
    }


def signed_parts(model: GapModel, groups: int = 1) -> dict[str, NoisyError]:
    """The two sides of the l1 norm."""
    return {
        "overconfidence_error": model.error("over", groups),
        "underconfidence_error": model.error("under", groups),
    }


def spread_of_outcomes(statistics: BinStatistics) -> tuple[Tensor, Tensor]:
    """Resolution and uncertainty, as `brier_decomposition` defines them."""
    counts = statistics.counts.double()
    total = counts.sum(-1, keepdim=True)
    rate = statistics.outcome_sums.sum(-1, keepdim=True) / total
    outcomes = statistics.outcome_sums / counts.clamp_min(1)
    resolution = (counts / total * (outcomes - rate).square()).sum()
    return resolution, (rate * (1 - rate)).sum()
