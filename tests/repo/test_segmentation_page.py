"""The page on segmentation shows its records, and these keep what the project promises."""

from benchmarks import segmentation_epoch, segmentation_memory
from benchmarks.costs import read
from softtargets.lab.segmentation.methods import METHODS


def test_the_page_shows_the_records():
    text = segmentation_memory.PAGE.read_text()
    assert segmentation_epoch.PAGE == segmentation_memory.PAGE
    assert segmentation_memory.page(text) == text
    assert segmentation_epoch.page(text) == text


def test_a_smoothed_loss_needs_no_second_tensor_and_spatial_smoothing_one():
    results = read("segmentation_memory")["results"]
    assert set(results) == set(segmentation_memory.CASES)
    for name, method in METHODS.items():
        more = results[name]["x logits"] - results[method.loss]["x logits"]
        # One number per pixel is a twelfth; a dense target is 1.
        assert more < (1.1 if method.targets == "spatial" else 0.25)
        assert results[name]["largest error"] <= segmentation_memory.TOLERANCE
        assert method.loss != "ce" or results[name]["x logits"] < results["torch, hard"]["x logits"]


def test_an_epoch_of_camvid_takes_less_than_a_minute_of_one_processor():
    found = read("segmentation_epoch")["epoch"]
    spent = sum(part["processor seconds"] for part in found.values())
    assert spent < segmentation_epoch.AIM
