"""The table and the sections of claims for the documentation."""

from softtargets.claims.record import ClaimRecord, ClaimsRecord
from softtargets.report.claims import words


def table(record: ClaimsRecord) -> str:
    """Return one row per claim.

    Args:
        record: of claims.
    """
    rows = [
        f"| [`{claim.name}`](#{_anchor(claim)})<br>{claim.statement} | **{words.verdict(claim)}** "
        f"| {_effects(claim)} | {_figures(claim)} |"
        for claim in record.claims
    ]
    head = ["| claim | verdict | effects [95 % interval] | in the paper |", "|---|---|---|---|"]
    return "\n".join([f"{words.tally(record)}. {words.basis(record)}", "", *head, *rows]) + "\n"


def sections(record: ClaimsRecord, pictures: str) -> str:
    """Return one section per claim.

    Args:
        record: of claims.
        pictures: the folder of the pictures, as a link from the page.
    """
    return "\n".join(_section(claim, record, pictures) for claim in record.claims)


def _section(claim: ClaimRecord, record: ClaimsRecord, pictures: str) -> str:
    lines = [f"### {claim.name}", "", f"{claim.statement} ({claim.paper})", "", words.reason(claim)]
    if claim.skipped is None:
        lines += [
            "",
            f"![Effects of {claim.name}]({pictures}/{claim.name}.svg)",
            "",
            "| what is compared | effect [95 % interval] | seeds | claimed | verdict |",
            "|---|---|---|---|---|",
            *(
                f"| {each.says}{' (condition)' if each.condition else ''} | {words.amount(each)} | "
                f"{words.repeats(each, record)} | {words.claimed(each)} | {each.verdict} |"
                for each in claim.effects
            ),
        ]
    if claim.chosen:
        chosen = "; ".join(f"{arm}: {setting}" for arm, setting in claim.chosen.items())
        lines += ["", f"Settings chosen by the tuning seeds: {chosen}."]
    return "\n".join([*lines, ""])


def _anchor(claim: ClaimRecord) -> str:
    return claim.name.replace(".", "")


def _effects(claim: ClaimRecord) -> str:
    if claim.skipped is not None:
        return claim.skipped
    return "<br>".join(
        f"{each.name}: {words.amount(each)}" for each in claim.effects if not each.condition
    )


def _figures(claim: ClaimRecord) -> str:
    return "<br>".join(words.quoted(figure) for figure in claim.figures) or "no figures"
