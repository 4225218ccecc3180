"""How often the intervals of `softtargets.calibration` hold the truth, on data of known truth.

Logits are normal, labels follow their softmax, and models predict something else. The population's
value of a binned error is that of a million samples (200,000 of 100 classes) whose outcomes are
replaced by their exact probabilities, so that no noise of labels is in it; of calibrated models it
is 0. Next to the interval by test inversion stand the percentile and the basic bootstrap of the
same draws.
"""

import argparse
import functools
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.costs import RECORDS, read
from benchmarks.interval_page import PAGE, page
from softtargets.bench import record
from softtargets.calibration import (
    BinStatistics,
    compare_calibration,
    estimate_calibration_error,
    evaluate,
    evaluate_multilabel,
)
from softtargets.calibration.binned_draws import ClassDraws, EventDraws, equal_width_edges
from softtargets.calibration.intervals import inverted_interval, percentile_interval
from softtargets.calibration.resampling import Weights
from softtargets.calibration.smooth import smooth_error

NAME = "interval_coverage.json"
BINS, DRAWS, FEWER, MANY, PIXELS = 15, 1000, 300, 1_000_000, 25
SCALES = {2: 2.0, 3: 2.0, 10: 2.0, 100: 3.0}

# From the logits that made the labels, and others of the same law, to those of the model.
Model = Callable[[Tensor, Tensor], Tensor]
MODELS: dict[str, Model] = {
    "calibrated": lambda z, _: z,
    "slightly overconfident": lambda z, _: 1.15 * z,
    "strongly overconfident": lambda z, _: 1.8 * z,
    "underconfident": lambda z, _: 0.7 * z,
    "classes offset": lambda z, _: z + offsets(z.shape[1]),
    # It knows the labels' logits only up to a coin toss, and says so: calibrated as well.
    "undecided": lambda z, other: ((z.softmax(-1) + other.softmax(-1)) / 2).log(),
}
PAIRS = {
    "both calibrated": ("calibrated", "undecided"),
    "strongly overconfident, calibrated": ("strongly overconfident", "calibrated"),
}


@dataclass(frozen=True)
class Case:
    """One row of a table.

    Args:
        kind: the table.
        truth: a distortion, or for pairs what differs between them.
        classes: K.
        samples: N.
        repetitions: data sets.
    """

    kind: str
    truth: str
    classes: int
    samples: int
    repetitions: int


def cases() -> list[Case]:
    """Return all cases, those that are promised first."""
    found = []
    for truth in list(MODELS)[:4]:
        for classes, samples in ((2, 2000), (10, 2000), (100, 2000), (10, 10_000)):
            found.append(Case("top_label", truth, classes, samples, 300))
        found.append(Case("top_label", truth, 100, 10_000, 200))
    found.append(Case("top_label", "calibrated", 10, 500, 1000))
    for truth in ("calibrated", "strongly overconfident", "classes offset"):
        for classes, samples in ((10, 2000), (100, 2000), (10, 10_000)):
            found.append(Case("class_wise", truth, classes, samples, 200))
    short = ("calibrated", "strongly overconfident")
    found += [Case("numbers", truth, 10, 2000, 200) for truth in short]
    found += [Case("images", truth, 10, 200, 200) for truth in short]
    found += [Case("labels", truth, 5, 2000, 200) for truth in short]
    found += [Case("pairs", truth, 10, 2000, 200) for truth in PAIRS]
    return found


def offsets(classes: int) -> Tensor:
    """Return logits by which a model is wrong about single classes."""
    generator = torch.Generator().manual_seed(7)
    return 0.5 * torch.randn(classes, dtype=torch.float64, generator=generator)


