"""The page on translation and the committed comparisons on Multi30k say the same."""

import json

import pytest

from benchmarks import multi30k
from benchmarks.readme import filled

RECORDS = {name: json.loads(path.read_text()) for name, path in multi30k.RECORDS.items()}
TEXT = multi30k.PAGE.read_text()


@pytest.mark.parametrize("name", RECORDS)
def test_the_table_is_the_records(name):
    mark = name.replace("_", "-")
    assert f"<!-- {mark} -->" in TEXT
    assert filled(TEXT, mark, multi30k.table(RECORDS[name])) == TEXT


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_the_command_is_that_of_the_settings(record):
    assert record["command"] == multi30k.command(record["settings"])
    assert record["data"]["name"] == "multi30k, en to de"


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_the_models_are_well_above_what_needs_no_model(record):
    copying = record["references"][0]["values"]["bleu_10"]
    assert all(row["plain"]["bleu_10"]["value"] > 20 * copying for row in record["rows"])


def test_unigram_smoothing_loses_by_wider_beams():
    rows = {row["method"]: row["plain"] for row in RECORDS["multi30k_unigram"]["rows"]}
    fallen = {name: row["bleu_1"]["value"] - row["bleu_10"]["value"] for name, row in rows.items()}
    assert fallen["unigram"] > 3
    assert max(fallen["hard"], fallen["ls"]) < 0
