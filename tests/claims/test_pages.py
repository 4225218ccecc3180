"""Records of claims in the terminal, as pictures, as a page, and in the documentation."""

import io
import re
from dataclasses import replace
from types import SimpleNamespace

import msgspec
import pytest
from rich.console import Console

from softtargets.claims.record import (
    ClaimRecord,
    ClaimsRecord,
    EffectRecord,
    Panel,
    QuotedRecord,
    Series,
)
from softtargets.claims.registry import named
from softtargets.claims.running import Estimate
from softtargets.cli.claims_progress import plan_lines, shown
from softtargets.report.claims import words
from softtargets.report.claims.figures import claim_figure, draw, write_figures
from softtargets.report.claims.markdown import sections, table
from softtargets.report.claims.page import render_page, write_page
from softtargets.report.claims.terminal import list_table, verdict_table


def effect(**changes):
    fields = {
        "name": "LS - hard", "says": "ECE, LS − hard labels", "condition": False, "unit": "points",
        "scale": 100.0, "above": None, "below": -0.01, "seeds_needed": 5, "values": [-0.03] * 5,
        "value": -0.03, "low": -0.04, "high": -0.02, "verdict": "supported",
    }  # fmt: skip
    return EffectRecord(**{**fields, **changes})


def claim(*effects, **changes):
    fields = {
        "name": "paper.subject", "paper": "A <paper>, 2020", "statement": "It helps.",
        "figures": [], "verdict": "supported", "effects": list(effects),
    }  # fmt: skip
    return ClaimRecord(**{**fields, **changes})


@pytest.fixture
def record():
    skipped = claim(name="paper.other", verdict=None, skipped="it needs a file")
    point = Series(label="a <label>", x=[0.0], y=[1.0], low=[0.5], high=[1.5])
    panels = [
        Panel(title="levels", kind="levels", series=[point, point]),
        Panel(title="lines", kind="lines", x_label="rate", series=[point]),
        Panel(title="points", kind="points", series=[Series(label="b", x=[1.0], y=[2.0])]),
    ]
    judged = claim(effect(), panels=panels, chosen={"LS": "rate 0.1"}, runs=9)
    return ClaimsRecord(
        format=1, budget="cpu", seeds=[0, 1, 2, 3, 4], tuning_seeds=[100], runs=9,
        training_seconds=90.0, environments=[], claims=[judged, skipped],
    )  # fmt: skip


def test_amounts_and_ranges():
    assert words.amount(effect()) == "−3.00 [−4.00, −2.00] points"
    assert words.amount(effect(low=None, high=None, scale=1.0, unit="")) == "−0.030"
    assert words.claimed(effect()) == "below −1"
    assert words.claimed(effect(above=0.005, below=0.15)) == "above +0.5 and below +15"
    assert words.claimed(effect(scale=1.0, below=1e-6)) == "below 1e−06"
    assert words.claimed(effect(scale=1.0, below=None, above=0.0)) == "above 0"


@pytest.mark.parametrize(
    ("judged", "begins"),
    [
        (claim(effect()), "Supported: every interval"),
        (claim(effect(verdict="refuted"), verdict="refuted"), "Refuted: outside the range claimed"),
        (claim(effect(verdict="undecided"), verdict="undecided"), "Undecided: across an end of"),
        (claim(effect(values=[0.1] * 2), verdict="undecided"), "Undecided: 2 seeds, and the rule"),
        (
            claim(effect(condition=True, verdict="refuted"), effect(), verdict="undecided"),
            "Undecided: the condition is not seen to hold (ECE, LS − hard labels)",
        ),
        (claim(verdict=None, skipped="it needs a file"), "Skipped: it needs a file."),
    ],
)
def test_the_reason_of_a_verdict(judged, begins):
    assert words.reason(judged).startswith(begins)


