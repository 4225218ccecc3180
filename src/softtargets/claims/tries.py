"""The settings each method may choose from: equally many for all, the usual one first."""

from softtargets.claims.arms import Arm, Try

HARD = tuple(Try(fields={"weight_decay": decay}) for decay in (5e-4, 0.0, 2e-3, 5e-3))
LS = tuple(Try(parameters={"rate": rate}) for rate in (0.1, 0.05, 0.2, 0.4))
OLS = tuple(Try(parameters={"hard_weight": weight}) for weight in (0.5, 0.25, 0.75, 0.9))
BACKWARD = tuple(Try(parameters={"warm_up": 0.5}, fields=each.fields) for each in HARD)
AMOUNTS = ((0.95, 1.5), (0.85, 2.0), (0.9, 1.0), (0.975, 0.75))
ILS1 = tuple(Try(parameters={"p1": p1, "p2": p2, "max_rate": 0.2}) for p1, p2 in AMOUNTS)
ILS2 = tuple(Try(parameters={"rate": rate}) for rate in (0.1, 0.05, 0.2, 0.4))
MAXSUP = tuple(
    Try(parameters={"start": start, "end": 2 * start}) for start in (0.1, 0.05, 0.2, 0.4)
)
MIXUP = tuple(Try(parameters={"alpha": alpha}) for alpha in (0.2, 0.1, 0.4, 1.0))
MIXUP_LS = tuple(Try(parameters={"alpha": 0.2, "rate": rate}) for rate in (0.1, 0.05, 0.2, 0.4))
MOLLIFIED = tuple(Try(parameters={"beta": beta}) for beta in (2.0, 1.0, 4.0, 9.0))

DEFAULT_HARD = Arm(name="hard as it is", method="hard", tries=HARD[:1])
DEFAULT_LS = Arm(name="LS 0.1", method="ls", tries=LS[:1])


def hard(**changes: object) -> Arm:
    """Hard labels, tuned by weight decay."""
    return Arm(**{"name": "hard", "method": "hard", "tries": HARD, **changes})  # type: ignore[arg-type]


def smoothed(**changes: object) -> Arm:
    """Label smoothing, tuned by rate."""
    return Arm(**{"name": "LS", "method": "ls", "tries": LS, **changes})  # type: ignore[arg-type]


def online(**changes: object) -> Arm:
    """Online label smoothing, tuned by the weight of the label."""
    return Arm(**{"name": "OLS", "method": "ols", "tries": OLS, **changes})  # type: ignore[arg-type]
