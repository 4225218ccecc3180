"""Claims of "When Does Label Smoothing Help?" on the layer before the last."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from softtargets.claims.arms import Arm, Try
from softtargets.claims.claim import Claim, Measured, Quoted, Results, Test, levels, lines
from softtargets.claims.intervals import Paired
from softtargets.claims.measures import by_seed
from softtargets.claims.mueller import PAPER
from softtargets.claims.record import Panel, Series
from softtargets.claims.rule import Rule
from softtargets.claims.runs import Run
from softtargets.claims.tries import DEFAULT_HARD, DEFAULT_LS
from softtargets.lab import seeds
from softtargets.lab.data import augment
from softtargets.representation import (
    PenultimateProjection,
    class_separation,
    logit_mutual_information,
    penultimate_projection,
)

SHOWN = (0, 6, 1)  # of Fashion-MNIST: T-shirt and shirt, which are alike, and trousers
PER_CLASS = 25


def _scatter(run: Run) -> float:
    return _spread(run.features(run.data.test.take(slice(None))), run.test_labels)


def _spread(features: Tensor, labels: Tensor) -> float:
    found = class_separation(features, labels)
    return math.log(found.within_scatter / found.between_scatter)


def _irregularity(run: Run) -> float:
    """How unequal the distances of the classes' templates are: deviation over mean."""
    weight, bias = run.last_layer
    sides = torch.pdist(torch.cat([weight, bias.unsqueeze(-1)], -1).double())
    return float(sides.std() / sides.mean())


def _seen(run: Run, part: str) -> PenultimateProjection:
    split = getattr(run.data, part)
    features = run.features(split.take(slice(None)))
    return penultimate_projection(features, *run.last_layer, SHOWN, split.labels)


def _spread_as_shown(runs: Sequence[Run], part: str) -> Paired:
    projections = [_seen(run, part) for run in runs]
    return Paired.fixed([_spread(seen.coordinates, seen.labels) for seen in projections])


def _projected(run: Run, part: str, title: str) -> Panel:
    seen = _seen(run, part)
    series = []
    for label in SHOWN:
        rows = [
            [round(each, 2) for each in row]
            for row in seen.coordinates[seen.labels == label][:PER_CLASS].tolist()
        ]
        x, y = zip(*rows, strict=True)
        series.append(Series(label=f"class {label}", x=list(x), y=list(y)))
    return Panel(title=title, kind="points", series=series)


def _clusters(results: Results) -> Measured:
    plain, smooth = results.runs(DEFAULT_HARD.name), results.runs(DEFAULT_LS.name)
    found = {"hard": by_seed(plain, _scatter), "LS": by_seed(smooth, _scatter)}
    whole = {f"{method}, test, whole layer": value for method, value in found.items()}
    parts, methods = {"train": "training", "test": "test"}, {"hard": plain, "LS": smooth}
    shown = {
        f"{method}, {words}, plane of three templates": _spread_as_shown(runs, part)
        for part, words in parts.items()
        for method, runs in methods.items()
    }
    return Measured(
        {
            "scatter": found["LS"] - found["hard"],
            "sides": by_seed(smooth, _irregularity) - by_seed(plain, _irregularity),
        },
        (
            levels("logarithm of scatter within over between classes", whole | shown),
            *(
                _projected(runs[0], part, f"{method}, {words} samples")
                for part, words in parts.items()
                for method, runs in methods.items()
            ),
        ),
    )


CLUSTERS = Claim(
    name="mueller.clusters",
    paper=PAPER,
    statement="Label smoothing draws the features of each class together and puts the classes at "
    "equal distances.",
    figures=(Quoted(setting="Figure 1", measure="pictures alone"),),
    arms=(DEFAULT_HARD, DEFAULT_LS),
    tests=(
        Test(
            name="scatter",
            says="logarithm of scatter within classes over scatter between them, LS − hard labels",
            rule=Rule.less(0.1),
        ),
        Test(
            name="sides",
            says="relative spread of the distances between classes' templates, LS − hard labels",
            rule=Rule.less(),
        ),
    ),
    measure=_clusters,
)

PAIR = (0, 6)
DRAWS, SAMPLES = 20, 150  # of the augmentation, and per class
SHARES = (0.1, 0.3, 1.0)
JITTER = "shift"
CONSTANT = {"schedule": "constant", "augment": JITTER, "learning_rate": 0.02}


def information(run: Run) -> float:
    """Return what the difference of two logits says about which training sample it is, in nats.

    Args:
        run: whose network sees samples of two classes, jittered anew in each draw.
    """
    labels = run.data.train.labels
    chosen = torch.cat([(labels == k).nonzero()[:SAMPLES, 0] for k in PAIR])
    inputs = run.data.train.take(chosen)
    draws = [
        run.logits(augment(JITTER, inputs, seeds.generator("claims", "jitter", draw)))
        for draw in range(DRAWS)
    ]
    return logit_mutual_information(draws, PAIR)


def _information(results: Results) -> Measured:
    found: dict[str, dict[float, Paired]] = {
        method: {share: by_seed(results.runs(_at(method, share)), information) for share in SHARES}
        for method in ("hard", "LS")
    }
    last = {method: each[1.0] for method, each in found.items()}
    half_bit = Paired.fixed([math.log(2)] * len(results.budget.seeds))
    return Measured(
        {
            "LS - hard": last["LS"] - last["hard"],
            "LS - log 2": last["LS"] - half_bit,
            "fall": last["LS"] - found["LS"][0.3],
        },
        (
            lines("mutual information, nats", "share of the epochs", found),
            levels("at the end, nats", last),
        ),
    )


def _at(method: str, share: float) -> str:
    return f"{method}, {share:g} of the epochs"


INFORMATION = Claim(
    name="mueller.information",
    paper=PAPER,
    statement="Label smoothing erases what logits say of the resemblance between samples: their "
    "mutual information falls towards log 2 as training goes on.",
    figures=(
        Quoted(setting="Figure 6", measure="a curve that falls towards log 2"),
        Quoted(setting="Figure 6", measure="could not be reproduced", origin="replication"),
    ),
    arms=tuple(
        Arm(
            name=_at(method, share),
            method=key,
            tries=(Try(parameters=parameters, fields=CONSTANT),),
            share=share,
        )
        for share in SHARES
        for method, key, parameters in (("hard", "hard", {}), ("LS", "ls", {"rate": 0.1}))
    ),
    tests=(
        Test(
            name="LS - hard",
            says="mutual information at the end, LS − hard labels",
            rule=Rule.less(0.1),
            unit="nats",
        ),
        Test(
            name="LS - log 2",
            says="mutual information of LS at the end − log 2, at most half of log 2 in size",
            rule=Rule.within(math.log(2) / 2),
            unit="nats",
        ),
        Test(
            name="fall",
            says="mutual information of LS, at the end − after three tenths of the epochs",
            rule=Rule.less(),
            unit="nats",
        ),
    ),
    measure=_information,
)

CLAIMS = (CLUSTERS, INFORMATION)
