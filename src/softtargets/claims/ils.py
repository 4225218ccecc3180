"""Claims of "Instance-based Label Smoothing", on its synthetic data and on pictures."""

from softtargets.claims.arms import Arm, Try
from softtargets.claims.budgets import SceneName
from softtargets.claims.claim import Claim, Measured, Quoted, Results, Test, levels, lines
from softtargets.claims.intervals import Paired
from softtargets.claims.measures import (
    accuracy,
    classwise_error,
    error_by_true_class,
    log_loss,
)
from softtargets.claims.ols import points
from softtargets.claims.rule import Rule
from softtargets.claims.tries import HARD, ILS1, ILS2, LS

PAPER = (
    "Maher and Kull, Instance-based Label Smoothing For Better Calibrated Classification "
    "Networks, ICMLA 2021"
)
SYNTHETIC = "synthetic, mean of 100 draws"
# Around the paper's optimum on its synthetic data; there the rate is not limited.
WIDE = tuple(
    Try(parameters={"p1": p1, "p2": p2, "max_rate": 1.0})
    for p1, p2 in ((0.8, 2.0), (0.75, 1.25), (0.85, 2.0), (0.8, 1.5))
)
DECAYS = tuple(Try(fields={"weight_decay": decay}) for decay in (0.0, 1e-3, 1e-2, 1e-1))
DISTILLED = tuple(
    Try(parameters={"temperature": temperature, "hard_weight": 0.1})
    for temperature in (20.0, 1.0, 2.0, 5.0)
)


def _arms(scene: SceneName, mark: str) -> tuple[Arm, ...]:
    """Every method of the paper's table on a scene, each with four settings to choose from."""
    plain = DECAYS if scene == "synthetic" else HARD
    amounts = WIDE if scene == "synthetic" else ILS1
    teacher = Arm(name=f"teacher{mark}", method="hard", tries=plain[:1], scene=scene)
    common = {"scene": scene, "by": "nll"}
    taught = {**common, "teacher": teacher}
    return (
        Arm(name=f"hard{mark}", method="hard", tries=plain, **common),  # type: ignore[arg-type]
        Arm(name=f"LS{mark}", method="ls", tries=LS, **common),  # type: ignore[arg-type]
        Arm(name=f"distilled{mark}", method="distill", tries=DISTILLED, **taught),  # type: ignore[arg-type]
        Arm(name=f"ILS1{mark}", method="ils1", tries=amounts, **taught),  # type: ignore[arg-type]
        Arm(name=f"ILS2{mark}", method="ils2", tries=ILS2, **taught),  # type: ignore[arg-type]
        Arm(name=f"ILS{mark}", method="ils", tries=amounts, **taught),  # type: ignore[arg-type]
    )


SCENES: dict[str, SceneName] = {"": "synthetic", ", pictures": "confident"}
ARMS = tuple(arm for mark, scene in SCENES.items() for arm in _arms(scene, mark))


def _of(results: Results, mark: str) -> list[str]:
    return [name for name in results.arms if results.arms[name].scene == SCENES[mark]]


def _accuracy(results: Results) -> Measured:
    effects, panels = {}, []
    for mark in SCENES:
        names = _of(results, mark)
        right = {name: accuracy(results.runs(name)) for name in names}
        loss = {name: log_loss(results.runs(name)) for name in names}
        scaled = {f"{name} + TS": log_loss(results.runs(name), scaled=True) for name in names}
        effects[f"accuracy{mark}"] = right[f"ILS{mark}"] - right[f"LS{mark}"]
        effects[f"log-loss{mark}"] = loss[f"ILS{mark}"] - loss[f"LS{mark}"]
        panels.append(levels("accuracy, %", right, scale=100))
        panels.append(levels("log-loss", loss | scaled))
    return Measured(effects, tuple(panels))


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
    effects, panels = {}, []
    for mark in SCENES:
        names = _of(results, mark)
        found = {name: classwise_error(results.runs(name)) for name in names}
        theirs = {name: error_by_true_class(results.runs(name)) for name in names}
        effects[f"ILS - LS{mark}"] = found[f"ILS{mark}"] - found[f"LS{mark}"]
        panels.append(levels("class-wise ECE, debiased, %", found, scale=100))
        panels.append(levels("ECE by true class, as the paper has it, %", theirs, scale=100))
    return Measured(effects, tuple(panels))


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
    tests=tuple(
        points(f"ILS - LS{mark}", f"class-wise ECE, ILS − LS, {data}", Rule.less())
        for mark, data in (("", "synthetic data"), (", pictures", "pictures"))
    ),
    measure=_classwise,
)

P1 = (0.6, 0.7, 0.8, 0.9)
P2 = (0.75, 2.0, 10.0)
OPTIMUM, FAR = (0.8, 2.0), (0.7, 10.0)
MARGIN = 0.005


def _cell(p1: float, p2: float) -> str:
    return f"P1 {p1:g}, P2 {p2:g}"


_TEACHER = Arm(name="teacher", method="hard", tries=DECAYS[:1], scene="synthetic")
_GRID = tuple(
    Arm(
        name=_cell(p1, p2),
        method="ils1",
        tries=(Try(parameters={"p1": p1, "p2": p2, "max_rate": 1.0}),),
        scene="synthetic",
        teacher=_TEACHER,
    )
    for p1 in P1
    for p2 in P2
)


def _surface(results: Results) -> Measured:
    cells = {(p1, p2): log_loss(results.runs(_cell(p1, p2))) for p1 in P1 for p2 in P2}
    best = min(cells, key=lambda cell: float(cells[cell].values.mean()))
    curves: dict[str, dict[float, Paired]] = {
        f"P2 = {p2:g}": {p1: cells[p1, p2] for p1 in P1} for p2 in P2
    }
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
    arms=_GRID,
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
