"""All claims, by name."""

from softtargets.claims import (
    composer,
    features,
    heinonen,
    ils,
    lukasik,
    mueller,
    neighbours,
    ols,
    people,
    segmentation,
    students,
    translation,
)
from softtargets.claims.claim import Claim
from softtargets.lab.errors import LabError

_FILES = (
    mueller,
    features,
    students,
    ols,
    ils,
    lukasik,
    people,
    composer,
    neighbours,
    heinonen,
    translation,
    segmentation,
)

CLAIMS: dict[str, Claim] = {claim.name: claim for file in _FILES for claim in file.CLAIMS}


def named(names: tuple[str, ...]) -> list[Claim]:
    """Return the claims of these names; a paper's name stands for all its claims.

    Args:
        names: as `mueller.calibration`, `mueller`, or `all`.

    Raises:
        LabError: there is no such claim.
    """
    chosen: dict[str, Claim] = {}
    for name in names:
        found = {
            key: claim
            for key, claim in CLAIMS.items()
            if name in ("all", key) or key.startswith(f"{name}.")
        }
        if not found:
            raise LabError(f"there is no claim {name!r}; choose from {', '.join(CLAIMS)}")
        chosen.update(found)
    return [claim for key, claim in CLAIMS.items() if key in chosen]
