"""Which array of a file is what: declared by its name or by an option, never by its values."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from softtargets.audit.errors import AuditError

Kind = Literal["logits", "probs"]

_WORDS: dict[str, Kind] = {
    "logits": "logits",
    "logit": "logits",
    "probs": "probs",
    "prob": "probs",
    "probabilities": "probs",
    "probability": "probs",
}
_LABELS = ("labels", "label")
_MOST_LISTED = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """What the arrays of a file are called, as far as a user says so.

    Args:
        logits: key, or first part of the columns' names, of the logits.
        probs: the same of probabilities.
        labels: key or column of the labels; ending in `.npy`, a file of its own.
        group: key or column that names the group of each row, such as the burst an image is of,
            whose logits are averaged; ending in `.npy`, a file of its own.
    """

    logits: str | None = None
    probs: str | None = None
    labels: str | None = None
    group: str | None = None

    def __post_init__(self) -> None:
        if self.logits is not None and self.probs is not None:
            raise AuditError(
                f"--logits {self.logits} and --probs {self.probs} cannot both be meant; give the "
                "one that the file holds"
            )
        if self.group is not None and self.group in (self.logits, self.probs, self.labels):
            raise AuditError(
                f"--group {self.group} cannot be the predictions or labels too; name the column "
                "that says which rows belong together"
            )

    def or_else(self, others: "Keys") -> "Keys":
        """Return these keys, and those of `others` where nothing is said here."""
        said = self.logits is not None or self.probs is not None
        scores = self if said else others
        labels = others.labels if self.labels is None else self.labels
        group = others.group if self.group is None else self.group
        return Keys(logits=scores.logits, probs=scores.probs, labels=labels, group=group)


def declared_kind(name: str) -> Kind | None:
    """Return what a name declares.

    Args:
        name: `logits`, `probs` or `probabilities`, their singular, or ending in `_` and one.

    Example:
        >>> declared_kind("test_logits"), declared_kind("prob"), declared_kind("scores")
        ('logits', 'probs', None)
    """
    return _WORDS.get(name.rpartition("_")[2].lower())


def choose_scores(where: str, names: Sequence[str], keys: Keys) -> tuple[str, Kind]:
    """Return the name of the predictions and what they are.

    Args:
        where: the file, for messages.
        names: what it holds.
        keys: what the user says.

    Raises:
        AuditError: the one asked for is not there, or none or several are declared.
    """
    asked: list[tuple[str | None, Kind]] = [(keys.logits, "logits"), (keys.probs, "probs")]
    for name, kind in asked:
        if name is not None:
            if name not in names:
                raise AuditError(f"{where} has no {name!r}; it has {listing(names)}")
            return name, kind
    found = [(name, declared) for name in names if (declared := declared_kind(name))]
    if not found:
        raise AuditError(
            f"{where} does not say what it holds: no name is `logits` or `probs`, or ends in "
            f"`_logits` or `_probs`; it has {listing(names)}: choose with --logits or --probs"
        )
    if len(found) > 1:
        raise AuditError(
            f"{where} holds several predictions, {listing(name for name, _ in found)}: choose with "
            f"--{found[0][1]} {found[0][0]} or another"
        )
    return found[0]


def choose_labels(where: str, names: Sequence[str], keys: Keys, scores: str) -> str:
    """Return the name of the labels: asked for, of the predictions' prefix, or the only one.

    Args:
        where: the file, for messages.
        names: what it holds.
        keys: what the user says.
        scores: the name of the predictions, such as `test_logits`.

    Raises:
        AuditError: the one asked for is not there, or none or several are declared.
    """
    if keys.labels is not None:
        if keys.labels not in names:
            raise AuditError(f"{where} has no {keys.labels!r}; it has {listing(names)}")
        return keys.labels
    found = [name for name in names if name.rpartition("_")[2].lower() in _LABELS]
    prefix = scores.rpartition("_")[0]
    beside = [name for name in found if name.rpartition("_")[0] == prefix]
    if len(beside or found) == 1:
        return (beside or found)[0]
    if found:
        raise AuditError(
            f"{where} holds several labels, {listing(found)}: choose with --labels {found[0]}"
        )
    raise AuditError(
        f"{where} has no `labels`; it has {listing(names)}: choose with --labels, or name an .npy "
        "file there"
    )


def ungrouped(where: str, names: Sequence[str], keys: Keys) -> list[str]:
    """Return the names without that of the groups, which is never a class or a label.

    Args:
        where: the file, for messages.
        names: what it holds.
        keys: what the user says.

    Raises:
        AuditError: there is no such name.
    """
    if keys.group is None or keys.group.endswith(".npy"):
        return list(names)
    if keys.group not in names:
        raise AuditError(f"{where} has no {keys.group!r} to group by; it has {listing(names)}")
    return [name for name in names if name != keys.group]


def listing(names: Iterable[str]) -> str:
    """Return names for a message, not too many of them."""
    given = list(names)
    shown = ", ".join(given[:_MOST_LISTED]) or "nothing"
    return shown if len(given) <= _MOST_LISTED else f"{shown} and {len(given) - _MOST_LISTED} more"
