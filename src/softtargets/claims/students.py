"""Claims on what a smoothed teacher does to its student: three papers that disagree."""

from softtargets.claims.arms import Arm, Try
from softtargets.claims.claim import Claim, Measured, Quoted, Results, lines
from softtargets.claims.intervals import Paired
from softtargets.claims.lukasik import PAPER as LUKASIK
from softtargets.claims.measures import accuracy
from softtargets.claims.mueller import PAPER as MUELLER
from softtargets.claims.ols import points
from softtargets.claims.rule import Rule

SHEN = "Chandrasegaran et al., Revisiting Label Smoothing and Knowledge Distillation, ICML 2022"
TEMPERATURES = (1.0, 2.0, 4.0, 8.0)
RATES = (0.0, 0.1, 0.3)


def taught_by(teacher: Arm, name: str) -> Arm:
    """A small student of the teacher alone, at each temperature; labels play no part."""
    tries = tuple(
        Try(parameters={"temperature": temperature, "hard_weight": 0.0, "matched": 1.0})
        for temperature in TEMPERATURES
    )
    return Arm(
        name=name,
        method="distill",
        tries=tries,
        teacher=teacher,
        sweep=True,
        noise=teacher.noise,
        student=True,
    )


def _teacher(rate: float, noise: float = 0.0) -> Arm:
    name = f"teacher, rate {rate:g}"
    if rate == 0:
        return Arm(
            name=name, method="hard", tries=(Try(fields={"weight_decay": 5e-4}),), noise=noise
        )
    return Arm(name=name, method="ls", tries=(Try(parameters={"rate": rate}),), noise=noise)


def _grid(noise: float = 0.0, rates: tuple[float, ...] = RATES) -> tuple[Arm, ...]:
    teachers = [_teacher(rate, noise) for rate in rates]
    students = [
        taught_by(teacher, f"student, rate {rate:g}")
        for rate, teacher in zip(rates, teachers, strict=True)
    ]
    return (*teachers, *students)


def _by_temperature(results: Results, rate: float) -> dict[float, Paired]:
    name = f"student, rate {rate:g}"
    temperatures = [each.parameters["temperature"] for each in results.tries(name)]
    swept = [accuracy(runs) for runs in results.swept(name)]
    return dict(zip(temperatures, swept, strict=True))


def _curves(results: Results, rates: tuple[float, ...]) -> dict[str, dict[float, Paired]]:
    return {f"teacher of rate {rate:g}": _by_temperature(results, rate) for rate in rates}


def _distillation(results: Results) -> Measured:
    teachers = {rate: accuracy(results.runs(f"teacher, rate {rate:g}")) for rate in RATES}
    students = {rate: accuracy(results.runs(f"student, rate {rate:g}")) for rate in RATES}
    return Measured(
        {
            "teachers": teachers[0.1] - teachers[0.0],
            "students 0.1": students[0.1] - students[0.0],
            "students 0.3": students[0.3] - students[0.0],
        },
        (
            lines("accuracy of students, %", "temperature", _curves(results, RATES), scale=100),
            lines(
                "accuracy, %",
                "rate of the teacher",
                {"teacher": teachers, "student, best temperature": students},
                scale=100,
            ),
        ),
    )


DISTILLATION = Claim(
    name="mueller.distillation",
    paper=MUELLER,
    statement="A teacher trained with label smoothing, though itself no worse, makes a worse "
    "student.",
    figures=(
        Quoted(
            setting="MNIST, teachers",
            measure="error, %",
            values={"hard": 0.67, "LS": 0.59},
        ),
        Quoted(
            setting="MNIST, their students",
            measure="error, %",
            values={"hard": 0.74, "LS": 0.91},
        ),
        Quoted(
            setting="MNIST, their students",
            measure="error, %",
            values={"hard": 0.81, "LS": 0.93},
            origin="replication",
        ),
    ),
    arms=_grid(),
    tests=(
        points(
            "teachers",
            "accuracy of the teacher, rate 0.1 − hard labels, not lower by half a point",
            Rule.greater(-0.005),
        ),
        points(
            "students 0.1",
            "accuracy of the student at its best temperature, teacher of rate 0.1 − of hard labels",
            Rule.less(),
        ),
        points("students 0.3", "the same, teacher of rate 0.3", Rule.less()),
    ),
    measure=_distillation,
)


def _temperature(results: Results) -> Measured:
    smooth, plain = (_by_temperature(results, rate) for rate in (0.1, 0.0))
    last = max(smooth)
    return Measured(
        {
            "at T = 1": smooth[1.0] - plain[1.0],
            "loss": (smooth[1.0] - smooth[last]) - (plain[1.0] - plain[last]),
        },
        (lines("accuracy of students, %", "temperature", _curves(results, RATES), scale=100),),
    )


TEMPERATURE = Claim(
    name="chandrasegaran.temperature",
    paper=SHEN,
    statement="A teacher trained with label smoothing is as good for its student as one of hard "
    "labels at temperature 1; higher temperatures cost it more.",
    figures=(
        Quoted(
            setting="ImageNet, ResNet-50 to ResNet-18, teacher with LS",
            measure="accuracy, %",
            values={"T = 1": 71.67, "T = 2": 68.86},
        ),
        Quoted(
            setting="ImageNet, ResNet-50 to ResNet-18, teacher of hard labels",
            measure="accuracy, %",
            values={"T = 1": 71.49, "T = 2": 71.36},
        ),
    ),
    arms=_grid(),
    tests=(
        points(
            "at T = 1",
            "accuracy of the student at temperature 1, teacher of rate 0.1 − of hard labels",
            Rule.greater(-0.005),
        ),
        points(
            "loss",
            "accuracy lost from temperature 1 to the highest, teacher of rate 0.1 − of hard labels",
            Rule.greater(),
        ),
    ),
    measure=_temperature,
)

NOISE = 0.2
NOISY = (0.0, 0.1)


def _noisy(results: Results) -> Measured:
    students = {rate: accuracy(results.runs(f"student, rate {rate:g}")) for rate in NOISY}
    return Measured(
        {"students": students[0.1] - students[0.0]},
        (lines("accuracy of students, %", "temperature", _curves(results, NOISY), scale=100),),
    )


NOISY_DISTILLATION = Claim(
    name="lukasik.distillation",
    paper=LUKASIK,
    statement="Where training labels are wrong, a teacher trained with label smoothing makes a "
    "better student.",
    figures=(
        Quoted(
            setting="CIFAR-10, 20 % noise, students",
            measure="accuracy, %",
            values={"hard": 80.44, "LS": 86.95},
            origin="secondary source",
        ),
        Quoted(
            setting="CIFAR-100, 20 % noise, students",
            measure="accuracy, %",
            values={"hard": 63.98, "LS": 64.48, "forward": 66.65},
            origin="secondary source",
        ),
    ),
    arms=_grid(NOISE, NOISY),
    tests=(
        points(
            "students",
            "accuracy of the student at its best temperature, teacher of rate 0.1 − of hard labels",
            Rule.greater(),
        ),
    ),
    measure=_noisy,
)

CLAIMS = (DISTILLATION, TEMPERATURE, NOISY_DISTILLATION)
