"""The page on translation and the committed comparison on Multi30k say the same."""

import json

from benchmarks import multi30k
from benchmarks.readme import filled

RECORD = json.loads(multi30k.RECORD.read_text())
TEXT = multi30k.PAGE.read_text()


def test_the_table_is_the_record():
    assert "<!-- multi30k -->" in TEXT
    assert filled(TEXT, "multi30k", multi30k.table(RECORD)) == TEXT


def test_the_command_is_that_of_the_settings():
    assert RECORD["command"] == multi30k.command(RECORD["settings"])
    assert RECORD["data"]["name"] == "multi30k, en to de"


def test_the_models_are_well_above_what_needs_no_model():
    copying = RECORD["references"][0]["values"]["bleu_10"]
    assert all(row["plain"]["bleu_10"]["value"] > 20 * copying for row in RECORD["rows"])
