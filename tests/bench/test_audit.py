"""The benchmark of the audit writes what it says, and the page is its record."""

import numpy as np
import pytest
import torch

from benchmarks import audit, costs
from softtargets.audit.files import open_predictions
from softtargets.audit.naming import Keys


@pytest.mark.parametrize("name", audit.FORMATS)
def test_every_format_holds_the_same(name, tmp_path, monkeypatch):
    if "Parquet" in name:
        pytest.importorskip("pyarrow")
    monkeypatch.setattr(audit, "BLOCK", 16)
    path, *beside = audit.FORMATS[name](tmp_path, 40)
    keys = Keys(labels=str(tmp_path / beside[1])) if beside else Keys()
    opened = open_predictions(tmp_path / path, keys)
    scores, labels = (torch.cat(parts) for parts in zip(*opened.read(), strict=True))
    expected, classes = (np.concatenate(parts) for parts in zip(*audit.blocks(40), strict=True))
    assert torch.equal(scores, torch.from_numpy(expected))
    assert torch.equal(labels, torch.from_numpy(classes))


def test_what_fails_is_not_recorded(tmp_path, monkeypatch):
    def bad(folder, rows):
        np.savez(folder / "a.npz", logits=np.full((rows, 3), np.nan, np.float32), labels=[0] * rows)
        return ["a.npz"]

    with pytest.raises(SystemExit, match="must hold no NaN, got one in row 0"):
        audit.measure(bad, 5, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_page_is_the_record_and_a_million_rows_take_less_than_a_gigabyte():
    text = audit.PAGE.read_text()
    assert audit.page(text) == text
    record = costs.read("audit")
    assert record["problem"]["rows"] == audit.ROWS
    assert set(record["results"]) == set(audit.FORMATS)
    assert all(found["peak MB"] < 1000 for found in record["results"].values())
