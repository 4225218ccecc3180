"""Runs on a CUDA device: what the CPU computes, in every precision, and resumed."""

import pytest
import torch

from tests.lab.small_runs import computed, numbers

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def test_a_run_on_a_gpu_is_that_of_the_cpu(tmp_path):
    options = {"learning_rate": 0.02, "augment": "shift", "average": 0.9, "clip": 1.0}
    cpu, _ = computed(tmp_path, options, method="ols")
    gpu, record = computed(tmp_path, options | {"device": "cuda"}, method="ols")
    ours, theirs = (torch.from_numpy(each.arrays()["test_logits"]) for each in (gpu, cpu))
    assert (ours - theirs).abs().max() < 1e-3
    assert record.environment.device == torch.cuda.get_device_name()
    assert 0 < record.peak_device_memory < 1e9


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_learns_and_resumes(precision, tmp_path):
    options = {"device": "cuda", "precision": precision, "clip": 1.0, "accumulate": 2}
    whole, record = computed(tmp_path / "whole", options)
    assert record.history[-1].validation_accuracy > 0.8

    def stop(count):
        if count == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        computed(tmp_path / "torn", options, on_epoch=stop)
    torn, again = computed(tmp_path / "torn", options)
    assert again.history[:2] == record.history[:2]
    for ours, theirs in zip(again.history, record.history, strict=True):
        assert ours.validation_nll == pytest.approx(theirs.validation_nll, rel=1e-3)
    assert numbers(torn)[0]["spec"] == numbers(whole)[0]["spec"]
