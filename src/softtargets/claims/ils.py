"""Claims of "Instance-based Label Smoothing", on its synthetic data and on pictures."""

from softtargets.claims.arms import Arm, Try
from softtargets.claims.claim import Claim, Measured, Quoted, Results, Test, levels, lines
from softtargets.claims.intervals import Paired
from softtargets.claims.measures import accuracy, classwise_error, log_loss
from softtargets.claims.ols import points
from softtargets.claims.rule import Rule
from softtargets.claims.tries import HARD, ILS1, ILS2, hard, smoothed
from softtargets.lab import synthetic
from softtargets.lab.output import made
from softtargets.lab.synthetic import SyntheticRecord
from softtargets.lab.synthetic.record import read_surface

PAPER = (
    "Maher and Kull, Instance-based Label Smoothing For Better Calibrated Classification "
    "Networks, ICMLA 2021"
)
SYNTHETIC = "synthetic, mean of 100 draws"
DISTILLED = tuple(
    Try(parameters={"temperature": temperature, "hard_weight": 0.1})
    for temperature in (20.0, 1.0, 2.0, 5.0)
)
TEACHER = Arm(name="teacher", method="hard", tries=HARD[:1])
ARMS = (
    hard(by="nll"),
    smoothed(by="nll"),
    *(
        Arm(name=name, method=method, tries=tries, by="nll", teacher=TEACHER)
        for name, method, tries in (
            ("distilled", "distill", DISTILLED),
            ("ILS1", "ils1", ILS1),
            ("ILS2", "ils2", ILS2),
            ("ILS", "ils", ILS1),
        )
    ),
)
SHOWN = {
    "hard": "hard",
    "ls": "LS",
    "class-wise": "LS by class",
    "self-distillation": "self-distillation",
    "ils1": "ILS1",
    "ils2": "ILS2",
    "ils": "ILS",
}


def synthetic_record(results: Results) -> SyntheticRecord:
    """Return the synthetic benchmark at the budget, computed unless it was."""
    budget = results.budget
    path = results.cache / f"{budget.draws}-draws-{budget.networks}-networks.json"
    if not path.exists():
        made(path.parent)
        record = synthetic.run(
            range(budget.draws), budget=budget.networks, schooling=budget.schooling
        )
        synthetic.write_record(record, path)
    return synthetic.read_record(path)


def by_draw(record: SyntheticRecord, metric: str, *, scaled: bool = False) -> dict[str, Paired]:
    """Return a metric of each method, by draw.

    Args:
        record: of the benchmark.
        metric: a name in `softtargets.lab.synthetic.scores.METRICS`.
        scaled: of the networks with their temperatures.
    """
    variant = "scaled" if scaled else "plain"
    return {
        f"{title}{' + TS' if scaled else ''}": Paired.fixed(
            record.values(method, variant, metric).tolist()  # type: ignore[arg-type]
        )
        for method, title in SHOWN.items()
    }


def _accuracy(results: Results) -> Measured:
    record = synthetic_record(results)
    right, loss = by_draw(record, "accuracy"), by_draw(record, "nll")
    pictures = {name: accuracy(results.runs(name)) for name in SHOWN_ARMS}
    losses = {name: log_loss(results.runs(name)) for name in SHOWN_ARMS}
    scaled = {f"{name} + TS": log_loss(results.runs(name), scaled=True) for name in SHOWN_ARMS}
    return Measured(
        {
            "accuracy": right["ILS"] - right["LS"],
            "log-loss": loss["ILS"] - loss["LS"],
            "accuracy, pictures": pictures["ILS"] - pictures["LS"],
            "log-loss, pictures": losses["ILS"] - losses["LS"],
        },
        (
            levels("synthetic: accuracy, %", right, scale=100),
            levels("synthetic: log-loss", loss | by_draw(record, "nll", scaled=True)),
            levels("pictures: accuracy, %", pictures, scale=100),
            levels("pictures: log-loss", losses | scaled),
        ),
    )


SHOWN_ARMS = tuple(arm.name for arm in ARMS)

