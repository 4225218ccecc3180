"""The page on texts and the committed comparisons on TREC say the same."""

import json

import pytest

from benchmarks import trec
from benchmarks.readme import filled

RECORDS = {name: json.loads(path.read_text()) for name, path in trec.RECORDS.items()}
TEXT = trec.PAGE.read_text()


@pytest.mark.parametrize("name", RECORDS)
def test_the_table_is_the_records(name):
    mark = name.replace("_", "-")
    assert f"<!-- {mark} -->" in TEXT
    assert filled(TEXT, mark, trec.table(RECORDS[name])) == TEXT


@pytest.mark.parametrize(("name", "noise"), [("trec", 0.0), ("trec_noise_20", 0.2)])
def test_the_command_is_that_of_the_settings(name, noise):
    settings = RECORDS[name]["settings"]
    assert RECORDS[name]["command"] == trec.command(settings)
    assert (settings["noise"], settings["data"]) == (noise, "trec, coarse")
