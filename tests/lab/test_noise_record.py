"""The page on noise and the committed comparison say the same."""

import json

import msgspec
import pytest

from benchmarks import noise_comparison as benchmark
from benchmarks.readme import filled
from softtargets.lab.summary import Row, mean_over_seeds
from softtargets.report.notation import title

RECORD = json.loads(benchmark.RECORD.read_text())
ROWS = msgspec.convert(RECORD["rows"], list[Row])


def test_the_table_is_the_records():
    page = benchmark.PAGE.read_text()
    assert filled(page, "comparison", benchmark.table(RECORD)) == page
    assert "<!-- comparison -->" in page


def test_the_command_is_that_of_the_settings():
    settings = RECORD["settings"]
    assert RECORD["command"] == benchmark.command(settings)
    assert (settings["noise"], settings["seeds"]) == (0.4, 5)


def test_differences_are_those_of_the_seeds():
    values = RECORD["values"]
    base = values["hard"]["plain"]["accuracy"]
    text = benchmark.table(RECORD)
    clear = next(line for line in text.splitlines() if line.startswith("- Clearly more"))
    for row in ROWS[1:]:
        own = values[row.method]["plain"]["accuracy"]
        gap = mean_over_seeds([a - b for a, b in zip(own, base, strict=True)])
        found = row.plain_difference["accuracy"]
        assert (found.value, found.low) == pytest.approx((gap.value, gap.low))
        names = clear.split(": ")[1].rstrip(".").replace(" and ", ", ").split(", ")
        assert (title(row.method) in names) == (gap.low > 0)


@pytest.mark.parametrize(
    ("method", "told"), [("forward", "81 % and 92 %"), ("forward-est", "88 % and 91 %")]
)
def test_the_range_of_the_seeds_is_told(method, told):
    values = RECORD["values"][method]["plain"]["accuracy"]
    assert f"{100 * min(values):.0f} % and {100 * max(values):.0f} %" == told
    assert told in benchmark.PAGE.read_text()
