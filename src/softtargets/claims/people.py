"""The claim that label smoothing helps with labels that people got wrong."""

from softtargets.claims.claim import Claim, Measured, Quoted, Results, levels
from softtargets.claims.intervals import mean
from softtargets.claims.lukasik import PAPER
from softtargets.claims.measures import accuracy
from softtargets.claims.ols import points
from softtargets.claims.rule import Rule
from softtargets.claims.tries import hard, smoothed

SETS = ("aggre", "worse")


def _noise(results: Results) -> Measured:
    found = {name: accuracy(results.runs(name)) for name in results.arms}
    gains = [found[f"LS, {each}"] - found[f"hard, {each}"] for each in SETS]
    return Measured({"LS - hard": mean(gains)}, (levels("accuracy, %", found, scale=100),))


NOISE = Claim(
    name="human.noise",
    paper=f"{PAPER}; labels: Wei et al., Learning with Noisy Labels Revisited, ICLR 2022",
    statement="Label smoothing is better than hard labels where people got labels wrong.",
    figures=(
        Quoted(
            setting="CIFAR-10N",
            measure="gain in accuracy, points",
            values={"LS": 0.5},
            origin="replication",
        ),
    ),
    arms=(
        hard(name="hard, aggre", scene="people, aggre"),
        smoothed(name="LS, aggre", scene="people, aggre"),
        hard(name="hard, worse", scene="people, worse"),
        smoothed(name="LS, worse", scene="people, worse"),
    ),
    tests=(
        points(
            "LS - hard",
            "accuracy, LS − hard labels, mean of CIFAR-10N's aggregate and worst labels",
            Rule.greater(),
        ),
    ),
    measure=_noise,
)

CLAIMS = (NOISE,)
