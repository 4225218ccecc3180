"""Claims of "Delving Deep into Label Smoothing" on online label smoothing."""

from softtargets.claims.arms import Arm, Try
from softtargets.claims.claim import Claim, Measured, Quoted, Results, Test, levels, lines
from softtargets.claims.intervals import Paired, mean
from softtargets.claims.measures import accuracy, calibration_error
from softtargets.claims.rule import Rule
from softtargets.claims.tries import OLS, hard, online, smoothed

PAPER = "Zhang et al., Delving Deep into Label Smoothing, IEEE TIP 2021"
NETWORK = "CIFAR-100, ResNet-56"
RATES = (0.2, 0.4, 0.6, 0.8)


def points(name: str, says: str, rule: Rule) -> Test:
    """Return a test of a difference of shares."""
    return Test(name=name, says=says, rule=rule, scale=100, unit="points")


def _accuracy(results: Results) -> Measured:
    found = {name: accuracy(results.runs(name)) for name in results.arms}
    return Measured(
        {"OLS - LS": found["OLS"] - found["LS"], "LS - hard": found["LS"] - found["hard"]},
        (levels("accuracy, %", found, scale=100),),
    )


ACCURACY = Claim(
    name="ols.accuracy",
    paper=PAPER,
    statement="Online label smoothing makes fewer errors than label smoothing, and that fewer than "
    "hard labels.",
    figures=(
        Quoted(
            setting=NETWORK,
            measure="error, %",
            values={"hard": 26.81, "LS": 26.37, "OLS": 25.24},
            origin="secondary source",
        ),
        Quoted(
            setting="CIFAR-100, ResNeXt29-2x64d",
            measure="error, %",
            values={"hard": 20.92, "LS": 20.34, "OLS": 18.81},
            origin="secondary source",
        ),
        Quoted(
            setting="ImageNet, ResNet-50",
            measure="error, %",
            values={"hard": 23.68, "LS": 22.82, "OLS": 22.28},
            origin="secondary source",
        ),
        Quoted(
            setting="CUB-200-2011, ResNet-50",
            measure="error, %",
            values={"hard": 19.19, "LS": 18.11, "OLS": 17.53},
        ),
    ),
    arms=(hard(), smoothed(), online()),
    tests=(
        points("OLS - LS", "accuracy, OLS − LS", Rule.greater()),
        points("LS - hard", "accuracy, LS − hard labels", Rule.greater()),
    ),
    measure=_accuracy,
)


def _at(method: str, rate: float) -> str:
    return f"{method}, {100 * rate:g} % wrong"


def _noise(results: Results) -> Measured:
    found = {
        method: {rate: accuracy(results.runs(_at(method, rate))) for rate in RATES}
        for method in ("hard", "LS", "OLS")
    }
    average = {method: mean(list(each.values())) for method, each in found.items()}
    return Measured(
        {
            "OLS - hard": average["OLS"] - average["hard"],
            "OLS - LS": average["OLS"] - average["LS"],
        },
        (lines("accuracy, %", "share of wrong labels", found, scale=100),),
    )


NOISE = Claim(
    name="ols.noise",
    paper=PAPER,
    statement="With wrong labels, online label smoothing is the most robust of the three.",
    figures=(
        Quoted(
            setting=f"{NETWORK}, 40 % symmetric noise",
            measure="error, %",
            values={"hard": 47.07, "LS": 43.99, "OLS": 38.86},
            origin="secondary source",
        ),
    ),
    arms=tuple(
        make(name=_at(method, rate), noise=rate)
        for rate in RATES
        for method, make in (("hard", hard), ("LS", smoothed), ("OLS", online))
    ),
    tests=tuple(
        points(
            f"OLS - {other}",
            f"accuracy, OLS − {words}, mean of 20, 40, 60 and 80 % wrong labels",
            Rule.greater(),
        )
        for other, words in (("hard", "hard labels"), ("LS", "LS"))
    ),
    measure=_noise,
)


def _calibration(results: Results) -> Measured:
    found = {name: calibration_error(results.runs(name)) for name in results.arms}
    return Measured(
        {f"OLS - {name}": found["OLS"] - found[name] for name in ("hard", "LS")},
        (levels("debiased ECE, %", found, scale=100),),
    )


CALIBRATION = Claim(
    name="ols.calibration",
    paper=PAPER,
    statement="Online label smoothing calibrates better than label smoothing and hard labels.",
    figures=(
        Quoted(
            setting=NETWORK,
            measure="ECE, %",
            values={"hard": 11.37, "LS": 3.35, "OLS": 2.85},
            origin="secondary source",
        ),
    ),
    arms=(hard(by="nll"), smoothed(by="nll"), online(by="nll")),
    tests=(
        points("OLS - hard", "ECE, OLS − hard labels", Rule.less()),
        points("OLS - LS", "ECE, OLS − LS", Rule.less()),
    ),
    measure=_calibration,
)

PERIODS = (0.25, 0.5, 2.0, 4.0)  # epochs from one matrix to the next, besides 1


def _period(results: Results) -> Measured:
    every = accuracy(results.runs("one epoch"))
    swept = [accuracy(runs) for runs in results.swept("other periods")]
    periods = [each.period or 1.0 for each in results.tries("other periods")]
    placed: dict[float, Paired] = dict(zip(periods, swept, strict=True)) | {1.0: every}
    return Measured(
        {"one - other": every - accuracy(results.runs("other periods"))},
        (
            lines(
                "accuracy, %",
                "epochs from one matrix to the next",
                {"OLS": dict(sorted(placed.items()))},
                scale=100,
            ),
        ),
    )


PERIOD = Claim(
    name="ols.period",
    paper=PAPER,
    statement="Online label smoothing is best when it learns its matrix once per epoch, not more "
    "often or less often.",
    figures=(),
    arms=(
        Arm(name="one epoch", method="ols", tries=OLS[:1]),
        Arm(
            name="other periods",
            method="ols",
            tries=tuple(Try(parameters={"hard_weight": 0.5}, period=share) for share in PERIODS),
            sweep=True,
        ),
    ),
    tests=(
        points(
            "one - other",
            "accuracy, a matrix per epoch − the best of every 1/4, 1/2, 2 and 4 epochs",
            Rule.greater(),
        ),
    ),
    measure=_period,
)


def _correct_only(results: Results) -> Measured:
    found = {name: accuracy(results.runs(name)) for name in results.arms}
    return Measured(
        {"correct - all": found["correct ones"] - found["all"]},
        (levels("accuracy, %", found, scale=100),),
    )


CORRECT_ONLY = Claim(
    name="ols.correct_only",
    paper=PAPER,
    statement="Online label smoothing is better if it learns from correct predictions alone.",
    figures=(),
    arms=(
        online(name="correct ones"),
        online(
            name="all",
            tries=tuple(Try(parameters={**each.parameters, "correct_only": 0.0}) for each in OLS),
        ),
    ),
    tests=(
        points("correct - all", "accuracy, from correct predictions − from all", Rule.greater()),
    ),
    measure=_correct_only,
)

CLAIMS = (ACCURACY, NOISE, CALIBRATION, PERIOD, CORRECT_ONLY)
