"""What a reader is told of wrong labels."""

import dataclasses
import io
import re

import numpy as np
import pytest
from rich.console import Console

from softtargets.lab import data
from softtargets.lab.summary import DENOISING, Mean, summarise
from softtargets.report.cells import denoising_sheet
from softtargets.report.facts import facts, wrong_labels
from softtargets.report.notation import mean_and_half_width
from softtargets.report.page import render_page
from softtargets.report.tables import comparison_tables
from softtargets.report.verdict import Board


@pytest.fixture(scope="module")
def noisy(runs):
    return runs(noise=0.3, noise_kind="pair", methods=("hard", "ls"))


def printed(table):
    console = Console(width=80, file=io.StringIO())
    console.print(table)
    return console.file.getvalue()


def test_the_last_table_is_of_wrong_labels(noisy, comparison):
    rows = summarise(noisy)
    *others, last = comparison_tables(rows, seeds=2, width=80)
    assert len(others) == len(comparison_tables(summarise(comparison), seeds=2, width=80)) == 3
    text = printed(last)
    for row in rows:
        for metric in DENOISING:
            assert mean_and_half_width(metric, row.denoising[metric.key], joint=" ±") in text
    assert max(map(len, text.splitlines())) <= 80


def test_it_is_there_for_many_methods_too(noisy):
    rows = summarise(noisy)
    names = ("ls", "ols", "prior", "las", "tsla", "cls", "gce", "sce")
    many = [rows[0], *(dataclasses.replace(rows[1], method=name) for name in names)]
    glance, last = comparison_tables(many, seeds=2)
    assert "At a glance" in printed(glance)
    assert "What became of wrong labels" in printed(last)


def test_the_page_shows_every_share_and_the_share_of_wrong_labels(noisy):
    page = render_page(noisy)
    section = re.search(r'<section id="noise">.*?</section>', page, re.DOTALL)[0]
    for row in summarise(noisy):
        for metric in DENOISING:
            assert f"{100 * row.denoising[metric.key].value:.1f}" in section
    truth = data.load("digits").train.labels.numpy()
    [record, other] = noisy.records("ls")
    mislabelled = (record.denoising.mislabelled + other.denoising.mislabelled) / 2 / len(truth)
    assert wrong_labels(noisy) == f"{100 * mislabelled:.1f}\N{NO-BREAK SPACE}%"
    assert wrong_labels(noisy) in section
    assert f"{wrong_labels(noisy)} of the training labels wrong." in page


def test_naming_the_true_class_is_good_and_the_wrong_label_bad(make_row):
    def row(method, low, high):
        shares = {metric.key: Mean(0.5, 0.4, 0.6) for metric in DENOISING}
        gaps = {metric.key: Mean((low + high) / 2, low, high) for metric in DENOISING}
        return dataclasses.replace(
            make_row(method),
            denoising=shares,
            denoising_difference={} if method == "hard" else gaps,
        )

    rows = [row("hard", 0, 0), row("ls", 0.1, 0.2), row("ols", -0.2, -0.1), row("ils", -0.1, 0.1)]
    sheet = denoising_sheet(Board(rows, 5))
    verdicts = {method: [cell.verdict for cell in cells] for method, cells in sheet.lines}
    assert verdicts == {
        "hard": ["", "", "", ""],
        "ls": ["perhaps better", "perhaps better", "perhaps worse", ""],
        "ols": ["perhaps worse", "perhaps worse", "perhaps better", ""],
        "ils": ["not clear", "not clear", "not clear", ""],
    }


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"noise": 0.3, "noise_kind": "pair"}, "at a rate of 30.0 %.* to the next class, anew"),
        (
            {"noise": 0.3, "noise_kind": "asymmetric", "noise_map": ((1, 2),)},
            "to the class that theirs is mistaken for",
        ),
        ({}, "none: all labels are as they come"),
    ],
)
def test_the_kind_of_noise_is_told(runs, changes, told):
    comparison = runs(methods=("hard",), epochs=1, **changes)
    text = dict(facts(comparison, summarise(comparison)))["Label noise"]
    assert re.search(told, text.replace("\N{NO-BREAK SPACE}", " ").lower())
    assert ("fitted on clean labels" in text) == bool(changes)


def test_labels_of_a_file_are_told_by_its_name(runs, tmp_path):
    digits = data.load("digits")
    labels = np.zeros(digits.total, int)
    np.save(tmp_path / "human.npy", labels)
    found = runs(methods=("hard",), epochs=1, noisy_labels=str(tmp_path / "human.npy"))
    text = dict(facts(found, summarise(found)))["Label noise"]
    share = float((digits.train.labels != 0).double().mean())
    assert f"{100 * share:.1f}" in text
    assert "those of human.npy, the same for all seeds" in text
    assert str(tmp_path) not in render_page(found)


def test_records_of_a_version_that_did_not_count_have_no_table(noisy):
    import msgspec

    (folder, record), *others = noisy.runs["ls"]
    bare = msgspec.structs.replace(record, denoising=msgspec.UNSET)
    old = dataclasses.replace(noisy, runs={**noisy.runs, "ls": [(folder, bare), *others]})
    assert len(comparison_tables(summarise(old), seeds=2)) == 3
    assert '<section id="noise">' not in render_page(old)
