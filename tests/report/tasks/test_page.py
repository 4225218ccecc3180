"""The page of a task: complete, true to the records, and readable without colour or network."""

import base64
import html
import io
import json
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from msgspec import structs
from PIL import Image

from softtargets.lab.task_summary import summarise, write_summary
from softtargets.lab.translation.record import SentenceExample
from softtargets.report.tasks import segmentation, translation
from softtargets.report.tasks.page import render_page
from softtargets.report.tasks.terminal import task_tables
from softtargets.report.tasks.translation import tokens
from softtargets.report.tasks.view import board_of
from tests.report.test_at_bound import CAPTION, stuck
from tests.report.test_page import Page, plain
from tests.report.test_tables import printed

PNG = "data:image/png;base64,"


@pytest.fixture(scope="module")
def pages(comparisons):
    return {kind: render_page(each) for kind, each in comparisons.items()}


@pytest.fixture
def text(comparison, pages):
    return pages[comparison.settings.kind]


def test_equal_comparisons_give_equal_pages(comparison, text):
    assert render_page(comparison) == text


def test_page_needs_nothing_but_itself_and_can_be_heard(text):
    page = Page(text)
    for tag, attributes in page.attributes:
        assert tag not in {"link", "iframe", "object"}
        for name in ("src", "href", "xlink:href", "srcset"):
            assert (attributes.get(name) or "#").startswith(("#", PNG))
        if tag == "img":
            assert attributes["alt"]
        if tag == "svg":
            assert attributes.get("aria-label") or attributes.get("aria-hidden")
    assert "http:" not in text
    assert "https:" not in text
    assert max(page.ids.values()) == 1
    targets = [attributes["href"] for _, attributes in page.attributes if "href" in attributes]
    used = {target[1:] for target in targets if target.startswith("#")}
    assert used | set(re.findall(r"url\(#([^)]*)\)", text)) <= set(page.ids)
    assert page.headings[0] == 1
    steps = zip(page.headings, page.headings[1:], strict=False)
    assert all(after <= before + 1 for before, after in steps)
    tags = Counter(tag for tag, _ in page.attributes)
    assert tags["table"] == tags["caption"]
    assert all("scope" in attributes for tag, attributes in page.attributes if tag == "th")


def test_every_number_and_reference_is_on_the_page(comparison, text):
    shown = plain(Page(text))
    rows = summarise(comparison)
    board = board_of(comparison, rows)
    for row in rows:
        assert board.title(row.method) in shown
        assert comparison.kind.methods[row.method].summary in html.unescape(shown)
        for scaled, means in ((False, row.plain), (True, row.scaled)):
            for metric in board.compared(scaled=scaled):
                value = metric.scale * means[metric.key].value
                assert f"{abs(value):.{metric.digits}f}" in shown
    for reference in comparison.references:
        for key, value in reference.values.items():
            [metric] = [each for each in board.metrics if each.key == key] or [None]
            if metric is not None:
                assert f"{metric.scale * value:.{metric.digits}f}" in shown
    for _, fact in comparison.data.facts:
        assert fact in html.unescape(shown)
    assert comparison.data.digest in shown


def test_sentences_are_shown_whole_with_the_confidence_of_every_token(comparisons, pages):
    comparison, text = comparisons["translation"], pages["translation"]
    shown = plain(Page(text))
    for method in comparison.runs:
        record = comparison.records(method)[0]
        assert len(record.examples) == 8
        for example in record.examples:
            assert example.source in shown
            assert example.reference in shown
            found = tokens(example)
            assert "".join(each.gap + each.text for each in found) == "".join(example.tokens)
            for each, confidence in zip(found, example.confidences, strict=True):
                assert each.confidence == f"{100 * confidence:.0f}\N{NO-BREAK SPACE}%"
                assert each.shade == round(100 - 100 * confidence)
                assert each.unsure == (confidence < 0.5)
    said = re.findall(r'class="token[^"]*" style="--s: (\d+)" title="(\d+)\xa0%"', text)
    total = sum(len(e.tokens) for m in comparison.runs for e in comparison.records(m)[0].examples)
    assert len(said) == total
    assert all(abs(int(shade) + int(number) - 100) <= 1 for shade, number in said)


@pytest.mark.parametrize(
    ("parts", "shown", "joined"),
    [
        (
            [b"Die", b" gro", b"\xc3", b"\x9f", b"e", b" Stra\xc3", b"\x9fe"],
            ["Die", " gro", "ß", "e", " Straße"],
            [1, 1, 2, 1, 2],
        ),
        ([b"\xe7\x9a", b"\x84\xe6", b"\x98\xaf", b"\xd0", b"\xbb"], ["的是", "л"], [3, 2]),
        # Told from what each token shows alone, the first two may be all of the first character.
        ([b"\xe7", b"\x9a", b"\x84", b"\xe2\x80", b"\x93\xe6", b"\x98\xaf"], ["的–是"], [6]),
        ([b"\xc3", b"e"], ["\N{REPLACEMENT CHARACTER}", "e"], [1, 1]),
        ([], [], []),
    ],
)
def test_tokens_that_share_a_character_are_shown_as_one(parts, shown, joined):
    example = SentenceExample(
        index=0,
        source="",
        reference="",
        translation=b"".join(parts).decode(errors="replace"),
        tokens=[*(part.decode(errors="replace") for part in parts), "</s>"],
        confidences=[0.9] * len(parts) + [0.4],
    )
    found = tokens(example)
    assert [each.gap + each.text for each in found] == [*shown, "</s>"]
    assert [each.shade for each in found] == [*(round(100 - 100 * 0.9**k) for k in joined), 60]
    assert all(
        each.confidence.startswith(f"{100 - each.shade}\N{NO-BREAK SPACE}") for each in found
    )


