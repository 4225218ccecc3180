"""Files of a data set that are in none of its parts: said wherever its numbers are."""

import html
import json
import os

import msgspec

from softtargets.lab.segmentation import comparing
from softtargets.lab.segmentation.data import load
from softtargets.lab.task_compare import TaskSettings, compare, recall
from softtargets.lab.task_summary import summarise
from softtargets.report.tasks.page import render_page
from softtargets.report.tasks.terminal import conclusion
from tests.lab.segmentation.scenes import VOID, files, written


def test_files_that_belong_to_no_pair_are_told_wherever_numbers_are(tmp_path):
    held = files() | {"README.txt": b"", "train/a\x1b[31m.txt": b""}
    settings = TaskSettings(
        kind="segmentation",
        data=f"segmentation:{written(tmp_path / 'scenes', held)}?ignore={VOID}",
        methods=("ce",),
        seeds=1,
        epochs=1,
        options={"width": 2, "depth": 1, "pixels": 5, "resamples": 0},
    )
    compare(settings, tmp_path / "out")
    told = "2 files belong to no pair of image and mask: README.txt, 'train/a\\x1b[31m.txt'."
    recalled = recall(tmp_path / "out")
    assert dict(recalled.data.facts)["Left out"] == told
    assert f"Left out: {told}" in conclusion(recalled, summarise(recalled))
    assert told in html.unescape(render_page(recalled))
    study = json.loads((tmp_path / "out" / "study.json").read_bytes())
    assert ["Left out", told] in study["data"]["facts"]


def test_of_many_files_left_out_some_are_named_and_of_none_nothing_is_said(tmp_path):
    folder = written(tmp_path, files())
    word = f"segmentation:{folder}?ignore={VOID}"
    facts = dict(comparing.describe(load(word)).facts)
    assert list(facts) == ["Images", "Classes", "Void"]
    assert not any("left" in text or "no pair" in text for text in facts.values())
    written(folder, {"one.md": b""})
    told = dict(comparing.describe(load(word)).facts)["Left out"]
    assert told == "one file belongs to no pair of image and mask: one.md."
    # A name that is no text, as Linux has them.
    (folder / os.fsdecode(b"0\xff.md")).write_bytes(b"")
    written(folder, {f"{number}.md": b"" for number in range(1100)})
    data = comparing.describe(load(word))
    told = dict(data.facts)["Left out"]
    assert told.startswith(
        "1,102 files belong to no pair of image and mask: 0.md, '0\\udcff.md', 1.md"
    )
    assert told.endswith(" and 1,097 more.")
    msgspec.json.encode(data)
