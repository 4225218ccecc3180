"""Claims of "Does label smoothing mitigate label noise?", and of its sequel on negative rates."""

from collections.abc import Mapping

import msgspec

from softtargets.claims.arms import Arm, Try
from softtargets.claims.claim import Claim, Measured, Quoted, Results, levels, lines
from softtargets.claims.intervals import Paired
from softtargets.claims.measures import accuracy, by_seed
from softtargets.claims.ols import points
from softtargets.claims.rule import Rule
from softtargets.claims.runs import Run
from softtargets.claims.tries import BACKWARD, HARD, hard, smoothed

PAPER = "Lukasik et al., Does label smoothing mitigate label noise?, ICML 2020"
NOISE = 0.2


def _noise(results: Results) -> Measured:
    found = {name: accuracy(results.runs(name)) for name in results.arms}
    return Measured(
        {
            "LS - hard": found["LS"] - found["hard"],
            "LS - forward": found["LS"] - found["forward"],
            "LS - backward": found["LS"] - found["backward"],
        },
        (levels("accuracy, %", found, scale=100),),
    )


MITIGATION = Claim(
    name="lukasik.noise",
    paper=PAPER,
    statement="With wrong labels, label smoothing is better than hard labels, and competitive with "
    "corrections that are told the noise.",
    figures=(
        Quoted(
            setting="CIFAR-10, 20 % noise",
            measure="accuracy, %",
            values={"hard": 80.44, "LS": 83.95},
            origin="secondary source",
        ),
        Quoted(
            setting="CIFAR-100, 20 % noise",
            measure="accuracy, %",
            values={"hard": 57.06, "LS": 60.70, "forward": 61.29, "backward": 53.91},
            origin="secondary source",
        ),
    ),
    arms=(
        hard(noise=NOISE),
        smoothed(noise=NOISE),
        Arm(name="forward", method="forward", tries=HARD, noise=NOISE),
        Arm(name="backward", method="backward", tries=BACKWARD, noise=NOISE),
    ),
    tests=(
        points("LS - hard", "accuracy, LS − hard labels", Rule.greater()),
        points("LS - forward", "accuracy, LS − forward correction", Rule.greater(-0.01)),
        points("LS - backward", "accuracy, LS − backward correction", Rule.greater(-0.01)),
    ),
    measure=_noise,
)


def _seen_through(run: Run) -> float:
    counts = run.record.denoising
    assert not isinstance(counts, msgspec.UnsetType)
    return counts.as_true / counts.mislabelled


def _denoising(results: Results) -> Measured:
    found = {name: by_seed(results.runs(name), _seen_through) for name in results.arms}
    return Measured(
        {
            "0.1 - hard": found["LS 0.1"] - found["hard"],
            "0.2 - 0.1": found["LS 0.2"] - found["LS 0.1"],
        },
        (levels("mislabelled samples predicted as their true class, %", found, scale=100),),
    )


DENOISING = Claim(
    name="lukasik.denoising",
    paper=PAPER,
    statement="On the mislabelled training samples themselves, label smoothing predicts the true "
    "class more often, the more so the larger its rate.",
    figures=(
        Quoted(
            setting="mislabelled training samples",
            measure="accuracy, %",
            values={"hard": 39.92, "LS 0.1": 48.58, "LS 0.2": 53.01},
            origin="secondary source",
        ),
    ),
    arms=(
        hard(tries=HARD[:1], noise=NOISE),
        smoothed(name="LS 0.1", tries=(Try(parameters={"rate": 0.1}),), noise=NOISE),
        smoothed(name="LS 0.2", tries=(Try(parameters={"rate": 0.2}),), noise=NOISE),
    ),
    tests=(
        points("0.1 - hard", "share seen through, LS of rate 0.1 − hard labels", Rule.greater()),
        points("0.2 - 0.1", "share seen through, rate 0.2 − rate 0.1", Rule.greater()),
    ),
    measure=_denoising,
)

SWEPT = (0.2, 0.4)


def _above(noise: float) -> tuple[Try, ...]:
    """Rates well above the noise rate: half as large again, or more."""
    rates = {0.2: (0.4, 0.6, 0.8, 0.3), 0.4: (0.6, 0.8, 0.9, 0.7)}[noise]
    return tuple(Try(parameters={"rate": rate}) for rate in rates)


