"""How cost grows with rows and with classes."""

import math
from collections.abc import Sequence

from softtargets.bench.results import Result

# Fewer points make no line.
LEAST_POINTS = 3


def sweeps(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Return the results in which one size varies and the other stays, by what varies.

    Args:
        results: of any problems; each sweep takes the fixed size that most of them share.
    """
    found = {}
    for varying, fixed in (("rows", "classes"), ("classes", "rows")):
        groups: dict[object, dict[int, Result]] = {}
        for result in results:
            key = (getattr(result.problem, fixed), result.problem.width)
            groups.setdefault(key, {})[getattr(result.problem, varying)] = result
        largest = max(groups.values(), key=len, default={})
        if len(largest) >= LEAST_POINTS:
            found[varying] = [largest[size] for size in sorted(largest)]
    return found


def exponents(results: Sequence[Result]) -> dict[str, dict[str, float]]:
    """Return, by what varies and by case, the e of time ~ size^e: 1 is linear.

    A least-squares line through the logarithms of sizes and median times.
    """
    found: dict[str, dict[str, float]] = {}
    for varying, sweep in sweeps(results).items():
        for name in sweep[0].cases:
            points = [
                (getattr(r.problem, varying), r.cases[name].milliseconds.median)
                for r in sweep
                if name in r.cases
            ]
            if len(points) >= LEAST_POINTS:
                found.setdefault(varying, {})[name] = round(_slope(points), 3)
    return found


def _slope(points: list[tuple[int, float]]) -> float:
    xs, ys = [math.log(x) for x, _ in points], [math.log(y) for _, y in points]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    above = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True))
    return above / sum((x - mean_x) ** 2 for x in xs)
