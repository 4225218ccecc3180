"""Claims of Composer's method card on label smoothing."""

import torch

from softtargets.claims.arms import Arm
from softtargets.claims.claim import Claim, Measured, Results, Test, levels
from softtargets.claims.intervals import Paired
from softtargets.claims.measures import accuracy
from softtargets.claims.ols import points
from softtargets.claims.rule import Rule
from softtargets.claims.tries import MIXUP, MIXUP_LS, hard, smoothed
from softtargets.lab import seeds
from softtargets.mixing import mixup
from softtargets.target import Target

PAPER = "MosaicML Composer, method card of label smoothing"


def _accuracy(results: Results) -> Measured:
    found = {name: accuracy(results.runs(name)) for name in results.arms}
    seconds = {name: [run.record.seconds for run in results.runs(name)] for name in ("hard", "LS")}
    ratios = [ours / base - 1 for ours, base in zip(seconds["LS"], seconds["hard"], strict=True)]
    return Measured(
        {
            "confident": found["LS"] - found["hard"],
            "easy": found["LS, easy"] - found["hard, easy"],
            "time": Paired.fixed(ratios),
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
            says="training time, LS over hard labels, less 1",
            rule=Rule(below=0.05),
            scale=100,
            unit="%",
        ),
    ),
    measure=_accuracy,
)


def order_gap(seed: int) -> float:
    """Return how far MixUp then LS is from LS then MixUp, in the largest entry of a target.

    Args:
        seed: of labels, partners and weights of 1,000 targets.
    """
    generator = seeds.generator("claims", "mixup", seed)
    labels = torch.randint(10, (1000,), generator=generator)
    inputs = torch.zeros(1000, 1)

    def mixed(target: Target) -> Target:
        drawn = seeds.generator("claims", "mixup", seed, "weights")
        return mixup(inputs, target, alpha=0.2, generator=drawn)[1]

    plain = Target.from_labels(labels, 10)
    return float((mixed(plain).smooth(0.1).dense() - mixed(plain.smooth(0.1)).dense()).abs().max())


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
    statement="Label smoothing goes together with MixUp: the order does not matter, and both "
    "together are no worse than either.",
    figures=(),
    arms=(
        smoothed(),
        Arm(name="MixUp", method="mixup", tries=MIXUP),
        Arm(name="MixUp + LS", method="mixup-ls", tries=MIXUP_LS),
    ),
    tests=(
        Test(
            name="order",
            says="largest difference between the targets of the two orders",
            rule=Rule.within(1e-6),
        ),
        points("both - MixUp", "accuracy, MixUp with LS − MixUp", Rule.greater(-0.005)),
        points("both - LS", "accuracy, MixUp with LS − LS", Rule.greater(-0.005)),
    ),
    measure=_mixup,
)

CLAIMS = (ACCURACY, MIXING)
