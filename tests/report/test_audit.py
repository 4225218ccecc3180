"""What an audit says of which numbers, and that its pages stand alone."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from softtargets.audit.against import compare
from softtargets.audit.predictions import Predictions
from softtargets.audit.run import audit, read
from softtargets.calibration import Estimate
from softtargets.report.audit.lean import Lean, lean
from softtargets.report.audit.page import render_page
from softtargets.report.audit.record import comparison_record, json_text, record
from softtargets.report.audit.terminal import print_audit, print_comparison
from softtargets.report.audit.versus import headline as versus_headline
from softtargets.report.audit.versus import lines, names, summary
from softtargets.report.audit.versus_page import render_comparison
from softtargets.report.audit.words import findings, headline, scaling_answers, smoothing_answers
from tests.audit.conftest import draw
from tests.report.test_page import Page


def reading(logits, labels, path="runs/one.npz"):
    logits, labels = torch.as_tensor(logits), torch.as_tensor(labels)
    return read(
        Predictions(
            path=Path(path),
            key="logits",
            kind="logits",
            num_classes=logits.shape[1],
            num_rows=len(logits),
            note="",
            labels=f"{path}: labels",
            read=lambda: (block for block in [(logits, labels)]),
        )
    )


@pytest.fixture(scope="module")
def over():
    return audit(reading(*draw(2000, 15, sharpness=2.0)))


@pytest.fixture(scope="module")
def comparison():
    logits, labels = draw(2000, 5)
    return compare(reading(logits, labels), reading(3 * logits, labels, "runs/two.npz"))


def judged(audit, *, gap, error):
    """The audit with this difference of confidence and accuracy, and this calibration error."""
    measures = replace(
        audit.measures,
        gap=Estimate(value=sum(gap) / 2, low=gap[0], high=gap[1]),
        expected_calibration_error=Estimate(value=sum(error) / 2, low=error[0], high=error[1]),
    )
    return replace(audit, measures=measures)


@pytest.mark.parametrize(
    ("gap", "error", "leaning", "verdict", "smoothing"),
    [
        (
            (0.04, 0.06),
            (0.04, 0.06),
            Lean.OVER,
            "it is over-confident: .* 5.0 points too sure",
            "help",
        ),
        (
            (-0.06, -0.04),
            (0.04, 0.06),
            Lean.UNDER,
            "under-confident: .* 5.0 points too unsure",
            "hurt",
        ),
        (
            (0.001, 0.003),
            (0.0, 0.004),
            Lean.OVER,
            "nearly right: .* 0.2 points too sure",
            "no reason",
        ),
        (
            (-0.01, 0.01),
            (0.0, 0.02),
            Lean.NONE,
            "holds as far as can be told: .* 2.0 points",
            "no reason",
        ),
        (
            (-0.01, 0.01),
            (0.03, 0.05),
            Lean.MIXED,
            "too high in places .* 4.0 points all in all",
            "cannot",
        ),
        (
            (0.002, 0.008),
            (0.03, 0.05),
            Lean.MIXED,
            "too high in places and too low in others",
            "cannot",
        ),
    ],
)
def test_the_verdict_follows_from_the_numbers(over, gap, error, leaning, verdict, smoothing):
    found = judged(over, gap=gap, error=error)
    assert lean(found.measures) == leaning
    assert re.search(verdict, headline(found))
    assert smoothing in smoothing_answers(found)[0]
    assert "risk–coverage" in smoothing_answers(found)[1]


def test_the_interval_of_under_confidence_is_turned_round(over):
    said = headline(judged(over, gap=(-0.06, -0.03), error=(0.03, 0.06)))
    assert "interval 3.0 to 6.0" in said


def test_scaling_says_what_it_gives(over):
    (gives, remains) = scaling_answers(over)
    assert re.search(r"T = 1.9\d|T = 2.\d\d", gives)
    assert "cannot be told from chance" in remains
    under = replace(over, scaling=replace(over.scaling, temperature=0.5))
    assert "T is below 1" in scaling_answers(under)[1]
    refused = replace(over, scaling=replace(over.scaling, improves=False))
    assert "would not help" in scaling_answers(refused)[0]
    for temperature, bound in ((9.0, "at its upper bound, T = 20"), (0.1, "hardly any errors")):
        tried = replace(over.scaling, at_bound=True, temperature=temperature)
        assert bound in scaling_answers(replace(over, scaling=tried))[0]
    left = replace(
        over.scaling.after, expected_calibration_error=Estimate(value=0.05, low=0.04, high=0.06)
    )
    some = replace(over, scaling=replace(over.scaling, after=left))
    assert "An error stays that is not chance" in scaling_answers(some)[-1]


def test_few_samples_and_samples_of_the_rows_are_said():
    found = audit(reading(*draw(300)))
    said = " ".join(answer for finding in findings(found) for answer in finding.answers)
    assert "300 samples are few" in said
    partly = replace(found, num_samples=10**6)
    said = " ".join(answer for finding in findings(partly) for answer in finding.answers)
    assert "judged on 300 rows drawn at random" in said


@pytest.mark.parametrize("kind", ["one", "two"])
def test_pages_need_nothing_but_themselves_and_are_accessible(kind, over, comparison):
    text = render_page(over) if kind == "one" else render_comparison(comparison)
    again = render_page(over) if kind == "one" else render_comparison(comparison)
    assert text == again
    page = Page(text)
    assert max(page.ids.values()) == 1
    for tag, attributes in page.attributes:
        assert tag not in {"link", "iframe", "object", "img"}
        for name in ("src", "href", "xlink:href", "srcset"):
            assert (attributes.get(name) or "#").startswith("#")
    assert "http:" not in text
    assert "https:" not in text
    used = {each["href"][1:] for _, each in page.attributes if "href" in each}
    used |= set(re.findall(r"url\(#([^)]*)\)", text))
    assert used <= set(page.ids)
    assert page.headings.count(1) == 1
    figures = [each for tag, each in page.attributes if tag == "svg"]
    assert len(figures) >= 3
    assert all(each["aria-label"] for each in figures)
    assert all("scope" in each for tag, each in page.attributes if tag == "th")


def test_names_of_files_are_escaped(over):
    text = render_page(replace(over, path=Path("<b>&.npz")))
    assert "<b>&.npz" not in text
    assert "&lt;b&gt;&amp;.npz: logits" in text


def test_the_page_of_many_classes_lists_the_worst(over):
    many = replace(over, classes=over.classes * 20, num_classes=300)
    text = Page(render_page(many)).text
    assert "The 200 worst classes of 300" in text
    assert "All classes" not in text


def test_records_are_json_and_hold_the_numbers(over, comparison):
    found = json.loads(json_text(record(over)))
    assert found["verdict"]["headline"] == headline(over).replace("\N{NO-BREAK SPACE}", " ")
    assert found["measures"]["gap"]["low"] == over.measures.gap.low
    assert len(found["classes"]) == 15
    assert len(found["curve"]["accuracy"]) == len(over.curve.accuracy)
    both = json.loads(json_text(comparison_record(comparison)))
    assert both["first"]["path"] == "runs/one.npz"
    difference = comparison.differences.expected_calibration_error.value
    assert both["differences"]["expected_calibration_error"]["value"] == difference
    assert both["differences_after_scaling"]["accuracy"]["value"] == 0


def test_the_comparison_says_which_is_better(comparison):
    assert names(comparison) == ("one.npz", "two.npz")
    for path, key, expected in [
        ("other/one.npz", "logits", ("runs", "other")),
        ("runs/one.npz", "probs", ("logits", "probs")),
        ("runs/one.npz", "logits", ("FILE", "OTHER")),
    ]:
        second = replace(comparison.second, path=Path(path), key=key)
        assert names(replace(comparison, second=second)) == expected
    assert versus_headline(comparison).startswith("two.npz is worse calibrated than one.npz: ")
    given, scaled = summary(comparison)
    assert given.endswith("; not clearly different in accuracy.")
    assert "worse in NLL, Brier score" in given
    # Up to T both are the same model.
    assert "no difference in calibration can be told" in scaled
    verdicts = {line.key: line.verdict for line in lines(comparison, scaled=True)}
    assert set(verdicts.values()) == {"not clear"}


def printed(show, found, capsys):
    show(Console(width=100, no_color=True, markup=False), found)
    return " ".join(capsys.readouterr().out.split())


def test_an_error_outside_of_its_interval_is_explained(over, capsys):
    told = "rror may lie outside of its interval: that is for the true error"
    inside = replace(over, scaling=None, not_scaled="too few")
    for state in (printed(print_audit, inside, capsys), render_page(inside)):
        assert told not in state
    for value, low, high in ((0.0532, 0.0, 0.0528), (0.0, 0.001, 0.02)):
        error = Estimate(value=value, low=low, high=high)
        measures = replace(over.measures, expected_calibration_error_plain=error)
        outside = replace(inside, measures=measures)
        for state in (printed(print_audit, outside, capsys), render_page(outside)):
            assert state.count(told) == 1
        scaling = replace(over.scaling, after=measures)
        assert told in printed(print_audit, replace(over, scaling=scaling), capsys)


def test_a_difference_that_is_not_that_of_the_two_errors_is_explained(comparison, capsys):
    told = "the difference of calibration errors is debiased as a whole"
    alone = replace(comparison, scaled=None)
    one, other = comparison.first.measures, comparison.second.measures
    exact = other.expected_calibration_error.value - one.expected_calibration_error.value
    for off, count in ((0.0, 0), (0.00004, 0), (0.0002, 1)):
        error = Estimate(value=exact + off, low=exact - 0.1, high=exact + 0.1)
        changed = replace(comparison.differences, expected_calibration_error=error)
        assert (
            printed(print_comparison, replace(alone, differences=changed), capsys).count(told)
            == count
        )


def test_terminal_output_needs_80_columns_and_no_colour(over, comparison, capsys):
    console = Console(width=80, no_color=True, markup=False)
    print_audit(console, over)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert "15 classes" in printed
    assert "[" in printed
    assert all(line.count("[") == line.count("]") for line in printed.splitlines())
    assert printed.count("calibration error, debiased") == 2
    print_audit(Console(width=100, no_color=True, markup=False), over)
    wide = capsys.readouterr().out
    assert wide.count("calibration error, debiased") == 1
    assert all(line.count("[") == line.count("]") for line in wide.splitlines())
    assert "\\" not in printed
    print_comparison(console, comparison)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert "two.npz is worse" in printed
