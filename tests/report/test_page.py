import dataclasses
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from html.parser import HTMLParser

import msgspec
import pytest

from softtargets.lab.errors import LabError
from softtargets.lab.summary import METRICS, summarise
from softtargets.report.facts import facts
from softtargets.report.notation import mean_and_half_width, title
from softtargets.report.page import render_page, write_page

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """Collects what the tests ask about, and checks that tags nest."""

    def __init__(self, text):
        super().__init__()
        self.open, self.attributes, self.headings, self.ids = [], [], [], Counter()
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.attributes.append((tag, dict(attributes)))
        self.ids.update(value for name, value in attributes if name == "id")
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script", "svg"} & set(self.open):
            self.text += data


@pytest.fixture(scope="module")
def text(comparison):
    return render_page(comparison)


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def plain(page):
    return " ".join(page.text.split())


def test_page_needs_nothing_but_itself(text, page):
    for tag, attributes in page.attributes:
        assert tag not in {"link", "iframe", "object"}
        for name in ("src", "href", "xlink:href", "srcset"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/png;base64,"))
    assert "@import" not in text
    assert "http:" not in text
    assert "https:" not in text


def test_every_link_leads_to_an_id_and_ids_are_unique(text, page):
    assert max(page.ids.values()) == 1
    targets = [attributes["href"] for _, attributes in page.attributes if "href" in attributes]
    used = {target[1:] for target in targets if target.startswith("#")}
    used |= set(re.findall(r"url\(#([^)]*)\)", text))
    assert used <= set(page.ids)


def test_page_is_accessible(page):
    tags = Counter(tag for tag, _ in page.attributes)
    assert ("html", {"lang": "en"}) in page.attributes
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(
        after <= before + 1 for before, after in zip(page.headings, page.headings[1:], strict=False)
    )
    assert all("scope" in attributes for tag, attributes in page.attributes if tag == "th")
    figures = [attributes for tag, attributes in page.attributes if tag == "svg"]
    assert all(each.get("aria-label") or each.get("aria-hidden") for each in figures)
    assert tags["table"] == tags["caption"] == 5


def test_every_method_and_number_is_on_the_page(comparison, page):
    shown = plain(page)
    for row in summarise(comparison):
        assert title(row.method) in shown
        parts = [(row.plain, False), (row.scaled, False)]
        parts += [(row.plain_difference, True), (row.scaled_difference, True)]
        for means, signed in parts:
            for metric in METRICS:
                if metric.key in means and not (signed and metric.key == "accuracy"):
                    assert mean_and_half_width(metric, means[metric.key], signed=signed) in shown


def test_the_first_table_says_what_its_columns_are(page):
    shown = plain(page)
    assert "calibration error is the debiased ECE" in shown
    assert "which need not be clearly the best" in shown.partition("Findings Does")[0]
    assert "last two columns" not in shown


def test_every_table_can_say_that_it_scrolls(page):
    cues = [each for tag, each in page.attributes if each.get("class") == "swipe"]
    frames = [each for tag, each in page.attributes if each.get("class") == "scroll"]
    assert len(cues) == len(frames) == 5


def test_two_seeds_are_told_as_perhaps(text, page):
    shown = plain(page)
    headline = shown.partition("3 methods, 2 seeds")[0]
    assert "clearly more" not in headline
    assert "clearly better" not in headline.replace("No method is clearly better", "")
    assert 'class="verdict perhaps-' in text
    assert 'class="verdict clearly-' not in text
    assert "“Perhaps”: it does too, but so few seeds were run" in shown


def test_the_choice_of_the_sample_is_explained(comparison, page):
    stored = len(comparison.records("ls")[0].examples)
    assert f"Of the {stored} samples stored with each run" in plain(page)


def test_page_says_how_it_was_made(comparison, page):
    shown = plain(page)
    assert "898 samples to train on, 300 for validation, 599 for testing" in shown
    assert "Student’s t over the seeds" in shown
    assert "share one split" in shown
    assert "64 – 128 – 128 – 10" in shown
    assert f"torch {comparison.records('ls')[0].environment.torch}" in shown
    assert "nan" not in shown.lower().split()


def test_two_renders_are_equal(comparison, text):
    assert render_page(comparison) == text


def test_figures_are_well_formed_xml(text):
    figures = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    assert len(figures) >= 2 * 3 + 3 + 3 + len(METRICS) + 3 + 1
    for figure in figures:
        ElementTree.fromstring(figure)


def test_page_stays_small(text):
    assert len(text.encode()) < 1_000_000


def test_a_hostile_name_is_escaped(comparison):
    hostile = "<script>alert('$x$')</script>\"&"
    data = msgspec.structs.replace(comparison.data, name=hostile)
    text = render_page(dataclasses.replace(comparison, data=data))
    assert hostile not in text
    assert text.count("<script>") == 1
    assert hostile in Page(text).text


@pytest.mark.parametrize(
    ("changes", "present", "absent"),
    [
        ({"seeds": 1}, "One seed cannot tell", "clearly better"),
        ({"methods": ("ls",)}, "Hard labels were not run", 'id="differences"'),
        ({"methods": ("hard",)}, "Only hard labels were run", 'id="differences"'),
        ({"noise": 0.2, "epochs": 1}, "What became of the wrong labels", "nan"),
        ({"epochs": 1}, "Label noise", 'id="noise"'),
    ],
)
def test_other_comparisons_render(runs, changes, present, absent):
    text = render_page(runs(**changes))
    assert present in Page(text).text
    assert absent not in re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)


def test_page_is_written_whole(comparison, text, tmp_path):
    write_page(comparison, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text() == text
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(LabError, match="cannot write"):
        write_page(comparison, tmp_path / "missing" / "report.html")


def test_a_temperature_at_its_bound_is_told(comparison):
    (folder, record), *others = comparison.runs["ls"]
    stuck = msgspec.structs.replace(record, temperature_at_bound=True)
    changed = dataclasses.replace(
        comparison, runs={**comparison.runs, "ls": [(folder, stuck), *others]}
    )
    told = dict(facts(changed, summarise(changed)))["Temperature"]
    assert "In one run the search ended at its bound" in told
    assert "bound" not in dict(facts(comparison, summarise(comparison)))["Temperature"]
