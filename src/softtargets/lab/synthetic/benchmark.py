"""The benchmark: draws in groups, each method's trials of a group trained as one tensor program."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor

from softtargets.calibration import TemperatureScaling
from softtargets.lab.data import DataSet, two_gaussians, two_gaussians_dense, two_gaussians_probs
from softtargets.lab.models import build
from softtargets.lab.records import environment
from softtargets.lab.synthetic.networks import Lesson, Networks, Schooling, Trained, train
from softtargets.lab.synthetic.record import (
    VARIANTS,
    Column,
    SurfaceRecord,
    SyntheticRecord,
    Variant,
    empty_metrics,
)
from softtargets.lab.synthetic.scores import scores
from softtargets.lab.synthetic.trials import METHODS, Trial, stacked_targets, trials
from softtargets.losses import cross_entropy

HIDDEN = (64,) * 5
SURFACE_P1 = (0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.975)
SURFACE_P2 = (0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0)
_STARTS = 1000  # more than a draw has initial weights


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draw:
    """One draw: its samples and its teacher, logits of the training samples and temperature."""

    number: int
    data: DataSet
    teacher: tuple[Tensor, float] | None = None

    def part(self, name: str) -> tuple[Tensor, Tensor]:
        split = getattr(self.data, name)
        return split.take(slice(None)), split.labels

    def network(self, start: int) -> torch.nn.Module:
        return build("mlp", (2,), 3, _STARTS * self.number + start, hidden=HIDDEN)


def run(
    draws: Sequence[int],
    *,
    methods: Sequence[str] = METHODS,
    budget: int | None = 30,
    group: int = 5,
    schooling: Schooling | None = None,
    command: str = "",
) -> SyntheticRecord:
    """Train, choose and measure every method on every draw.

    Of each method's trials on a draw, the one of least validation NLL is kept; "scaled": of least
    validation NLL once each has the temperature that suits it best. The teacher of a draw is the
    network trained on its hard labels from its first initial weights.

    Args:
        draws: their numbers.
        methods: which; "hard" is trained in any case.
        budget: networks for each method and draw, see `trials`; None: the paper's grids.
        group: how many draws are trained together; numbers do not depend on it, but for rounding.
        schooling: how networks are trained; None: as in the paper.
        command: kept in the record.
    """
    began, schooling = time.perf_counter(), schooling or Schooling()
    columns = {method: {variant: _empty_column() for variant in VARIANTS} for method in methods}
    bayes = empty_metrics()
    for first in range(0, len(draws), group):
        numbers = draws[first : first + group]
        together = [_Draw(number=each, data=two_gaussians(each)) for each in numbers]
        together = [_taught(draw, schooling) for draw in together]
        for draw in together:
            _append(bayes, _bayes_scores(draw))
        for method in methods:
            tried = [trials(method, draw.number, budget) for draw in together]
            trained = _trained(method, together, tried, schooling)
            for draw, its, networks in zip(together, tried, trained, strict=True):
                _choose(draw, its, networks, columns[method])
    return SyntheticRecord(
        command=command,
        environment=environment(),
        seconds=time.perf_counter() - began,
        budget=budget,
        draws=list(draws),
        bayes=bayes,
        methods=columns,
    )


def surface(
    draws: Sequence[int],
    *,
    p1: Sequence[float] = SURFACE_P1,
    p2: Sequence[float] = SURFACE_P2,
    max_rate: float = 1.0,
    group: int = 2,
    schooling: Schooling | None = None,
    command: str = "",
) -> SurfaceRecord:
    """Measure the test NLL of ILS1 for each pair of its parameters, nothing chosen.

    Args:
        draws: their numbers.
        p1: the probabilities that need no smoothing.
        p2: the curvatures.
        max_rate: the bound on the amount of smoothing; 1 is next to none.
        group: how many draws are trained together.
        schooling: how networks are trained; None: as in the paper.
        command: kept in the record.
    """
    began, schooling = time.perf_counter(), schooling or Schooling()
    tried = [
        Trial(settings={"p1": first, "p2": second, "max_rate": max_rate})
        for first, second in product(p1, p2)
    ]
    tables: list[list[list[float]]] = []
    for first in range(0, len(draws), group):
        numbers = draws[first : first + group]
        together = [_Draw(number=each, data=two_gaussians(each)) for each in numbers]
        together = [_taught(draw, schooling) for draw in together]
        trained = _trained("ils1", together, [tried] * len(together), schooling)
        for draw, networks in zip(together, trained, strict=True):
            inputs, labels = draw.part("test")
            losses = torch.stack(
                [
                    cross_entropy(
                        networks.networks.take(torch.tensor([i])).logits(inputs[None])[0], labels
                    )
                    for i in range(len(tried))
                ]
            )
            tables.append(losses.view(len(p1), len(p2)).tolist())
    return SurfaceRecord(
        command=command,
        environment=environment(),
        seconds=time.perf_counter() - began,
        draws=list(draws),
        p1=list(p1),
        p2=list(p2),
        nll=tables,
        max_rate=max_rate,
    )


def _taught(draw: _Draw, schooling: Schooling) -> _Draw:
    """The draw with its teacher."""
    (trained,) = _trained("hard", [draw], [[Trial(settings={})]], schooling)
    said = {
        name: trained.networks.logits(draw.part(name)[0][None])[0]
        for name in ("train", "validation")
    }
    scaling = TemperatureScaling().fit(said["validation"], draw.data.validation.labels)
    return replace(draw, teacher=(said["train"], float(scaling.temperature)))


def _trained(
    method: str, draws: Sequence[_Draw], tried: Sequence[Sequence[Trial]], schooling: Schooling
) -> list[Trained]:
    """Train all trials of all draws together, and return them by draw."""
    lessons = []
    for draw, its in zip(draws, tried, strict=True):
        inputs, labels = draw.part("train")
        held_out, truth = draw.part("validation")
        wanted = stacked_targets(method, its, labels, draw.teacher)
        lessons.append(
            Lesson(
                inputs.expand(len(its), -1, -1),
                wanted.to(inputs.dtype),
                held_out.expand(len(its), -1, -1),
                truth.expand(len(its), -1),
            )
        )
    starts = [
        draw.network(trial.start) for draw, its in zip(draws, tried, strict=True) for trial in its
    ]
    whole = train(Networks.stacked(starts), Lesson.joined(lessons), schooling)
    places = torch.split(torch.arange(len(starts)), [len(its) for its in tried])
    return [
        Trained(whole.networks.take(at), whole.validation_nll[at], whole.epochs[at])
        for at in places
    ]


def _choose(
    draw: _Draw, tried: Sequence[Trial], trained: Trained, columns: dict[Variant, Column]
) -> None:
    """Add the best trial of a draw to the columns, as trained and scaled."""
    inputs, labels = draw.part("validation")
    said = trained.networks.logits(inputs.expand(len(tried), -1, -1))
    fitted = [float(TemperatureScaling().fit(each, labels).temperature) for each in said]
    for variant, column in columns.items():
        temperatures = fitted if variant == "scaled" else [1.0] * len(tried)
        losses = [
            float(cross_entropy(each.double() / temperature, labels))
            for each, temperature in zip(said, temperatures, strict=True)
        ]
        place = min(range(len(tried)), key=losses.__getitem__)
        column.validation_nll.append(losses[place])
        column.temperatures.append(temperatures[place])
        column.settings.append(tried[place].settings)
        column.starts.append(tried[place].start)
        column.epochs.append(int(trained.epochs[place]))
        best = trained.networks.take(torch.tensor([place]))
        _append(column.metrics, _test_scores(draw, best, temperatures[place]))


def _test_scores(draw: _Draw, network: Networks, temperature: float) -> dict[str, float]:
    inputs, labels = draw.part("test")
    logits = network.logits(inputs[None])[0].double()
    return scores(logits / temperature, labels, two_gaussians_dense(draw.number))


def _bayes_scores(draw: _Draw) -> dict[str, float]:
    inputs, labels = draw.part("test")
    probs = two_gaussians_probs(inputs * draw.data.deviation + draw.data.mean)
    return scores(probs.log(), labels, two_gaussians_dense(draw.number))


def _empty_column() -> Column:
    return Column(
        metrics=empty_metrics(),
        validation_nll=[],
        temperatures=[],
        settings=[],
        starts=[],
        epochs=[],
    )


def _append(lists: dict[str, list[float]], values: dict[str, float]) -> None:
    for name, value in values.items():
        lists[name].append(value)
