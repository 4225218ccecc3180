"""Claims on what label smoothing costs, and on what repairs it: selection and transfer."""

import torch
from torch import Tensor

from softtargets.calibration import LogitNormScore
from softtargets.claims.arms import Arm
from softtargets.claims.claim import Claim, Measured, Quoted, Results, levels
from softtargets.claims.intervals import Paired
from softtargets.claims.measures import confidence, risk_coverage_area, sample_mean
from softtargets.claims.ols import points
from softtargets.claims.rule import Rule
from softtargets.claims.runs import Run
from softtargets.claims.tries import DEFAULT_HARD, DEFAULT_LS, MAXSUP, hard, smoothed
from softtargets.representation import linear_probe

XIA = "Xia et al., Towards Understanding Why Label Smoothing Degrades Selective Classification, "
XIA += "ICLR 2025"


def _normalised(run: Run) -> Tensor:
    score = LogitNormScore().fit(run.validation_logits, run.validation_labels)
    return score(run.test_logits)


def _selective(results: Results) -> Measured:
    plain, smooth = results.runs(DEFAULT_HARD.name), results.runs(DEFAULT_LS.name)
    found = {
        "hard": risk_coverage_area(plain, confidence),
        "LS": risk_coverage_area(smooth, confidence),
        "LS, normalised logits": risk_coverage_area(smooth, _normalised),
    }
    return Measured(
        {
            "LS - hard": found["LS"] - found["hard"],
            "normalised - LS": found["LS, normalised logits"] - found["LS"],
            "normalised - hard": found["LS, normalised logits"] - found["hard"],
        },
        (levels("AURC, %", found, scale=100),),
    )


SELECTIVE = Claim(
    name="xia.selective",
    paper=XIA,
    statement="Label smoothing makes it harder to tell right predictions from wrong ones by their "
    "confidence; normalising the logits repairs that.",
    figures=(
        Quoted(
            setting="ImageNet, ResNet-50",
            measure="AURC, %",
            values={"hard": 6.53, "LS": 7.55, "LS, normalised logits": 6.22},
        ),
    ),
    arms=(DEFAULT_HARD, DEFAULT_LS),
    tests=(
        points("LS - hard", "AURC, LS − hard labels, by confidence", Rule.greater()),
        points("normalised - LS", "AURC of LS, normalised logits − confidence", Rule.less()),
        points(
            "normalised - hard",
            "AURC, LS with normalised logits − hard labels by confidence, not above by half a "
            "point",
            Rule(below=0.005),
        ),
    ),
    measure=_selective,
)

MAXSUP_PAPER = "Zhou et al., MaxSup: Overcoming Representation Collapse in Label Smoothing, 2025"


PENALTIES = (1e-1, 1e-2, 1e-3, 1e-4)


def transferred(results: Results, name: str) -> Paired:
    """Return the accuracy of a linear probe for the classes the network has never seen.

    Args:
        results: of a claim on the scene "part".
        name: of the arm.
    """
    scene = results.budget.scenes["part"]
    train, test = results.planner.sources.others(scene.data)
    places = torch.arange(len(train.labels))
    held = places % 4 == 0  # to choose the probe's penalty by

    def hits(run: Run) -> Tensor:
        learned = run.features(train.take(slice(None)))
        probe = linear_probe(
            learned[~held],
            train.labels[~held],
            learned[held],
            train.labels[held],
            penalties=PENALTIES,
        )
        return probe.logits(run.features(test.take(slice(None)))).argmax(-1) == test.labels

    return sample_mean(results.runs(name), hits)


def _transfer(results: Results) -> Measured:
    found = {name: transferred(results, name) for name in results.arms}
    return Measured(
        {
            "LS - hard": found["LS"] - found["hard"],
            "MaxSup - LS": found["MaxSup"] - found["LS"],
            "MaxSup - hard": found["MaxSup"] - found["hard"],
        },
        (levels("accuracy of a linear probe on other classes, %", found, scale=100),),
    )


TRANSFER = Claim(
    name="maxsup.transfer",
    paper=MAXSUP_PAPER,
    statement="Features of a network trained with label smoothing are worse for other classes; "
    "max suppression keeps what hard labels have.",
    figures=(
        Quoted(
            setting="linear probe on other data",
            measure="accuracy, %",
            values={"hard": 81.43, "LS": 74.58, "MaxSup": 81.02},
        ),
    ),
    arms=(
        hard(scene="part"),
        smoothed(scene="part"),
        Arm(name="MaxSup", method="maxsup", tries=MAXSUP, scene="part"),
    ),
    tests=(
        points("LS - hard", "accuracy of the probe, LS − hard labels", Rule.less()),
        points("MaxSup - LS", "accuracy of the probe, MaxSup − LS", Rule.greater()),
        points(
            "MaxSup - hard",
            "accuracy of the probe, MaxSup − hard labels, not lower by one point",
            Rule.greater(-0.01),
        ),
    ),
    measure=_transfer,
)

CLAIMS: tuple[Claim, ...] = (SELECTIVE, TRANSFER)
