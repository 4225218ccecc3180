"""Claims of Composer's method card on label smoothing."""

import statistics
import time
from collections.abc import Callable

import torch

from softtargets.claims.arms import Arm
from softtargets.claims.claim import Claim, Measured, Results, Test, levels
from softtargets.claims.intervals import Paired
from softtargets.claims.measures import accuracy, by_seed
from softtargets.claims.ols import points
from softtargets.claims.rule import Rule
from softtargets.claims.runs import Run
from softtargets.claims.tries import MIXUP, MIXUP_LS, hard, smoothed
from softtargets.lab import seeds
from softtargets.lab.networks import network
from softtargets.losses import CrossEntropyLoss
from softtargets.mixing import Mixed, cutmix, mixup
from softtargets.target import Target

PAPER = "MosaicML Composer, method card of label smoothing"


STEPS = 60


def step_cost(run: Run) -> float:
    """Return by how much longer a training step takes with label smoothing, as a share.

    Steps with and without take turns, so that the load of the machine is the same for both; the
    medians are compared. The training times of runs are not, since runs are computed one after the
    other.

    Args:
        run: whose network, data and size of batches are used.
    """
    data, spec = run.data, run.record.spec
    inputs, labels = (
        data.train.take(slice(0, spec.batch_size)),
        data.train.labels[: spec.batch_size],
    )
    model = network(spec, data).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    criteria = (CrossEntropyLoss(), CrossEntropyLoss(0.1))
    seconds: tuple[list[float], ...] = ([], [])
    for _ in range(STEPS):
        for criterion, taken in zip(criteria, seconds, strict=True):
            began = time.perf_counter()
            optimizer.zero_grad()
            criterion(model(inputs), labels).backward()
            optimizer.step()
            taken.append(time.perf_counter() - began)
    without, smooth = map(statistics.median, seconds)
    return smooth / without - 1


def _accuracy(results: Results) -> Measured:
    found = {name: accuracy(results.runs(name)) for name in results.arms}
    return Measured(
        {
            "confident": found["LS"] - found["hard"],
            "easy": found["LS, easy"] - found["hard, easy"],
            "time": by_seed(results.runs("hard"), step_cost),
        },
        (levels("accuracy, %", found, scale=100),),
    )


ACCURACY = Claim(
    name="composer.accuracy",
    paper=PAPER,
    statement="Label smoothing improves accuracy on every image benchmark, at negligible cost.",
    figures=(),
    arms=(
        hard(),
        smoothed(),
        hard(name="hard, easy", scene="easy"),
        smoothed(name="LS, easy", scene="easy"),
    ),
    tests=(
        points("confident", "accuracy, LS − hard labels, harder data", Rule.greater()),
        points("easy", "accuracy, LS − hard labels, easy data", Rule.greater()),
        Test(
            name="time",
            says="time of a training step, LS over hard labels, less 1, steps taking turns",
            rule=Rule(below=0.05),
            scale=100,
            unit="%",
        ),
    ),
    measure=_accuracy,
)


def order_gap(seed: int) -> float:
    """Return how far mixing then LS is from LS then mixing, in the largest entry of a target.

    The larger of the two gaps, of MixUp and of CutMix.

    Args:
        seed: of labels, partners and weights of 1,000 targets.
    """
    generator = seeds.generator("claims", "mixup", seed)
    labels = torch.randint(10, (1000,), generator=generator)
    inputs, plain = torch.zeros(1000, 8, 8), Target.from_labels(labels, 10)

    def mixed(mix: Callable[..., Mixed], target: Target) -> Target:
        drawn = seeds.generator("claims", "mixup", seed, "weights")
        return mix(inputs, target, alpha=0.2, generator=drawn).target

    gaps = (
        mixed(mix, plain).smooth(0.1).dense() - mixed(mix, plain.smooth(0.1)).dense()
        for mix in (mixup, cutmix)
    )
    return max(float(gap.abs().max()) for gap in gaps)


def _mixup(results: Results) -> Measured:
    found = {name: accuracy(results.runs(name)) for name in results.arms}
    return Measured(
        {
            "order": Paired.fixed([order_gap(seed) for seed in results.budget.seeds]),
            "both - MixUp": found["MixUp + LS"] - found["MixUp"],
            "both - LS": found["MixUp + LS"] - found["LS"],
        },
        (levels("accuracy, %", found, scale=100),),
    )


MIXING = Claim(
    name="composer.mixup",
    paper=PAPER,
    statement="Label smoothing goes together with MixUp and CutMix: the order does not matter, and "
    "with MixUp both together are no worse than either.",
    figures=(),
    arms=(
        smoothed(),
        Arm(name="MixUp", method="mixup", tries=MIXUP),
        Arm(name="MixUp + LS", method="mixup-ls", tries=MIXUP_LS),
    ),
    tests=(
        Test(
            name="order",
            says="largest difference between the targets of the two orders, MixUp and CutMix",
            rule=Rule.within(1e-6),
        ),
        points("both - MixUp", "accuracy, MixUp with LS − MixUp", Rule.greater(-0.005)),
        points("both - LS", "accuracy, MixUp with LS − LS", Rule.greater(-0.005)),
    ),
    measure=_mixup,
)

CLAIMS = (ACCURACY, MIXING)
