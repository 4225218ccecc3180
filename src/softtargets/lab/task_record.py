"""What the runs of tasks beside classification leave: a history, metrics, and the task's own."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from softtargets.lab.records import Environment, Estimate, sha256


class TaskRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A finished run; each kind adds its spec and what is its own.

    Attributes:
        format: version of this structure.
        environment: where it was run.
        seconds: training time of this run, over all its sittings.
        history: one row per epoch, by name; `loss` and `validation_nll` among them.
        metrics: test metrics by name, with intervals over resampled sentences or images.
        scaled: those that a temperature changes, after one fitted on the validation data.
        temperature: of that scaling.
        temperature_at_bound: whether the search ended at its bound.
        arrays_sha256: hash of `arrays.npz`.
        model_sha256: hash of `model.pt`.
        peak_memory: bytes, the most that the process had from its start to the end of this run.
        content_sha256: hash of all of the above, see `softtargets.lab.sealing.seal`.
    """

    format: int
    environment: Environment
    seconds: float
    history: list[dict[str, float]]
    metrics: dict[str, Estimate]
    scaled: dict[str, Estimate]
    temperature: float
    temperature_at_bound: bool
    arrays_sha256: str
    model_sha256: str
    peak_memory: int | msgspec.UnsetType = msgspec.UNSET
    content_sha256: str = ""


def check_numbers(
    spec: msgspec.Struct,
    *,
    counts: Sequence[str] = (),
    positive: Sequence[str] = (),
    not_negative: Sequence[str] = (),
    shares: Sequence[str] = (),
) -> None:
    """Raise unless the fields of these names are in their ranges.

    Args:
        spec: of a run.
        counts: at least 1.
        positive: and finite.
        not_negative: and finite.
        shares: in [0, 1).

    Raises:
        ValueError: one is not.
    """
    rules: list[tuple[Sequence[str], str, Callable[[float], bool]]] = [
        (counts, "at least 1", lambda value: value >= 1),
        (positive, "positive and finite", lambda value: 0 < value < math.inf),
        (not_negative, "at least 0", lambda value: 0 <= value < math.inf),
        (shares, "in [0, 1)", lambda value: 0 <= value < 1),
    ]
    for names, rule, holds in rules:
        for name in names:
            if not holds(getattr(spec, name)):
                raise ValueError(f"`{name}` must be {rule}, got {getattr(spec, name)}")


def run_name(spec: msgspec.Struct, method: str, seed: int) -> str:
    """Return a readable name with a hash of every field; the place of the data plays no part.

    Args:
        spec: of a run, with a field `data`.
        method: of the spec.
        seed: of the spec.
    """
    fields: Any = msgspec.structs.replace(spec, data="")
    digest = sha256(msgspec.json.encode(fields, order="sorted"))
    return f"{method}-seed{seed}-{digest[:12]}"