def _up_to(noise: float) -> tuple[Try, ...]:
    """Rates up to the noise rate."""
    rates = {0.2: (0.2, 0.1, 0.05, 0.15), 0.4: (0.4, 0.2, 0.1, 0.3)}[noise]
    return tuple(Try(parameters={"rate": rate}) for rate in rates)


def _curve(results: Results, *names: str) -> Mapping[float, Paired]:
    found = {
        each.parameters["rate"]: accuracy(runs)
        for name in names
        for each, runs in zip(results.tries(name), results.swept(name), strict=True)
    }
    return dict(sorted(found.items()))


def _large_rates(results: Results) -> Measured:
    effects = {
        f"{noise}": accuracy(results.runs(f"above {noise}"))
        - accuracy(results.runs(f"up to {noise}"))
        for noise in SWEPT
    }
    curves = {
        f"{100 * noise:g} % wrong labels": _curve(results, f"up to {noise}", f"above {noise}")
        for noise in SWEPT
    }
    return Measured(effects, (lines("accuracy, %", "rate", curves, scale=100),))


LARGE_RATES = Claim(
    name="lukasik.large_a",
    paper=PAPER,
    statement="With wrong labels, the best smoothing rate is well above the share of wrong labels.",
    figures=(
        Quoted(
            setting="noisy labels",
            measure="a much above the noise rate",
            origin="secondary source",
        ),
    ),
    arms=tuple(
        smoothed(name=f"{name} {noise}", tries=tries(noise), noise=noise, sweep=True)
        for noise in SWEPT
        for name, tries in (("up to", _up_to), ("above", _above))
    ),
    tests=tuple(
        points(
            f"{noise}",
            f"accuracy at {100 * noise:g} % wrong labels, the best of four rates at least half as "
            "large again − the best of four rates up to it",
            Rule.greater(),
        )
        for noise in SWEPT
    ),
    measure=_large_rates,
)

WEI = "Wei et al., To Smooth or Not? When Label Smoothing Meets Noisy Labels, ICML 2022"
LEVELS = (0.0, 0.3, 0.6)
WARM_UP = 0.5
# A loss with negative rates is unbounded below: without clipping some runs diverge.
CALM = {"learning_rate": 0.02, "weight_decay": 5e-4, "clip": 5.0}
UPWARDS = tuple(
    Try(parameters={"rate": rate, "warm_up": WARM_UP}, fields=CALM) for rate in (0.0, 0.2, 0.4, 0.8)
)
DOWNWARDS = tuple(
    Try(parameters={"rate": rate, "warm_up": WARM_UP}, fields=CALM)
    for rate in (-0.2, -0.5, -1.0, -2.0)
)


def _sign(results: Results) -> Measured:
    gain = {
        noise: accuracy(results.runs(f"negative {noise}"))
        - accuracy(results.runs(f"not negative {noise}"))
        for noise in LEVELS
    }
    curves = {
        f"{100 * noise:g} % wrong labels": _curve(
            results, f"negative {noise}", f"not negative {noise}"
        )
        for noise in LEVELS
    }
    return Measured(
        {"at 60 %": gain[0.6], "60 % - 0 %": gain[0.6] - gain[0.0]},
        (lines("accuracy, %", "rate", curves, scale=100),),
    )


SIGN = Claim(
    name="wei.sign",
    paper=WEI,
    statement="As more labels are wrong, the best smoothing rate becomes negative.",
    figures=(
        Quoted(
            setting="CIFAR-10, 60 % noise",
            measure="accuracy, %",
            values={"rate 0.8": 73.16, "rate 0": 75.34, "rate −6": 77.42},
        ),
    ),
    arms=tuple(
        smoothed(name=f"{name} {noise}", tries=tries, noise=noise, sweep=True, scene="noisy")
        for noise in LEVELS
        for name, tries in (("negative", DOWNWARDS), ("not negative", UPWARDS))
    ),
    tests=(
        points(
            "at 60 %",
            "accuracy at 60 % wrong labels, the best of four negative rates − the best of 0 and "
            "three positive ones",
            Rule.greater(),
        ),
        points(
            "60 % - 0 %", "how much larger that is than with right labels alone", Rule.greater()
        ),
    ),
    measure=_sign,
)

CLAIMS = (MITIGATION, DENOISING, LARGE_RATES, SIGN)
