"""Runs of segmentation on a toy, from files to records."""

import numpy as np
import pytest
import torch

from softtargets.lab import execution
from softtargets.lab.errors import LabError
from softtargets.lab.kinds import folder_of
from softtargets.lab.segmentation import measures
from softtargets.lab.segmentation.data import load
from softtargets.lab.segmentation.kind import KIND
from softtargets.lab.segmentation.methods import METHODS
from softtargets.lab.segmentation.model import build
from softtargets.lab.segmentation.predictions import ZONES, drawn_pixels
from softtargets.lab.segmentation.spec import SegmentationSpec
from tests.lab.segmentation.scenes import VOID, files, written

EPOCHS = 3
PARTS = {"train": 12, "val": 4, "test": 6}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = written(tmp_path_factory.mktemp("scenes"), files(parts=PARTS))
    return load(f"segmentation:{folder}?ignore={VOID}")


def spec_of(scenes, /, method="ce+dice-ols", **changes):
    return SegmentationSpec(
        **{
            "data": "",
            "data_hash": scenes.digest,
            "method": method,
            "parameters": METHODS[method].parameters,
            "seed": 0,
            "epochs": EPOCHS,
            "batch_size": 4,
            "width": 4,
            "depth": 2,
            "pixels": 40,
            "resamples": 50,
        }
        | changes
    )


def computed(spec, data, root, on_epoch=lambda epoch: None):
    KIND.perform(spec, data, root, on_epoch)
    folder = folder_of(spec, root)
    return folder.record(), folder.arrays()


class Stopped(Exception):
    """What a kill is here."""


def test_a_run_that_was_stopped_goes_on_to_the_same_numbers(data, tmp_path):
    spec = spec_of(data)
    whole, arrays = computed(spec, data, tmp_path / "whole")

    def stop(epoch):
        if epoch == 2:
            raise Stopped

    with pytest.raises(Stopped):
        KIND.perform(spec, data, tmp_path / "parts", stop)
    KIND.check_checkpoint(spec, data, folder_of(spec, tmp_path / "parts"))
    seen = []
    again, same = computed(spec, data, tmp_path / "parts", seen.append)
    assert seen == [2, 3]
    assert again.model_sha256 == whole.model_sha256
    assert (again.history, again.metrics, again.scaled) == (
        whole.history,
        whole.metrics,
        whole.scaled,
    )
    assert all(np.array_equal(arrays[name], same[name]) for name in arrays)


def test_the_record_holds_what_its_numbers_are_made_of(data, tmp_path):
    record, arrays = computed(spec_of(data, "ce-spatial"), data, tmp_path)
    assert [set(row) for row in record.history] == [
        {"loss", "validation_nll", "validation_accuracy", "validation_mean_iou"}
    ] * EPOCHS
    matrix = torch.from_numpy(arrays["confusion"])
    assert int(matrix.sum()) == data.test.masks.numel() - data.test.void
    ratios = measures.intersection_over_union(measures.overlaps(matrix.sum(0)))
    assert record.metrics["mean_iou"].value == pytest.approx(float(ratios.nanmean()))
    assert [each.iou for each in record.classes] == pytest.approx(ratios.tolist(), nan_ok=True)
    right = matrix.diagonal(dim1=1, dim2=2).sum() / matrix.sum()
    assert record.metrics["accuracy"].value == pytest.approx(float(right))
    for prefix, kept in (("", record.metrics), ("scaled_", record.scaled)):
        for zone in ZONES:
            bins = arrays[f"{prefix}{zone}_bins"].sum(0)
            assert bins[:, 0].sum() == record.sampled[zone]
            error = np.abs(bins[:, 1] - bins[:, 2]).sum() / bins[:, 0].sum()
            start = "" if zone == "all" else f"{zone}_"
            assert kept[f"{start}expected_calibration_error"].value == pytest.approx(error)
            nll = arrays[f"{prefix}{zone}_nll"].sum(0)
            name = f"{start}negative_log_likelihood"
            assert kept[name].value == pytest.approx(nll[0] / nll[1])
            assert kept[name].low <= kept[name].value <= kept[name].high
    assert arrays["example_images"].shape == (3, 3, 16, 20)
    assert np.array_equal(arrays["example_masks"], data.test.masks[arrays["example_index"]].numpy())
    assert record.void == data.test.void