def test_text_of_a_corpus_cannot_become_markup(comparisons):
    given = comparisons["translation"]
    folder, record = given.runs["hard"][0]
    bad = structs.replace(
        record.examples[0],
        source="<script>alert(1)</script>",
        tokens=["<b>", "&"],
        confidences=[0.1, 0.9],
    )
    changed = [(folder, structs.replace(record, examples=[bad, *record.examples[1:]]))]
    page = render_page(replace(given, runs=given.runs | {"hard": changed + given.runs["hard"][1:]}))
    assert "<script>alert" not in page
    assert "&lt;b&gt;" in page


def test_pictures_are_the_masks_and_predictions_of_the_records(comparisons, pages):
    comparison, text = comparisons["segmentation"], pages["segmentation"]
    pictures = [
        Image.open(io.BytesIO(base64.b64decode(source)))
        for source in re.findall(rf'<img src="{PNG}([^"]+)"', text)
    ]
    arrays = {method: comparison.arrays(method)[0] for method in comparison.runs}
    first = next(iter(arrays.values()))
    colours = segmentation.class_colours(11)
    places = {colour: k for k, colour in enumerate([*colours, segmentation.VOID])}
    expected = []
    for place in range(len(first["example_index"])):
        expected += [first["example_images"][place], first["example_masks"][place]]
        for each in arrays.values():
            expected += [each["example_predictions"][place], each["example_confidences"][place]]
    assert len(pictures) == len(expected)
    for number, (picture, array) in enumerate(zip(pictures, expected, strict=True)):
        if picture.mode == "RGB":
            np.testing.assert_array_equal(np.asarray(picture).transpose(2, 0, 1), array)
        elif picture.mode == "L":
            assert np.abs(np.asarray(picture).astype(int) - array).max() <= 5
        else:
            seen = np.asarray(picture.convert("RGB"))
            names = ["#" + bytes(pixel).hex() for pixel in seen.reshape(-1, 3)]
            np.testing.assert_array_equal([places[name] for name in names], array.ravel())
        assert picture.mode == ("RGB", "P", "P", "L", "P", "L")[number % 6]
    for colour in places:
        assert f"background: {colour}" in text


@pytest.mark.parametrize("count", [2, 11, 40, 255])
def test_classes_have_colours_of_their_own(count):
    colours = segmentation.class_colours(count)
    assert len(set(colours)) == len(colours) == count
    assert segmentation.VOID not in colours


def test_bins_are_those_of_the_predictions(comparisons):
    comparison = comparisons["translation"]
    [arrays, _] = comparison.arrays("hard")
    for scaled, prefix in ((False, "token"), (True, "scaled_token")):
        bins = translation.VIEW.bins(arrays, scaled=scaled)
        confidence, right = arrays[f"{prefix}_confidence"], arrays[f"{prefix}_right"]
        counts, _ = np.histogram(confidence, np.linspace(0, 1, 16))
        np.testing.assert_array_equal(bins.counts, counts)
        assert float(bins.outcome_sums.sum()) == right.sum()
    other = comparisons["segmentation"]
    record, arrays = other.records("ce")[0], other.arrays("ce")[0]
    for scaled, metrics in ((False, record.metrics), (True, record.scaled)):
        bins = segmentation.VIEW.bins(arrays, scaled=scaled)
        assert int(bins.counts.sum()) == record.sampled["all"]
        expected = metrics["expected_calibration_error"].value
        assert float(bins.calibration_error()) == pytest.approx(expected, abs=1e-6)


def test_a_temperature_at_its_bound_is_marked(comparison, tmp_path):
    method = list(comparison.runs)[1]
    name = comparison.kind.methods[method].title
    told = f"in 2 of 4 runs ({name}) T is at its bound, 0.05 or 20: the scaled numbers are not"
    for count in (0, 1):
        found = stuck(comparison, method, 2 * count)
        rows = summarise(found)
        text = " ".join(printed(task_tables(found, rows, width=200), 200).split())
        assert text.count(CAPTION) == count
        page = render_page(found)
        assert page.count(told) == page.count(">at its bound<") == count
        write_summary(found, rows, tmp_path / "summary.json")
        kept = json.loads((tmp_path / "summary.json").read_text())["rows"]
        assert [row["at_bound"] for row in kept] == [0, 2 * count]
