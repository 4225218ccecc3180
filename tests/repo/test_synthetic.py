"""The page on the synthetic benchmark is made of its records, which are complete."""

from itertools import product

import numpy as np
import pytest

from benchmarks import synthetic as page
from softtargets.lab.synthetic.record import VARIANTS, read_record, read_surface
from softtargets.lab.synthetic.scores import METRICS
from softtargets.lab.synthetic.trials import METHODS


@pytest.mark.parametrize("name", page.BUDGETS)
def test_the_tables_are_the_records(name):
    record = read_record(page.FOLDER / f"{name}.json")
    text = page.PAGE.read_text()
    assert page.filled(text, name, page.table(record)) == text
    assert record.budget == page.BUDGETS[name]
    assert record.draws == list(range(len(record.draws)))
    assert tuple(record.methods) == METHODS
    for method, variant, metric in product(METHODS, VARIANTS, METRICS):
        values = record.values(method, variant, metric)
        assert len(values) == len(record.draws)
        assert np.isfinite(values).all()


@pytest.mark.parametrize("name", page.BOUNDS)
def test_the_surfaces_are_the_records(name):
    record = read_surface(page.FOLDER / f"{name}.json")
    text = page.PAGE.read_text()
    assert page.filled(text, name, page.surface_table(record)) == text
    assert record.max_rate == page.BOUNDS[name]
    assert np.array(record.nll).shape == (len(record.draws), len(record.p1), len(record.p2))


@pytest.mark.parametrize("path", sorted(page.FOLDER.glob("*.json")), ids=lambda path: path.name)
def test_records_are_small(path):
    assert path.stat().st_size < 300_000