def test_it_learns(data, tmp_path):
    spec = spec_of(data, "ce+dice-ls", epochs=15, batch_size=2, learning_rate=0.02, resamples=0)
    record, _ = computed(spec, data, tmp_path)
    assert record.metrics["mean_iou"].value > 0.9
    assert record.metrics["mean_iou"].low is None
    assert record.history[-1]["loss"] < record.history[0]["loss"] / 2


def test_a_study_computes_what_a_run_does(data, tmp_path):
    folder = written(tmp_path / "scenes", files(parts=PARTS))
    word = f"segmentation:{folder}?ignore={VOID}"
    specs = [spec_of(data, "ce", data=word, seed=seed, epochs=1) for seed in (0, 1)]
    here = [computed(spec, data, tmp_path / "here")[0] for spec in specs]
    found = execution.compute(specs, [word], tmp_path / "study")
    for spec, record in zip(specs, here, strict=True):
        assert found[spec.run_id].model_sha256 == record.model_sha256
        assert found[spec.run_id].metrics == record.metrics


def test_drawn_pixels_lie_in_their_zone_and_are_the_same_for_all(data):
    width = measures.boundary_width(*data.size)
    near = measures.near_boundary(data.test.masks, VOID, width).flatten(1)
    void = (data.test.masks == VOID).flatten(1)
    whole = {z: drawn_pixels(data.test, slice(0, 6), VOID, z, 200) for z in ZONES}
    for zone, places in whole.items():
        parts = [drawn_pixels(data.test, slice(i, i + 2), VOID, zone, 200) for i in (0, 2, 4)]
        assert torch.equal(torch.cat(parts), places)
        for i, row in enumerate(places):
            there = row[row >= 0]
            assert len(there.unique()) == len(there)
            assert not bool(void[i, there].any())
            if zone != "all":
                assert bool((near[i, there] == (zone == "boundary")).all())
            allowed = ~void[i] & (near[i] if zone == "boundary" else ~near[i] | (zone == "all"))
            if zone == "all":
                allowed = ~void[i]
            assert len(there) == min(200, int(allowed.sum()))


def test_a_network_takes_any_size_and_weights_depend_on_the_seed():
    model = build(4, width=3, depth=3, seed=5).eval()
    for height, width in ((8, 8), (9, 23), (45, 60)):
        assert model(torch.zeros(2, 3, height, width)).shape == (2, 4, height, width)
    one, same, other = (build(4, width=3, depth=1, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["head.weight"], other["head.weight"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, r"`epochs` must be at least 1, got 0"),
        ({"depth": 7}, r"`depth` must be at most 6, got 7"),
        ({"learning_rate": float("nan")}, r"`learning_rate` must be positive and finite"),
        ({"weight_decay": -1.0}, r"`weight_decay` must be at least 0"),
        ({"warm_up": 1.0}, r"`warm_up` must be in \[0, 1\), got 1\.0"),
    ],
)
def test_settings_out_of_range(data, changes, message):
    with pytest.raises(ValueError, match=message):
        spec_of(data, **changes)


def test_images_too_small_for_the_network_and_divergence(data, tmp_path):
    with pytest.raises(LabError, match=r"at least 32 pixels a side for a depth of 5"):
        KIND.perform(spec_of(data, depth=5), data, tmp_path, lambda epoch: None)
    spec = spec_of(data, "ce", learning_rate=1e30, epochs=2)
    with pytest.raises(LabError, match=r"diverged after \d of 2 epochs"):
        KIND.perform(spec, data, tmp_path, lambda epoch: None)