ACCURACY = Claim(
    name="ils.accuracy",
    paper=PAPER,
    statement="Instance-based smoothing has better accuracy and a lower log-loss than label "
    "smoothing.",
    figures=(
        Quoted(
            setting=SYNTHETIC,
            measure="accuracy, %",
            values={"hard": 78.45, "LS": 79.44, "ILS1": 80.18, "ILS2": 79.56, "ILS": 80.13},
        ),
        Quoted(
            setting=SYNTHETIC,
            measure="log-loss",
            values={"hard": 0.5589, "LS": 0.5318, "ILS1": 0.5041, "ILS2": 0.5232, "ILS": 0.5089},
        ),
        Quoted(setting=SYNTHETIC, measure="mean rank", values={"ILS": 1.4, "LS": 8.9}),
    ),
    arms=ARMS,
    tests=tuple(
        test
        for mark, data in (("", "synthetic data"), (", pictures", "pictures"))
        for test in (
            points(f"accuracy{mark}", f"accuracy, ILS − LS, {data}", Rule.greater()),
            Test(name=f"log-loss{mark}", says=f"log-loss, ILS − LS, {data}", rule=Rule.less()),
        )
    ),
    measure=_accuracy,
)


def _classwise(results: Results) -> Measured:
    record = synthetic_record(results)
    found, theirs = by_draw(record, "classwise_ece"), by_draw(record, "ece_within_classes")
    pictures = {name: classwise_error(results.runs(name)) for name in SHOWN_ARMS}
    return Measured(
        {
            "ILS - LS": found["ILS"] - found["LS"],
            "ILS - LS, theirs": theirs["ILS"] - theirs["LS"],
            "ILS - LS, pictures": pictures["ILS"] - pictures["LS"],
        },
        (
            levels("synthetic: class-wise ECE, %", found, scale=100),
            levels("synthetic: ECE within classes, %", theirs, scale=100),
            levels("pictures: class-wise ECE, debiased, %", pictures, scale=100),
        ),
    )


CLASSWISE = Claim(
    name="ils.classwise",
    paper=PAPER,
    statement="Instance-based smoothing calibrates the probabilities of each class better than "
    "label smoothing does.",
    figures=(
        Quoted(
            setting=SYNTHETIC,
            measure="ECE by true class, their own measure",
            values={"hard": 0.0668, "LS": 0.0723, "ILS1": 0.0495, "ILS2": 0.0496, "ILS": 0.0449},
        ),
    ),
    arms=ARMS,
    tests=(
        points("ILS - LS", "class-wise ECE, ILS − LS, synthetic data", Rule.less()),
        points(
            "ILS - LS, theirs", "ECE within classes, the paper's measure, ILS − LS", Rule.less()
        ),
        points("ILS - LS, pictures", "class-wise ECE, ILS − LS, pictures", Rule.less()),
    ),
    measure=_classwise,
)

P1, P2 = (0.6, 0.7, 0.8, 0.9), (0.75, 2.0, 10.0)
OPTIMUM, FAR = (0.8, 2.0), (0.7, 10.0)
MARGIN = 0.005


def _surface(results: Results) -> Measured:
    budget = results.budget
    path = results.cache / f"surface-{budget.draws}-draws.json"
    if not path.exists():
        made(path.parent)
        found = synthetic.surface(range(budget.draws), p1=P1, p2=P2, schooling=budget.schooling)
        synthetic.write_record(found, path)
    table = read_surface(path).nll
    cells = {
        (p1, p2): Paired.fixed([draw[row][column] for draw in table])
        for row, p1 in enumerate(P1)
        for column, p2 in enumerate(P2)
    }
    best = min(cells, key=lambda cell: float(cells[cell].values.mean()))
    curves = {f"P2 = {p2:g}": {p1: cells[p1, p2] for p1 in P1} for p2 in P2}
    return Measured(
        {
            "to the best cell": cells[OPTIMUM] - cells[best],
            "to a far cell": cells[OPTIMUM] - cells[FAR],
        },
        (lines("log-loss of ILS1", "P1", curves),),
    )


SURFACE = Claim(
    name="ils.surface",
    paper=PAPER,
    statement="On the synthetic data, smoothing by the teacher's confidence is best around "
    "P1 = 0.8, P2 = 2.",
    figures=(
        Quoted(
            setting="synthetic, ILS1",
            measure="log-loss",
            values={"P1 0.8, P2 2": 0.516, "P1 0.7, P2 10": 0.558},
        ),
    ),
    arms=(),
    tests=(
        Test(
            name="to the best cell",
            says="log-loss at (0.8, 2) − at the best of the 12 cells, the choice of which is not "
            "in the interval",
            rule=Rule(below=MARGIN),
        ),
        Test(
            name="to a far cell",
            says="log-loss at (0.8, 2) − at (0.7, 10)",
            rule=Rule.less(),
        ),
    ),
    measure=_surface,
)

CLAIMS = (ACCURACY, CLASSWISE, SURFACE)
