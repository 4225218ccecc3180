"""The benchmark of streaming runs, ends where values are wrong, and the page is its record's."""

import pytest
import torch

from benchmarks import costs, streaming
from softtargets.calibration import StreamingCalibration


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(streaming, "CLASSES", 20)
    monkeypatch.setattr(streaming, "BATCH", 100)
    monkeypatch.setattr(streaming, "GATED", 200)


def test_runs(small):
    results = streaming.measure(300, 1)
    assert len([name for name in results if "torch.max" in name]) == 2
    cases = ("logits", "probabilities", "probabilities, class-wise too", "probabilities, unsure")
    for name in cases:
        assert results[name]["ratio to torch.max"]["median"] > 0
        assert results[name]["largest error"] < streaming.TOLERANCE


def test_wrong_values_are_not_timed(small, monkeypatch):
    update = StreamingCalibration.update

    def first_row_left_out(self, labels, **scores):
        update(self, labels[1:], **{kind: rows[1:] for kind, rows in scores.items()})

    monkeypatch.setattr(StreamingCalibration, "update", first_row_left_out)
    logits, labels = streaming.predictions(200, 5.0)
    with pytest.raises(SystemExit, match=r"from logits the values are off by .*nothing is timed"):
        streaming.gate(logits, labels, "logits")


def test_the_page_is_the_records():
    text = streaming.PAGE.read_text()
    assert streaming.page(text) == text
    record = costs.read("streaming")
    assert record["problem"]["rows"] == streaming.ROWS
    assert f"torch {record['machine']['torch']}" in text


def test_predictions_are_as_described():
    for margin, low, high in ((streaming.SURE, 0.85, 0.95), (streaming.UNSURE, 0.0, 0.01)):
        logits, labels = streaming.predictions(500, margin)
        sure = (logits.softmax(-1).amax(-1) > 0.5).float().mean()
        assert low <= sure <= high
        assert 0.5 < (logits.argmax(-1) == labels).float().mean() < 0.9
    assert torch.equal(streaming.predictions(500, 4.0)[1], labels)
