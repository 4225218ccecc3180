"""A finished run as a claim sees it."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from softtargets.lab.data import DataSet
from softtargets.lab.models import MLP, seeded_mlp
from softtargets.lab.records import RunFolder, RunRecord


@dataclass(frozen=True)
class Run:
    """A finished run with its data.

    Attributes:
        folder: where it is.
        record: what it left.
        data: what it was trained on.
    """

    folder: RunFolder
    record: RunRecord
    data: DataSet

    @cached_property
    def _arrays(self) -> dict[str, Any]:
        return self.folder.arrays()

    @property
    def test_logits(self) -> Tensor:
        """`(N, K)` float64."""
        return torch.from_numpy(self._arrays["test_logits"]).double()

    @property
    def test_labels(self) -> Tensor:
        """`(N,)` int64."""
        return torch.from_numpy(self._arrays["test_labels"])

    @property
    def validation_logits(self) -> Tensor:
        """`(N, K)` float64."""
        return torch.from_numpy(self._arrays["validation_logits"]).double()

    @property
    def validation_labels(self) -> Tensor:
        """`(N,)` int64."""
        return torch.from_numpy(self._arrays["validation_labels"])

    @property
    def network(self) -> MLP:
        """The trained network, in eval mode."""
        spec, data = self.record.spec, self.data
        inputs = data.train.inputs[0].numel()
        model = seeded_mlp(inputs, spec.hidden, data.num_classes, spec.seed)
        model.load_state_dict(self.folder.model_state())
        return model.eval()
