"""The battery finds what it is there to find."""

import dataclasses

import pytest
import torch
from torch.nn import functional

import softtargets as st
from softtargets import terms
from softtargets.engine import blocks
from softtargets.testing import check_target, dense_cross_entropy, dense_target
from softtargets.testing.compare import block_elements, poisoned_memory, require_close
from softtargets.testing.targets import check_ignored

K = 4


def target():
    labels = torch.tensor([0, -100, 3])
    return st.Target.from_labels(labels, K, dtype=torch.float64).smooth(0.1)


def test_the_oracle_equals_torch():
    logits = torch.randn(6, K, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 3, -100, 1])
    weight = torch.tensor([0.5, 1.0, 2.0, 0.1], dtype=torch.float64)
    smooth = st.Target.from_labels(labels, K, dtype=torch.float64).smooth(0.2)
    for reduction in ("mean", "sum", "none"):
        expected = functional.cross_entropy(
            logits, labels, weight=weight, label_smoothing=0.2, reduction=reduction
        )
        actual = dense_cross_entropy(logits, smooth, weight=weight, reduction=reduction)
        torch.testing.assert_close(actual, expected)


def test_the_oracle_refuses_unknown_terms():
    odd = dataclasses.replace(target(), others=(object(),))
    with pytest.raises(TypeError, match="knows no term object"):
        dense_target(odd)


def test_fresh_memory_is_poisoned_for_a_while():
    with poisoned_memory():
        assert torch.empty(3).isnan().all()
        assert torch.empty_like(torch.ones(3)).isnan().all()
    assert not torch.are_deterministic_algorithms_enabled()


def test_block_sizes_are_restored():
    before = blocks.BLOCK_ELEMENTS
    with block_elements(7):
        assert blocks.BLOCK_ELEMENTS == 7
    assert before == blocks.BLOCK_ELEMENTS


def test_differences_are_readable():
    with pytest.raises(AssertionError, match=r"mass: 2\.0 at \(1,\), expected 1\.0 .*1 of 2"):
        require_close(torch.tensor([1.0, 2.0]), torch.ones(2), 1e-3, "mass")
    with pytest.raises(AssertionError, match=r"mass: shape \(2,\), expected \(3,\)"):
        require_close(torch.ones(2), torch.ones(3), 1e-3, "mass")
    with pytest.raises(AssertionError, match="nan"):
        require_close(torch.tensor([float("nan")]), torch.zeros(1), 1.0, "mass")


def skip_mass(self, weight, alive):
    return torch.zeros_like(self.weights)


def forget_the_living(self, out, scale, alive):
    out += (scale * self.weights).unsqueeze(-1) / self.num_classes


def half_gradient(*args):
    original(*args)
    args[0].mul_(0.5)


def rows_left_out(out, logits, target, weight, saved, masked):
    original(out[:1], logits[:1], target[:1], weight, tuple(x[:1] for x in saved), masked)


original = blocks.gradient_


def nan_stays(out, logits, target, weight, saved, masked):
    original(out, logits, target, weight, saved, False)


def test_a_gradient_in_ignored_rows_of_nan_is_found(monkeypatch):
    subject = target()
    check_ignored(subject)
    monkeypatch.setattr(blocks, "gradient_", nan_stays)
    with pytest.raises(AssertionError, match="an ignored row of NaN or inf has a gradient"):
        check_ignored(subject)


@pytest.mark.parametrize(
    ("where", "name", "bug"),
    [
        (terms.Uniform, "mass", skip_mass),
        (terms.Uniform, "add_to", forget_the_living),
        (st.Target, "ignored", lambda self: torch.ones(self.batch_shape).bool()),
        (blocks, "gradient_", half_gradient),
        (blocks, "gradient_", rows_left_out),
        (st.Target, "__mul__", lambda self, factor: self),
        (st.Target, "__getitem__", lambda self, key: self),
        (st.Target, "entropy", lambda self: self.mass()),
    ],
)
def test_planted_bugs_are_found(monkeypatch, where, name, bug):
    subject = target()
    check_target(subject)
    monkeypatch.setattr(where, name, bug)
    with pytest.raises((AssertionError, RuntimeError, IndexError)):
        check_target(subject)
