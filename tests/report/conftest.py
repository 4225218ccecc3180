from collections.abc import Callable

import pytest

from softtargets.lab.compare import Comparison, Settings, compare
from softtargets.lab.summary import METRICS, Mean, Row
from softtargets.report.predictions import Confidence

SMALL = Settings(methods=("hard", "ls", "ols"), seeds=2, epochs=2)


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Comparison]:
    folder = tmp_path_factory.mktemp("report")

    def make(**changes: object) -> Comparison:
        settings = {"methods": SMALL.methods, "seeds": SMALL.seeds, "epochs": SMALL.epochs}
        return compare(Settings(**{**settings, **changes}), folder)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def comparison(runs: Callable[..., Comparison]) -> Comparison:
    return runs()


@pytest.fixture
def make_row() -> Callable[..., Row]:
    """Rows by hand: every metric has a value, differences are given as (low, high)."""

    def make(
        method: str,
        plain: dict[str, float] | None = None,
        scaled: dict[str, float] | None = None,
        plain_difference: dict[str, tuple[float, float]] | None = None,
        scaled_difference: dict[str, tuple[float, float]] | None = None,
        seeds: int = 5,
    ) -> Row:
        half = 0.001 if seeds > 1 else float("nan")

        def means(given: dict[str, float] | None) -> dict[str, Mean]:
            found = {metric.key: (given or {}).get(metric.key, 0.5) for metric in METRICS}
            return {key: Mean(value, value - half, value + half) for key, value in found.items()}

        def differences(given: dict[str, tuple[float, float]] | None) -> dict[str, Mean]:
            if method == "hard":
                return {}
            if seeds == 1:
                return {metric.key: Mean(0.1, float("nan"), float("nan")) for metric in METRICS}
            found = {metric.key: (given or {}).get(metric.key, (-0.1, 0.1)) for metric in METRICS}
            return {key: Mean((low + high) / 2, low, high) for key, (low, high) in found.items()}

        return Row(
            method=method,
            plain=means(plain),
            scaled=means(scaled),
            plain_difference=differences(plain_difference),
            scaled_difference=differences(scaled_difference),
            temperature=Mean(1.2, 1.1, 1.3),
        )

    return make


@pytest.fixture
def confidence() -> Callable[..., Confidence]:
    def make(says: float, right: float, half: float = 0.005) -> Confidence:
        gap = says - right
        return Confidence(
            says=Mean(says, says, says),
            right=Mean(right, right, right),
            gap=Mean(gap, gap - half, gap + half),
        )

    return make
