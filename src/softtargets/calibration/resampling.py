"""The Poisson bootstrap: random weights of samples, and weighted sums of anything under them.

A draw of the bootstrap gives every sample a weight, how often it occurs in the resample. Here the
weights are independent of each other, so samples can be weighted block by block, once they are
read, and a block never has to know how many others there are.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from softtargets.checks import check_integer

# How many of 2^16 weights are 0, 1, 2, ...: Poisson's law of mean 1, rounded so that the mean and
# the variance stay 1. A weight above 8 would come about once in a million.
_OCCURRENCES = (24109, 24110, 12055, 4017, 1005, 201, 34, 4, 1)
_WEIGHTS_PER_WORD = 4  # of 16 bits each

_BLOCK_ELEMENTS = 2**20  # weights are made in blocks of this many numbers (8 MB in float64)


class PoissonWeights:
    """Independent weights of mean and variance 1, block by block.

    Args:
        columns: of a block, at least 1.
        most_rows: of a block.
        seed: equal seeds give equal rows, in however many blocks they are drawn.
        dtype: of the weights.
    """

    def __init__(self, columns: int, most_rows: int, seed: int, dtype: torch.dtype) -> None:
        self._columns = columns
        self._padded = -(-columns // _WEIGHTS_PER_WORD) * _WEIGHTS_PER_WORD
        self._generator = torch.Generator().manual_seed(seed)
        occurrences = torch.tensor(_OCCURRENCES)
        self._table = torch.arange(len(occurrences)).to(dtype).repeat_interleave(occurrences)
        # Fresh memory for every block would cost as much as the weights.
        size = most_rows * self._padded
        self._words = torch.empty(size // _WEIGHTS_PER_WORD, dtype=torch.int64)
        self._index = torch.empty(size, dtype=torch.int32)
        self._weights = torch.empty(size, dtype=dtype)

    def block(self, rows: int) -> Tensor:
        """`(rows, columns)` weights, overwritten by the next block."""
        size = rows * self._padded
        words = self._words[: size // _WEIGHTS_PER_WORD]
        words.random_(-(2**63), None, generator=self._generator)
        index = self._index[:size].copy_(words.view(torch.int16)).add_(2**15)
        weights = torch.index_select(self._table, 0, index, out=self._weights[:size])
        return weights.view(rows, self._padded)[:, : self._columns]


class Weights:
    """The weights of one bootstrap, drawn block by block, and their sums.

    Args:
        draws: B, at least 0.
        seed: of the weights; equal seeds give equal weights whatever the blocks.
    """

    def __init__(self, draws: int, seed: int) -> None:
        self.draws = draws
        self.rows = max(1, _BLOCK_ELEMENTS // (1 + draws))
        self._source = PoissonWeights(1 + draws, self.rows, seed, torch.float64)
        self._totals = torch.zeros(1 + draws, dtype=torch.float64)

    def block(self, size: int) -> Tensor:
        """`(size, 1 + B)` float64 weights of the next samples, overwritten by the next block.

        The first column is 1. At most `rows` samples make a block.
        """
        weights = self._source.block(size)
        weights[:, 0] = 1
        self._totals += weights.sum(0)
        return weights

    def averages(self, sums: "WeightedSums") -> Tensor:
        """`(rows, B)`: sums of every draw over its sum of weights; the sums are overwritten.

        A draw that leaves out all samples, as one of few may, is replaced by the samples.
        """
        matrix, totals = sums.matrix, self._totals
        empty = totals == 0
        if bool(empty.any()):
            matrix[:, empty] = matrix[:, :1]
            totals = torch.where(empty, totals[0], totals)
        return matrix.div_(totals)[:, 1:]


class WeightedSums:
    """Sums over samples without weights, in the first column, and under those of B draws.

    Every sum is a product of a matrix with the weights, so that no draw is looped over.

    Args:
        rows: how many sums are kept.
        draws: B, at least 0.
    """

    def __init__(self, rows: int, draws: int) -> None:
        self.matrix = torch.zeros(rows, 1 + draws, dtype=torch.float64)

    def add(self, values: Tensor, weights: Tensor) -> None:
        """Add samples with a value for each sum.

        Args:
            values: `(n, rows)`, float64.
            weights: `(n, 1 + B)`, of `Weights.block`.
        """
        self.matrix.addmm_(values.T, weights)

    def add_sparse(self, row: Tensor, sample: Tensor, values: Tensor, weights: Tensor) -> None:
        """Add values each of which belongs to one sum.

        Args:
            row: `(m,)`, int64: the sum.
            sample: `(m,)`, int64, below n: the sample.
            values: `(m,)`, float64.
            weights: `(n, 1 + B)`.
        """
        touched, position = torch.unique(row, return_inverse=True)
        index, shape = torch.stack([position, sample]), (len(touched), len(weights))
        values = torch.sparse_coo_tensor(index, values, shape, check_invariants=False)
        self.matrix.index_add_(0, touched, values @ weights)


def resampled(
    statistic: Callable[[Tensor], Tensor], num_samples: int, *, draws: int, seed: int
) -> Tensor:
    """Values of any statistic under the weights of each draw.

    Args:
        statistic: takes `(b, N)` int32 weights, no row of them all 0, and returns `(b, ...)`.
        num_samples: N.
        draws: B, at least 1.
        seed: of the weights.

    Returns:
        `(B, ...)`.
    """
    size = min(draws, max(1, _BLOCK_ELEMENTS // num_samples))
    source = PoissonWeights(num_samples, size, seed, torch.int32)
    values = []
    for start in range(0, draws, size):
        weights = source.block(min(size, draws - start))
        # Of fewer than ten samples all may be left out; then they stay as they are.
        weights[weights.sum(-1) == 0] = 1
        values.append(statistic(weights))
    return torch.cat(values)


def seed_of(bootstrap: int, generator: torch.Generator | None) -> int:
    """Draw a seed for the weights, or raise unless the options of a bootstrap are right.

    Args:
        bootstrap: number of draws, at least 0.
        generator: source of the seed, on the CPU; None: a fresh one seeded with 0.

    Raises:
        ValueError: a negative number, or a generator on another device.
        TypeError: no integer.
    """
    bootstrap = check_integer(bootstrap, "bootstrap")
    if bootstrap < 0:
        raise ValueError(f"`bootstrap` must be at least 0, got {bootstrap}; 0 means no intervals")
    if generator is None:
        generator = torch.Generator().manual_seed(0)
    if generator.device.type != "cpu":
        raise ValueError(
            f"`generator` must be on the CPU, got {generator.device}; use `torch.Generator()`"
        )
    return int(torch.randint(2**62, (), generator=generator))