def data(classes: int, samples: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the logits that make the labels, others of the same law, and the labels."""
    generator = torch.Generator().manual_seed(seed)
    shape = (2, samples, classes)
    both = SCALES[classes] * torch.randn(shape, dtype=torch.float64, generator=generator)
    labels = torch.multinomial(both[0].softmax(-1), 1, generator=generator).squeeze(1)
    return both[0], both[1], labels


@functools.cache
def population(classes: int, name: str) -> dict[str, float]:
    """Return the errors of the population, see the module."""
    samples = MANY if classes < 100 else MANY // 5
    scores, chances = [], []
    by_class: BinStatistics | None = None
    for seed in range(10):
        logits, other, _ = data(classes, samples // 10, 10**6 + seed)
        truth, probs = logits.softmax(-1), MODELS[name](logits, other).softmax(-1)
        highest, predicted = probs.max(-1)
        scores.append(highest)
        chances.append(truth.gather(1, predicted.unsqueeze(1)).squeeze(1))
        counted = BinStatistics.from_scores(probs.T, truth.T, bins=BINS)
        by_class = counted if by_class is None else by_class + counted
    assert by_class is not None
    confidence, chance = torch.cat(scores), torch.cat(chances)
    top_label = BinStatistics.from_scores(confidence, chance, bins=BINS)
    gaps = top_label.signed_gaps
    errors = {
        "expected_calibration_error": float(top_label.calibration_error()),
        "overconfidence_error": float((-gaps).clamp_min(0).sum()),
        "underconfidence_error": float(gaps.clamp_min(0).sum()),
        "root_mean_square_calibration_error": float(top_label.calibration_error(norm="l2")),
        "maximum_calibration_error": float(top_label.calibration_error(norm="max")),
        "smooth_calibration_error": float(smooth_error(confidence, chance)),
        "classwise_calibration_error": float(by_class.calibration_error().mean()),
        "brier_reliability": float(by_class.calibration_error(norm="l2").square().sum()),
    }
    return dict.fromkeys(errors, 0.0) if name in ("calibrated", "undecided") else errors


def methods(case: Case, seed: int) -> dict[str, tuple[float, float]]:
    """Return the interval of the case's error by each method, from the same draws."""
    logits, other, labels = data(case.classes, case.samples, seed)
    probs = MODELS[case.truth](logits, other).softmax(-1)
    weights = Weights(DRAWS, seed)
    groups = 1 if case.kind == "top_label" else case.classes
    collected: EventDraws | ClassDraws
    if case.kind == "top_label":
        confidence, predicted = probs.max(-1)
        collected = EventDraws(equal_width_edges(BINS), DRAWS)
        for part, block in weights.blocks(torch.arange(case.samples)):
            collected.add(confidence[part], (predicted == labels)[part], block)
    else:
        collected = ClassDraws(groups, BINS, DRAWS)
        for part, block in weights.blocks(torch.arange(case.samples)):
            collected.add(probs[part], labels[part], block)
    model = collected.model()
    error = model.error("l1", groups)
    low, high = percentile_interval((model.gaps.unsqueeze(-1) + model.noise).abs().sum(0) / groups)
    return {
        "inversion": inverted_interval(error),
        "percentile": (low, high),
        "basic": (max(0.0, 2 * error.observed - high), max(0.0, 2 * error.observed - low)),
    }


def covered(case: Case) -> dict[str, Any]:
    """Return how often each method holds the population's error."""
    name = "expected" if case.kind == "top_label" else "classwise"
    value = population(case.classes, case.truth)[f"{name}_calibration_error"]
    counts: dict[str, list[float]] = {}
    for seed in range(case.repetitions):
        for method, (low, high) in methods(case, seed).items():
            count = counts.setdefault(method, [0.0, 0.0, 0.0])
            for i, part in enumerate((low > value, high < value, high - low)):
                count[i] += part / case.repetitions
    shares = {
        method: {
            "coverage": abs(round(1 - above - below, 4)),
            "too high": round(above, 4),
            "too low": round(below, 4),
            "width": round(width, 5),
        }
        for method, (above, below, width) in counts.items()
    }
    return {"population": round(value, 6), "methods": shares}


def numbers_covered(case: Case) -> dict[str, Any]:
    """Return how often each interval of a report holds the population's value."""
    truth = population(case.classes, case.truth)
    counts = dict.fromkeys(truth, 0)
    for seed in range(case.repetitions):
        logits, other, labels = data(case.classes, case.samples, seed)
        generator = torch.Generator().manual_seed(seed)
        options = {"bootstrap": FEWER, "generator": generator}
        report = evaluate(MODELS[case.truth](logits, other), labels, **options)
        for name, value in truth.items():
            estimate = getattr(report, name)
            counts[name] += estimate.low <= value <= estimate.high
    return {
        name: {"population": round(truth[name], 6), "coverage": count / case.repetitions}
        for name, count in counts.items()
    }


def labels_covered(case: Case) -> dict[str, Any]:
    """Return how often each interval of a multi-label report holds the population's value."""
    probs, truth = events(10**6, MANY // 5, case)
    population = BinStatistics.from_scores(probs.T, truth.T, bins=BINS)
    smooth = [smooth_error(p, t) for p, t in zip(probs.T, truth.T, strict=True)]
    squares = population.calibration_error(norm="l2").square().mean()
    values = {
        "expected_calibration_error": float(population.calibration_error().mean()),
        "root_mean_square_calibration_error": float(squares.sqrt()),
        "maximum_calibration_error": float(population.calibration_error(norm="max").amax()),
        "smooth_calibration_error": float(torch.stack(smooth).mean()),
        "brier_reliability": float(squares),
    }
    if case.truth == "calibrated":
        values = dict.fromkeys(values, 0.0)
    counts = dict.fromkeys(values, 0)
    for seed in range(case.repetitions):
        probs, truth = events(seed, case.samples, case)
        generator = torch.Generator().manual_seed(10**7 + seed)
        happened = torch.bernoulli(truth, generator=generator).long()
        report = evaluate_multilabel(probs.logit(), happened, bootstrap=FEWER, generator=generator)
        for name, value in values.items():
            estimate = getattr(report, name)
            counts[name] += estimate.low <= value <= estimate.high
    return {
        name: {"population": round(values[name], 6), "coverage": count / case.repetitions}
        for name, count in counts.items()
    }


def events(seed: int, samples: int, case: Case) -> tuple[Tensor, Tensor]:
    """Return a model's probabilities of labels, most of them rare, and the true ones."""
    logits = 2 * data_logits(seed, samples, case.classes) - 1
    model = MODELS[case.truth](logits, logits)
    return model.sigmoid(), logits.sigmoid()


def data_logits(seed: int, *shape: int) -> Tensor:
    """Return normal numbers."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def images_covered(case: Case) -> dict[str, Any]:
    """Return how often the ECE's interval holds the truth when pixels of an image are alike."""
    value = population(case.classes, case.truth)["expected_calibration_error"]
    counts = {"whole images": 0, "pixels as if independent": 0}
    for seed in range(case.repetitions):
        logits, labels = images(seed, case)
        probs = MODELS[case.truth](logits.flatten(0, 1), logits).softmax(-1)
        layouts = {
            "whole images": (probs.view(logits.shape), labels, -1),
            "pixels as if independent": (probs, labels.flatten(), 1),
        }
        for name, (scores, answers, class_dim) in layouts.items():
            generator = torch.Generator().manual_seed(seed)
            found = estimate_calibration_error(
                scores, answers, class_dim=class_dim, generator=generator
            )
            counts[name] += found.low <= value <= found.high
    shares = {name: {"coverage": round(n / case.repetitions, 4)} for name, n in counts.items()}
    return {"population": round(value, 6), "methods": shares}


def images(seed: int, case: Case) -> tuple[Tensor, Tensor]:
    """Return logits and labels of images: half of a pixel's logits, and of its luck, is shared."""
    generator = torch.Generator().manual_seed(seed)
    shape = (case.samples, 1 + PIXELS, case.classes)
    logits = torch.randn(shape, dtype=torch.float64, generator=generator)
    logits = SCALES[case.classes] * (logits[:, :1] + logits[:, 1:]) / 2**0.5
    luck = torch.rand(case.samples, 1 + PIXELS, dtype=torch.float64, generator=generator)
    shared = torch.rand(case.samples, PIXELS, generator=generator) < 0.5
    luck = torch.where(shared, luck[:, :1], luck[:, 1:])
    below = logits.softmax(-1).cumsum(-1) < luck.unsqueeze(-1)
    return logits, below.sum(-1).clamp_max(case.classes - 1)


def pair_covered(case: Case) -> dict[str, Any]:
    """Return how often a difference is called real, and how often its interval holds the truth."""
    first, second = PAIRS[case.truth]
    a, b = population(case.classes, first), population(case.classes, second)
    truth = {name: a[name] - b[name] for name in a}
    counts = {name: [0, 0] for name in truth}
    for seed in range(case.repetitions):
        logits, other, labels = data(case.classes, case.samples, seed)
        pair = (MODELS[name](logits, other) for name in (first, second))
        generator = torch.Generator().manual_seed(seed)
        found = compare_calibration(*pair, labels, bootstrap=FEWER, generator=generator)
        for name, value in truth.items():
            difference = getattr(found, name)
            counts[name][0] += difference.low <= value <= difference.high
            counts[name][1] += difference.verdict != "no clear difference"
    return {
        name: {
            "population": round(truth[name], 6),
            "coverage": held / case.repetitions,
            "called different": called / case.repetitions,
        }
        for name, (held, called) in counts.items()
    }


def run(case: Case) -> dict[str, Any]:
    """Return what came of a case, as a row of its table."""
    measures = {
        "numbers": numbers_covered,
        "labels": labels_covered,
        "images": images_covered,
        "pairs": pair_covered,
    }
    return key(case) | measures.get(case.kind, covered)(case)


def key(case: Case) -> dict[str, Any]:
    """Return what a row says of its case."""
    row = asdict(case)
    del row["kind"]
    return row


def main() -> None:
    """Simulate case by case and write the record after each; rows that it holds are kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fresh", action="store_true", help="throw the record's rows away")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    content: dict[str, Any] = {
        "command": "python -m benchmarks.interval_coverage",
        "machine": record.machine(),
        "settings": {
            "bins": BINS,
            "draws": DRAWS,
            "draws of whole reports": FEWER,
            "pixels": PIXELS,
            "level": 0.95,
        },
        "results": {},
    }
    if (RECORDS / NAME).exists() and not arguments.fresh:
        content["results"] = read(NAME.removesuffix(".json"))["results"]
    for case in cases():
        rows = content["results"].setdefault(case.kind, [])
        if any(key(case).items() <= row.items() for row in rows):
            continue
        rows.append(run(case))
        print(case.kind, rows[-1], file=sys.stderr, flush=True)
        record.write(RECORDS, NAME, content)
    PAGE.write_text(page(PAGE.read_text()))


if __name__ == "__main__":
    main()
