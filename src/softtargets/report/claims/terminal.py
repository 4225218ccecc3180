"""Claims as a table for the terminal."""

from rich import box
from rich.table import Table

from softtargets.claims.claim import Claim
from softtargets.claims.record import ClaimsRecord
from softtargets.report.claims import words

_STYLES = {"supported": "green", "refuted": "red", "undecided": "", words.SKIPPED: "dim"}


def verdict_table(record: ClaimsRecord) -> Table:
    """Return one row per claim: the verdict and the effects that made it.

    Args:
        record: of claims.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    for column in ("claim", "verdict", "effects [95 % interval]"):
        table.add_column(column, overflow="fold")
    for claim in record.claims:
        verdict = words.verdict(claim)
        effects = "\n".join(f"{each.name}: {words.amount(each)}" for each in claim.effects)
        told = f"[{_STYLES[verdict]}]{verdict}[/]" if _STYLES[verdict] else verdict
        table.add_row(claim.name, told, _plain(claim.skipped or effects))
    return table


def list_table(claims: list[Claim]) -> Table:
    """Return one row per claim: what it says and the rule that decides it."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_lines=True)
    for column in ("claim", "says", "supported if the 95 % interval is in this range"):
        table.add_column(column, overflow="fold")
    for claim in claims:
        rules = "\n".join(f"• {words.rule(test)}" for test in claim.tests)
        table.add_row(claim.name, _plain(f"{claim.statement}\n{claim.paper}"), _plain(rules))
    return table


def _plain(text: str) -> str:
    return text.replace("[", r"\[")
