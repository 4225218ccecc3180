"""A page on texts: the text where a picture would stand, and what methods say of test texts."""

import dataclasses
from functools import partial
from html import escape

import msgspec
import numpy as np
import pytest

from softtargets import calibration
from softtargets.lab.compare import Settings, compare, recall
from softtargets.lab.data import load
from softtargets.lab.options import Training
from softtargets.lab.study import describe
from softtargets.report.facts import text_note
from softtargets.report.page import render_page
from softtargets.report.targets import chosen_examples, drawn_names
from softtargets.report.texts import text_examples
from tests.lab import text_tables

TRAINING = Training(model="text-bag", optimizer="adamw", learning_rate=0.02, batch_size=16)


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    root = text_tables.folder(folder / "rings")
    odd = [("tree", "<b>How old is a saw</b> & an axe ?"), ("tool", "Is it a nail ?" + 700 * " !")]
    text_tables.written(root / "rings_test.tsv", [*text_tables.rows(6, start=100), *odd])
    asked = Settings(
        data=f"text:{root}", methods=("hard", "ls"), seeds=2, epochs=3, noise=0.2, training=TRAINING
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration, "evaluate", partial(calibration.evaluate, bootstrap=2))
        compare(asked, folder / "out")
    return folder / "out"


@pytest.fixture(scope="module")
def comparison(output):
    return recall(output)


def test_the_page_shows_texts_by_their_class_names(comparison):
    page = render_page(comparison)
    example = next(iter(chosen_examples(comparison).values()))
    data = load(comparison.settings.data)
    text = data.texts.train[example.index]
    label, truth = (data.class_names[each] for each in (example.label, example.true_label))
    said = f"labelled {label}" + ("." if label == truth else f", wrongly; it is a {truth}.")
    sample = f"<blockquote>{escape(text)}</blockquote><p>Training sample {example.index}, {said}"
    assert sample in page
    assert "&lt;b&gt;How old is a saw&lt;/b&gt; &amp; an axe ?" in page
    assert "<b>How" not in page
    assert "! !… (814 characters more)" in page
    assert '<li><a href="#texts">Texts</a></li>' in page
    for name in data.class_names:
        assert f"class {name} " in page  # what a target's figure is called


def test_the_examples_are_what_the_runs_say(comparison):
    data = load(comparison.settings.data)
    seen = 0
    for _, examples in text_examples(comparison):
        for example in examples:
            place = next(
                number
                for number, text in enumerate(data.texts.test)
                if text[:50] == example.text[:50]
            )
            assert example.label == data.class_names[int(data.test.labels[place])]
            for method, (said, sure, scaled, right) in example.sheet.lines:
                runs = comparison.runs[method]
                logits = np.stack([each.arrays()["test_logits"][place] for each, _ in runs])
                tops = logits.argmax(-1)
                assert said.text == data.class_names[tops[0]]
                assert (said.verdict == "wrong") == (said.text != example.label)
                for cell, divisor in ((sure, 1.0), (scaled, runs[0][1].temperature)):
                    powers = np.exp((logits[0] - logits[0].max()).astype(float) / divisor)
                    assert cell.text == f"{100 / powers.sum():.1f}\u00a0%"
                count = sum(data.class_names[top] == example.label for top in tops)
                assert right.text == f"{count} of 2"
                seen += 1
    assert seen >= 6


def test_examples_differ_most_or_are_wrong(comparison):
    groups = dict(text_examples(comparison))
    differing, wrong = groups.values()
    assert len(differing) == 3
    for example in wrong:
        assert any(line[1][3].text != "2 of 2" for line in example.sheet.lines)
    assert not {each.text for each in differing} & {each.text for each in wrong}


def test_how_texts_were_read_is_told(comparison):
    told = text_note(comparison)
    assert "none is cut." in told
    assert told in render_page(comparison)


def test_of_many_test_texts_some_are_kept(comparison, monkeypatch):
    data = load(comparison.settings.data)
    monkeypatch.setattr("softtargets.lab.study.MOST_TEXTS", 5)
    kept = describe(data, ()).texts.test
    assert list(kept) == [0, 4, 8, 12, 16]
    assert kept[4] == data.texts.test[4]
    texts = msgspec.structs.replace(comparison.data.texts, test=kept)
    summary = msgspec.structs.replace(comparison.data, texts=texts)
    fewer = dataclasses.replace(comparison, data=summary)
    shown = {each.text for _, examples in text_examples(fewer) for each in examples}
    assert shown <= set(kept.values())


def test_long_names_of_classes_are_drawn_as_numbers(comparison):
    assert drawn_names(("a", "b"), [0, 1]) == {0: "a", 1: "b"}
    assert drawn_names(None, [4]) == {4: "4"}
    long = tuple(f"class number {each}" for each in range(6))
    assert drawn_names(long, [1, 5]) == {1: long[1], 5: long[5]}
    assert drawn_names(long, list(range(6))) == {each: str(each) for each in range(6)}
    texts = msgspec.structs.replace(
        comparison.data.texts, class_names=tuple(30 * each for each in "abc")
    )
    renamed = dataclasses.replace(
        comparison, data=msgspec.structs.replace(comparison.data, texts=texts)
    )
    assert f"Classes: 0 {30 * 'a'}, 1 {30 * 'b'}, 2 {30 * 'c'}." in render_page(renamed)


def test_pages_of_numbers_have_no_texts(runs):
    found = runs(methods=("hard",), seeds=1)
    assert text_examples(found) == []
    assert text_note(found) == ""
    assert "blockquote>" not in render_page(found)
