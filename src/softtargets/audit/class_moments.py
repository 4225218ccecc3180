"""Products of the sums that units have in the bins of all classes, while rows pass."""

import torch
from torch import Tensor

from softtargets.audit.open_sums import OpenSums, ends_of, most_open
from softtargets.audit.units import Moments

_MOST_CELLS = 512  # up to here all products are kept, and bins depend on each other


class ClassMoments:
    """Sums of outcome minus probability in the bins of each class, unit by unit.

    Args:
        index: `(N,)`: the unit of each row to come, 0 .. U - 1.
        num_classes: K.
        bins: of equal width.
    """

    def __init__(self, index: Tensor, num_classes: int, bins: int) -> None:
        self._index, self._row = index, 0
        self._counts = torch.bincount(index)
        self._classes, self._bins = num_classes, bins
        width = num_classes * bins
        ends = ends_of(index, len(self._counts))
        self._open = OpenSums(self._counts, most_open(*ends, len(index)), width)
        self._inner_edges = torch.arange(1, bins).double() / bins
        self._moments = Moments.none(width, full=width <= _MOST_CELLS)

    def add(self, probs: Tensor, labels: Tensor) -> None:
        """Add the next rows, `(n, K)` float64 probabilities, with `(n,)` labels."""
        units, local = torch.unique(
            self._index[self._row : self._row + len(labels)], return_inverse=True
        )
        self._row += len(labels)
        sums = self._sums(probs, labels, local, len(units))
        done, ended = self._open.add(units.long(), sums, torch.bincount(local))
        full = self._moments.full
        self._moments = self._moments + Moments.of(ended, self._counts[done].double(), full=full)

    def result(self) -> Moments:
        """Return the moments of all units, after the last row."""
        return self._moments

    def _sums(self, probs: Tensor, labels: Tensor, local: Tensor, count: int) -> Tensor:
        """`(u, K * bins)`: what lies above the first bin is sought, the rest is in the first."""
        sums = probs.new_zeros(count, self._classes, self._bins)
        sample, label = (probs > self._inner_edges[0]).nonzero(as_tuple=True)
        scores = probs[sample, label]
        cell = (local[sample] * self._classes + label) * self._bins
        cell += torch.searchsorted(self._inner_edges, scores)
        sums.view(-1).index_add_(0, cell, (labels[sample] == label).double() - scores)
        total = probs.new_zeros(count, self._classes).index_add_(0, local, probs).neg_()
        happened = torch.ones(len(labels), dtype=torch.float64)
        total.view(-1).index_add_(0, local * self._classes + labels, happened)
        sums[..., 0] = total - sums[..., 1:].sum(-1)
        return sums.flatten(1)
