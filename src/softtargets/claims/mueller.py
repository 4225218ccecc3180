"""Claims of "When Does Label Smoothing Help?" on accuracy, calibration and speed."""

from torch import Tensor

from softtargets.claims.claim import Claim, Measured, Quoted, Results, Test, levels, lines
from softtargets.claims.intervals import Paired
from softtargets.claims.measures import accuracy, by_seed, calibration_error, sample_mean
from softtargets.claims.rule import Rule
from softtargets.claims.runs import Run
from softtargets.claims.tries import HARD, LS, hard, smoothed

PAPER = "Müller, Kornblith and Hinton, When Does Label Smoothing Help?, NeurIPS 2019"
CIFAR100 = "CIFAR-100, ResNet-56"
REACHED = 0.99  # of the hard labels' own last validation accuracy: what "learned" means
RATE = 0.1


def _calibration(results: Results) -> Measured:
    plain, rest = results.runs("hard"), results.runs("LS")
    found = {
        "hard": calibration_error(plain),
        "hard + TS": calibration_error(plain, scaled=True),
        "LS": calibration_error(rest),
    }
    return Measured(
        {
            "over-confident": sample_mean(plain, _overconfidence),
            "LS - hard": found["LS"] - found["hard"],
            "LS - TS": found["LS"] - found["hard + TS"],
        },
        (levels("debiased ECE, %", found, scale=100),),
    )


def _overconfidence(run: Run) -> Tensor:
    sure, predicted = run.test_logits.softmax(-1).max(-1)
    return sure - (predicted == run.test_labels).double()


CALIBRATION = Claim(
    name="mueller.calibration",
    paper=PAPER,
    statement="Where a network is over-confident, label smoothing lowers its calibration error, "
    "about as much as temperature scaling does.",
    figures=(
        Quoted(
            setting=CIFAR100,
            measure="ECE",
            values={"hard": 0.150, "LS 0.05": 0.024, "TS": 0.021},
        ),
        Quoted(
            setting="ImageNet, Inception-v4",
            measure="ECE",
            values={"hard": 0.071, "LS": 0.035, "TS": 0.022},
        ),
        Quoted(
            setting="English to German",
            measure="ECE",
            values={"hard": 0.056, "LS": 0.019, "TS": 0.018},
        ),
        Quoted(
            setting="CIFAR-100",
            measure="ECE",
            values={"hard": 0.207, "LS": 0.053, "TS": 0.029},
            origin="replication",
        ),
    ),
    arms=(hard(by="nll"), smoothed(by="nll")),
    tests=(
        Test(
            name="over-confident",
            says="confidence − accuracy of hard labels",
            rule=Rule.greater(0.02),
            scale=100,
            unit="points",
            condition=True,
        ),
        Test(
            name="LS - hard",
            says="ECE, LS − hard labels",
            rule=Rule.less(0.01),
            scale=100,
            unit="points",
        ),
        Test(
            name="LS - TS",
            says="ECE, LS − temperature scaling of hard labels",
            rule=Rule.within(0.02),
            scale=100,
            unit="points",
        ),
    ),
    measure=_calibration,
)


def _underconfident(results: Results) -> Measured:
    found = {name: calibration_error(results.runs(name)) for name in ("hard", "LS")}
    return Measured(
        {"calibrated": found["hard"], "LS - hard": found["LS"] - found["hard"]},
        (levels("debiased ECE, %", found, scale=100),),
    )


UNDERCONFIDENT = Claim(
    name="mueller.underconfident",
    paper=PAPER,
    statement="Where a network is calibrated as it is, label smoothing of rate a raises its "
    "calibration error by about a.",
    figures=(
        Quoted(
            setting="MNIST, a = 0.1",
            measure="ECE",
            values={"hard": 0.002, "LS": 0.102},
            origin="replication",
        ),
    ),
    arms=(hard(tries=HARD[:1], scene="easy"), smoothed(tries=LS[:1], scene="easy")),
    tests=(
        Test(
            name="calibrated",
            says="ECE of hard labels",
            rule=Rule(below=0.025),
            scale=100,
            unit="points",
            condition=True,
        ),
        Test(
            name="LS - hard",
            says="ECE, LS of rate 0.1 − hard labels",
            rule=Rule(above=RATE / 2, below=3 * RATE / 2),
            scale=100,
            unit="points",
        ),
    ),
    measure=_underconfident,
)


def _accuracy(results: Results) -> Measured:
    found = {name: accuracy(results.runs(name)) for name in results.arms}
    return Measured(
        {
            "confident": found["LS"] - found["hard"],
            "easy": found["LS, easy"] - found["hard, easy"],
        },
        (levels("accuracy, %", found, scale=100),),
    )


ACCURACY = Claim(
    name="mueller.accuracy",
    paper=PAPER,
    statement="Label smoothing keeps accuracy or improves it.",
    figures=(
        Quoted(setting=CIFAR100, measure="accuracy, %", values={"hard": 72.1, "LS": 72.7}),
        Quoted(setting="CIFAR-10", measure="accuracy, %", values={"hard": 86.8, "LS": 86.7}),
        Quoted(setting="ImageNet", measure="accuracy, %", values={"hard": 80.9, "LS": 80.9}),
    ),
    arms=(
        hard(),
        smoothed(),
        hard(name="hard, easy", scene="easy"),
        smoothed(name="LS, easy", scene="easy"),
    ),
    tests=tuple(
        Test(
            name=name,
            says=f"accuracy, LS − hard labels, {data}",
            rule=Rule.greater(-0.005),
            scale=100,
            unit="points",
        )
        for name, data in (("confident", "harder data"), ("easy", "easy data"))
    ),
    measure=_accuracy,
)


def _speed(results: Results) -> Measured:
    plain, rest = results.runs("hard"), results.runs("LS")
    goals = [REACHED * run.record.history[-1].validation_accuracy for run in plain]
    epochs = {
        name: Paired.fixed([_epochs_to(goal, run) for goal, run in zip(goals, runs, strict=True)])
        for name, runs in (("hard", plain), ("LS", rest))
    }
    curves = {
        name: {
            float(epoch + 1): by_seed(
                runs,
                lambda run, epoch=epoch: run.record.history[epoch].validation_accuracy,  # type: ignore[misc]
            )
            for epoch in range(len(runs[0].record.history))
        }
        for name, runs in (("hard", plain), ("LS", rest))
    }
    return Measured(
        {"LS - hard": epochs["LS"] - epochs["hard"]},
        (
            lines("validation accuracy, %", "epoch", curves, scale=100),
            levels("epochs to 99 % of the hard labels' last accuracy", epochs),
        ),
    )


def _epochs_to(goal: float, run: Run) -> float:
    """The first epoch that reaches the accuracy; one more than there are if none does."""
    reached = [epoch.validation_accuracy >= goal for epoch in run.record.history]
    return float(1 + reached.index(True)) if any(reached) else float(1 + len(reached))


SPEED = Claim(
    name="mueller.speed",
    paper=PAPER,
    statement="With label smoothing a network learns faster.",
    figures=(),
    arms=(hard(), smoothed()),
    tests=(
        Test(
            name="LS - hard",
            says="epochs until 99 % of the hard labels' last validation accuracy, LS − hard labels",
            rule=Rule.less(),
            unit="epochs",
        ),
    ),
    measure=_speed,
)

CLAIMS = (CALIBRATION, UNDERCONFIDENT, ACCURACY, SPEED)
