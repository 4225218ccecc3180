"""What is kept of claims: each effect by seed, its interval, the verdict, the picture's data."""

import math
from pathlib import Path
from typing import Literal

import msgspec

from softtargets.lab.errors import LabError
from softtargets.lab.records import write_atomically

FORMAT = 1
FILE = "claims.json"


class Series(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Points of a picture; limits are None where an interval is not known."""

    label: str
    x: list[float]
    y: list[float]
    low: list[float | None] = []
    high: list[float | None] = []


class Panel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One picture: levels (a point for each label), lines, or points of a plane."""

    title: str
    kind: Literal["levels", "lines", "points"]
    series: list[Series]
    x_label: str = ""


class EffectRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One effect.

    Attributes:
        name: short.
        says: what is compared, in words.
        condition: not what the claim says but under what it says it.
        unit: of the printed number.
        scale: what a value is multiplied with for printing.
        above: lower end of the range that the claim says it is in; None for no end.
        below: upper end.
        seeds_needed: fewer decide nothing.
        values: by seed.
        value: their mean.
        low: lower end of its 95 % interval over seeds and test samples; None with one seed.
        high: upper end.
        verdict: supported, refuted or undecided.
    """

    name: str
    says: str
    condition: bool
    unit: str
    scale: float
    above: float | None
    below: float | None
    seeds_needed: int
    values: list[float]
    value: float
    low: float | None
    high: float | None
    verdict: str


class QuotedRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Figures of a paper, see `softtargets.claims.claim.Quoted`."""

    setting: str
    measure: str
    values: dict[str, float]
    origin: str


class ClaimRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One claim.

    Attributes:
        name: paper and subject.
        paper: author, title, year.
        statement: in plain words.
        figures: the paper's own, and others'.
        verdict: None where it was skipped.
        skipped: why, or None.
        effects: what decided it.
        chosen: the setting that each arm was given, of several.
        runs: how many it took.
        panels: for the picture.
    """

    name: str
    paper: str
    statement: str
    figures: list[QuotedRecord]
    verdict: str | None = None
    skipped: str | None = None
    effects: list[EffectRecord] = []
    chosen: dict[str, str] = {}
    runs: int = 0
    panels: list[Panel] = []


class ClaimsRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Claims that were run together.

    Attributes:
        format: version of this structure.
        budget: what was spent on each.
        seeds: that were judged.
        tuning_seeds: that settings were chosen by.
        runs: how many there are in all; claims share them.
        training_seconds: of these, computed now or earlier.
        environments: where they were computed.
        claims: in the order of the registry.
    """

    format: int
    budget: str
    seeds: list[int]
    tuning_seeds: list[int]
    runs: int
    training_seconds: float
    environments: list[str]
    claims: list[ClaimRecord]


def finite(value: float) -> float | None:
    """Return the number, or None where it is infinite or NaN."""
    return value if math.isfinite(value) else None


def write(record: ClaimsRecord, path: Path) -> None:
    """Write the record as JSON, all of it or nothing."""
    write_atomically(path, msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")


def read(path: Path) -> ClaimsRecord:
    """Return a record.

    Raises:
        LabError: it cannot be read, or is of another version.
    """
    try:
        record = msgspec.json.decode(path.read_bytes(), type=ClaimsRecord)
    except (OSError, msgspec.MsgspecError) as error:
        raise LabError(f"{path} is no record of claims: {error}; run them again") from error
    if record.format != FORMAT:
        raise LabError(f"{path} is a record of another version; run the claims again")
    return record
