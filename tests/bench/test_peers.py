"""Peers: a reason where one is missing, the right call where it is there."""

import sys
from types import ModuleType

import pytest
import torch
from torch.nn import functional

from softtargets.bench import gate, peers
from softtargets.bench.case import Unavailable
from softtargets.bench.problem import Problem, make_inputs


@pytest.fixture
def inputs():
    return make_inputs(Problem(rows=20, classes=7))


def test_what_is_not_installed_says_so(inputs, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.delitem(sys.modules, "timm.loss", raising=False)
    with pytest.raises(Unavailable, match=r"^timm "):
        peers.LOGITS_CASES["timm"].build(inputs)


@pytest.mark.parametrize("name", ["liger", "quack", "quack-reuse"])
def test_what_needs_a_gpu_says_so(inputs, name):
    with pytest.raises(Unavailable, match="needs a CUDA device"):
        peers.LOGITS_CASES[name].build(inputs)


def test_a_package_that_cannot_be_imported_says_why(inputs, tmp_path, monkeypatch):
    (tmp_path / "timm").mkdir()
    (tmp_path / "timm" / "__init__.py").write_text("import no_such_vision\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "timm"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(Unavailable, match="cannot be used: No module named 'no_such_vision'"):
        peers.LOGITS_CASES["timm"].build(inputs)


class Smoothed(torch.nn.Module):
    def __init__(self, rate):
        super().__init__()
        self.rate = rate

    def forward(self, logits, labels):
        return functional.cross_entropy(logits, labels, label_smoothing=self.rate)


class Soft(torch.nn.Module):
    def forward(self, logits, dense):
        return -(dense * logits.log_softmax(-1)).sum(-1).mean()


def test_a_peer_passes_the_same_gate(inputs, monkeypatch):
    module = ModuleType("timm.loss")
    module.LabelSmoothingCrossEntropy, module.SoftTargetCrossEntropy = Smoothed, Soft
    monkeypatch.setitem(sys.modules, "timm", ModuleType("timm"))
    monkeypatch.setitem(sys.modules, "timm.loss", module)
    for name in ("timm", "timm-soft"):
        assert gate.check_case(peers.LOGITS_CASES[name], inputs).gradient < 1e-4
    module.LabelSmoothingCrossEntropy = lambda rate: Smoothed(rate / 2)
    with pytest.raises(gate.GateError):
        gate.check_case(peers.LOGITS_CASES["timm"], inputs)


def test_versions_name_every_peer():
    assert set(peers.versions()) == set(peers.DISTRIBUTIONS)
    assert all(peers.versions().values())
