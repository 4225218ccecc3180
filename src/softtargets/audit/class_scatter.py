"""How the sums that units have in the bins of all classes scatter, found while rows pass."""

import torch
from torch import Tensor

from softtargets.audit.open_sums import OpenSums, ends_of, most_open
from softtargets.audit.units import Draws, Moments

_MOST_PRODUCTS = 512  # bins up to which all products of sums are kept
_MOST_NUMBERS = 2**24  # kept of draws (128 MB); with more bins there is no interval
_NUMBERS = 2**22  # kept where that allows for draws enough
_DRAWS, _FEWEST_DRAWS = 2000, 200


def most_classes(bins: int) -> int:
    """Return up to how many classes the scatter is found."""
    return _MOST_NUMBERS // (_FEWEST_DRAWS * bins)


class ClassScatter:
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
        self._scatter: Moments | Draws = (
            Moments.none(width)
            if width <= _MOST_PRODUCTS
            else Draws(width, min(_DRAWS, max(_FEWEST_DRAWS, _NUMBERS // width)))
        )

    def add(self, probs: Tensor, labels: Tensor) -> None:
        """Add the next rows, `(n, K)` float64 probabilities, with `(n,)` labels."""
        units, local = torch.unique(
            self._index[self._row : self._row + len(labels)], return_inverse=True
        )
        self._row += len(labels)
        sums = self._sums(probs, labels, local, len(units))
        done, ended = self._open.add(units.long(), sums, torch.bincount(local))
        rows = self._counts[done].double()
        if isinstance(self._scatter, Draws):
            self._scatter.add(ended, rows)
        else:
            self._scatter = self._scatter + Moments.of(ended, rows)

    def result(self) -> Moments | Draws:
        """Return the scatter of all units, after the last row."""
        return self._scatter

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
