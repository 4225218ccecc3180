"""A finished run as a claim sees it."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from softtargets.lab.data import DataSet
from softtargets.lab.models import penultimate
from softtargets.lab.networks import network
from softtargets.lab.records import RunFolder, RunRecord, StoredRun


@dataclass(frozen=True)
class Stored:
    """A finished run of any kind.

    Attributes:
        folder: where it is.
        record: what it left.
    """

    folder: StoredRun[Any]
    record: Any

    @cached_property
    def arrays(self) -> dict[str, Any]:
        """Its arrays, by name."""
        return self.folder.arrays()


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

    @cached_property
    def _network(self) -> nn.Module:
        model = network(self.record.spec, self.data)
        model.load_state_dict(self.folder.model_state())
        return model.eval()

    @torch.no_grad()
    def logits(self, inputs: Tensor) -> Tensor:
        """Return `(B, K)` of the trained network for standardised inputs."""
        return torch.cat([self._network(part) for part in torch.split(inputs, 2048)])

    @torch.no_grad()
    def features(self, inputs: Tensor) -> Tensor:
        """Return `(B, D)`, what the last layer sees of standardised inputs."""
        features, _ = penultimate(self._network)
        return torch.cat([features(part) for part in torch.split(inputs, 2048)])

    @property
    def last_layer(self) -> tuple[Tensor, Tensor]:
        """Weight `(K, D)` and bias `(K,)`."""
        _, head = penultimate(self._network)
        return head.weight.detach(), head.bias.detach()
