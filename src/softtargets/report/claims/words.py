"""What a claim's record says, in words."""

from softtargets.claims.claim import Test
from softtargets.claims.record import (
    ClaimRecord,
    ClaimsRecord,
    EffectRecord,
    QuotedRecord,
    finite,
)
from softtargets.report.notation import counted, decimal, listed

SKIPPED = "skipped"


def verdict(claim: ClaimRecord) -> str:
    """Return the verdict, or that it was skipped."""
    return claim.verdict or SKIPPED


def amount(effect: EffectRecord) -> str:
    """Return `+0.52 [+0.20, +0.84] points`."""
    digits = _digits(effect.scale)
    text = decimal(effect.value * effect.scale, digits, signed=True)
    if effect.low is not None and effect.high is not None:
        low, high = (
            decimal(end * effect.scale, digits, signed=True) for end in (effect.low, effect.high)
        )
        text += f" [{low}, {high}]"
    return f"{text} {effect.unit}".strip()


def claimed(effect: EffectRecord) -> str:
    """Return the range in which the effect must be, as `above +0.5`."""
    return _range(effect.above, effect.below, effect.scale)


def rule(test: Test) -> str:
    """Return what a test compares and the range in which it must be."""
    ends = _range(finite(test.rule.above), finite(test.rule.below), test.scale)
    condition = " (condition)" if test.condition else ""
    return f"{test.says}: {ends} {test.unit}".strip() + condition


def _range(above: float | None, below: float | None, scale: float) -> str:
    digits = _digits(scale)
    ends = [
        f"{word} {_trimmed(end * scale, digits)}"
        for word, end in (("above", above), ("below", below))
        if end is not None
    ]
    return " and ".join(ends)


def _digits(scale: float) -> int:
    return 2 if scale == 100 else 3


def _trimmed(value: float, digits: int) -> str:
    if 0 < abs(value) < 10**-digits:
        return f"{value:g}".replace("-", "\N{MINUS SIGN}")
    text = decimal(value, digits, signed=True)
    return text.rstrip("0").rstrip(".") if "." in text else text


def quoted(figure: QuotedRecord) -> str:
    """Return a paper's figures, as `CIFAR-100, ECE: hard 0.150, LS 0.024`."""
    values = ", ".join(f"{name} {value:g}" for name, value in figure.values.items())
    source = "" if figure.origin == "paper" else f" ({figure.origin})"
    return f"{figure.setting}, {figure.measure}{f': {values}' if values else ''}{source}"


def reason(claim: ClaimRecord) -> str:
    """Return in one sentence why the verdict is what it is."""
    if claim.skipped is not None:
        return f"Skipped: {claim.skipped}."
    conditions = [each.says for each in claim.effects if _fails(each)]
    if conditions:
        return f"Undecided: the condition is not seen to hold ({listed(conditions)})."
    tests = [each for each in claim.effects if not each.condition]
    few = [each for each in tests if len(each.values) < each.seeds_needed]
    if few:
        return (
            f"Undecided: {counted(len(few[0].values), 'seed')}, and the rule asks for "
            f"{few[0].seeds_needed}."
        )
    named = [each.says for each in tests if each.verdict == claim.verdict]
    if claim.verdict == "supported":
        return "Supported: every interval is inside the range that was claimed."
    word = "outside" if claim.verdict == "refuted" else "across an end of"
    return f"{str(claim.verdict).capitalize()}: {word} the range claimed: {'; '.join(named)}."


def _fails(effect: EffectRecord) -> bool:
    return effect.condition and effect.verdict != "supported" and _enough(effect)


def _enough(effect: EffectRecord) -> bool:
    return len(effect.values) >= effect.seeds_needed


def tally(record: ClaimsRecord) -> str:
    """Return how many claims have which verdict."""
    found = [verdict(claim) for claim in record.claims]
    words = ("supported", "refuted", "undecided", SKIPPED)
    return listed([f"{found.count(word)} {word}" for word in words if word in found])


def repeats(effect: EffectRecord, record: ClaimsRecord) -> str:
    """Return how many seeds an effect is of, or draws of synthetic data where they are more."""
    count = len(effect.values)
    return f"{count} draws of data" if count > len(record.seeds) else f"{count}"


def basis(record: ClaimsRecord) -> str:
    """Return what the verdicts rest on."""
    seeds = {
        claim.name: max(len(each.values) for each in claim.effects)
        for claim in record.claims
        if claim.effects
    }
    fewer = [f"{count} of {name}" for name, count in seeds.items() if count < len(record.seeds)]
    but = f" (but {listed(fewer)})" if fewer else ""
    return (
        f"Budget {record.budget}: {counted(len(record.seeds), 'seed')} judged{but}, settings of "
        f"each method chosen from equally many by {counted(len(record.tuning_seeds), 'other')}; "
        f"{counted(record.runs, 'run')}, shared between claims, of "
        f"{record.training_seconds / 60:.1f} minutes of training in all."
    )