def test_the_page(record, tmp_path):
    page = render_page(record)
    assert page == render_page(record)
    assert "1 supported and 1 skipped." in page
    assert "9 runs, shared between claims, of 1.5 minutes of training in all." in page
    assert "A &lt;paper&gt;, 2020" in page
    assert "Skipped: it needs a file." in page
    assert "a &lt;label&gt;" in page
    assert page.count("<figure>") == 1
    assert not re.search(r"(?:href|src)=\"(?:https?:)?//", page)
    write_page(record, tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == page


def test_every_claim_has_its_own_number_of_seeds(record):
    others = [
        claim(effect(values=[-0.03] * 3), name="slow.one"),
        claim(effect(values=[-0.03] * 10), effect(), name="synthetic.one"),
    ]
    record = msgspec.structs.replace(record, claims=[*record.claims, *others])
    assert "Budget cpu: 5 seeds judged (but 3 of slow.one), settings" in words.basis(record)
    cells = r"LS − hard labels \| −3\.00 [^|]* points \| ([^|]*) \| below −1 \|"
    assert re.findall(cells, sections(record, "assets")) == ["5", "3", "10 draws of data", "5"]
    cells = r"LS − hard labels</th><td>[^<]*</td><td>([^<]*)</td><td>below −1<"
    assert re.findall(cells, render_page(record)) == ["5", "3", "10 draws of data", "5"]


def test_pictures(record, tmp_path):
    write_figures(record, tmp_path / "pictures")
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["paper.subject.svg"]
    assert draw(record.claims[0]) == (tmp_path / "pictures" / "paper.subject.svg").read_text()


def test_panels_stand_two_by_two_and_do_not_touch(record):
    figure = claim_figure(record.claims[0])
    boxes = [axes.get_position() for axes in figure.axes]
    assert [round(box.x0, 2) for box in boxes] == [0.03, 0.58, 0.08, 0.58]
    assert boxes[0].y0 == boxes[1].y0 > boxes[2].y1
    assert boxes[2].y0 == boxes[3].y0 > 0
    assert all(box.x1 < 1 and box.y1 < 1 for box in boxes)


def test_the_documentation(record):
    text = table(record)
    assert (
        "| [`paper.subject`](#papersubject)<br>It helps. | **supported** | LS - hard: −3.00" in text
    )
    assert "<br>It helps. | **skipped** | it needs a file | no figures |" in text
    described = sections(record, "assets")
    assert "![Effects of paper.subject](assets/paper.subject.svg)" in described
    assert "Settings chosen by the tuning seeds: LS: rate 0.1." in described
    figure = QuotedRecord(setting="C", measure="E", values={"hard": 0.15}, origin="replication")
    assert words.quoted(figure) == "C, E: hard 0.15 (replication)"
    pictured = QuotedRecord(setting="Figure 1", measure="a curve", values={}, origin="paper")
    assert words.quoted(pictured) == "Figure 1, a curve"


def test_the_terminal(record):
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(verdict_table(record))
    printed = console.export_text()
    assert "supported" in printed
    assert "−3.00 [−4.00, −2.00] points" in printed
    assert "it needs a file" in printed


def test_progress_in_plain_lines():
    console = Console(width=80, record=True, file=io.StringIO())
    with shown(console) as told:
        told.planned(26, 3)
        for _ in range(26):
            told.finished(SimpleNamespace(method="ls"))
        told.measuring("x")
        told.note("a worker died")
    lines = console.export_text().splitlines()
    assert lines[:3] == ["26 runs to compute, 3 already there", "25 of 26 runs", "26 of 26 runs"]
    assert "Note: a worker died" in lines


def test_the_plan():
    estimate = Estimate(
        runs=10, there=4, steps=6000, minutes=1.4, unmeasured=[], by_claim={"a.b": 12},
        skipped={"c.d": "no data"},
    )  # fmt: skip
    text = "\n".join(plan_lines(estimate))
    for part in (
        "12 runs  a.b",
        "skipped  c.d: no data",
        "6 to compute, 6,000 steps",
        "about 1 min",
    ):
        assert part in text
    assert len(plan_lines(estimate)) == 4
    kinds = ["segmentation", "translation"]
    *_, line = plan_lines(replace(estimate, minutes=None, unmeasured=kinds))
    assert line.startswith(
        "no estimate of minutes: no run in segmentation and translation is there"
    )
    assert "interrupt with Ctrl-C after some runs, which are kept, and ask again" in line


def test_the_list_of_claims():
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(list_table(named(("wei",))))
    printed = console.export_text()
    assert "wei.sign" in printed
    assert "above 0 points" in printed
