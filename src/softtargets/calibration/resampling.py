"""The Poisson bootstrap: random weights of samples, and weighted sums of anything under them.

A draw of the bootstrap gives every sample a weight, how often it occurs in the resample. Here the
weights are independent of each other, so samples can be weighted block by block, once they are
read, and a block never has to know how many others there are. Samples that are not independent,
the pixels of an image or the tokens of a sequence, are one unit and have one weight.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from softtargets.calibration.samples import Samples
from softtargets.checks import check_cpu_generator, check_integer

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


class Block(NamedTuple):
    """The weights of some samples.

    Args:
        weights: `(u, 1 + B)`, float64: one row for each unit, the first column 1.
        unit: `(n,)`, int64: the row of each sample; None where every sample is a unit of its own.
    """

    weights: Tensor
    unit: Tensor | None

    def row_of(self, sample: Tensor) -> Tensor:
        """The rows of samples, by their place among the n."""
        return sample if self.unit is None else self.unit[sample]

    def totals(self) -> Tensor:
        """`(1 + B,)`: sums over the samples."""
        if self.unit is None:
            return self.weights.sum(0)
        return torch.bincount(self.unit).double() @ self.weights


class Weights:
    """The weights of one bootstrap, drawn block by block, and their sums.

    Args:
        draws: B, at least 0.
        seed: of the weights; equal seeds give equal weights whatever the blocks.

    Attributes:
        draws: B.
        totals: `(1 + B,)`: the sums of the weights given out.
    """

    def __init__(self, draws: int, seed: int) -> None:
        self.draws = draws
        self._rows = max(1, _BLOCK_ELEMENTS // (1 + draws))
        self._source = PoissonWeights(1 + draws, self._rows, seed, torch.float64)
        self.totals = torch.zeros(1 + draws, dtype=torch.float64)
        self._drawn = 0
        self._last = torch.zeros(0, 1 + draws, dtype=torch.float64)

    def blocks(self, units: Tensor) -> Iterator[tuple[slice, Block]]:
        """The weights of the next samples, cut so that a block has few units.

        Args:
            units: `(n,)`, int64: the number of each sample's unit. Over all calls they ascend from
                0 without gaps; a unit may go on in the next call.

        Yields:
            Which of the samples, and their weights, overwritten by the next block.
        """
        start = 0
        while start < len(units):
            limit = units[start] + self._rows
            end = int(torch.searchsorted(units, limit))
            yield slice(start, end), self._block(units[start:end])
            start = end

    def _block(self, units: Tensor) -> Block:
        first, end = int(units[0]), int(units[-1]) + 1
        # The last unit of the block before may go on in this one.
        weights = self._source.block(end - max(first, self._drawn))
        weights[:, 0] = 1
        if first < self._drawn:
            weights = torch.cat([self._last, weights])
        self._last, self._drawn = weights[-1:].clone(), end
        block = Block(weights, None if end - first == len(units) else units - first)
        self.totals += block.totals()
        return block

    def averages(self, sums: "WeightedSums") -> Tensor:
        """`(rows, B)`: sums of every draw over its sum of weights; the sums are overwritten."""
        return averages(sums.matrix, self.totals)


class WeightedSums:
    """Sums over samples without weights, in the first column, and under those of B draws.

    Every sum is a product of a matrix with the weights, so that no draw is looped over.

    Args:
        rows: how many sums are kept.
        draws: B, at least 0.
    """

    def __init__(self, rows: int, draws: int) -> None:
        self.matrix = torch.zeros(rows, 1 + draws, dtype=torch.float64)

    def add(self, values: Tensor, block: Block) -> None:
        """Add samples with a value for each sum.

        Args:
            values: `(n, rows)`, float64.
            block: their weights.
        """
        if block.unit is not None:
            by_unit = values.new_zeros(len(block.weights), values.shape[1])
            values = by_unit.index_add_(0, block.unit, values)
        self.matrix.addmm_(values.T, block.weights)

    def add_sparse(self, row: Tensor, sample: Tensor, values: Tensor, block: Block) -> None:
        """Add values each of which belongs to one sum.

        Args:
            row: `(m,)`, int64: the sum.
            sample: `(m,)`, int64, below n: the sample.
            values: `(m,)`, float64.
            block: weights of the n samples.
        """
        touched, position = torch.unique(row, return_inverse=True)
        index, shape = torch.stack([position, block.row_of(sample)]), (len(touched), len(block[0]))
        values = torch.sparse_coo_tensor(index, values, shape, check_invariants=False)
        self.matrix.index_add_(0, touched, values @ block.weights)


def averages(sums: Tensor, totals: Tensor) -> Tensor:
    """Weighted sums of every draw over weights.

    A draw that leaves out all samples, as one of few may, is replaced by the samples.

    Args:
        sums: `(..., 1 + B)`, overwritten.
        totals: `(..., 1 + B)`, broadcast: the sums of weights.

    Returns:
        `(..., B)`.
    """
    empty = totals == 0
    if bool(empty.any()):
        sums = torch.where(empty, sums[..., :1], sums)
        totals = torch.where(empty, totals[..., :1].clamp_min(1), totals)
    return sums.div_(totals)[..., 1:]


def resampled(
    statistic: Callable[[Tensor], Tensor], units: Tensor, *, draws: int, seed: int
) -> Tensor:
    """Values of any statistic under the weights of each draw.

    Args:
        statistic: takes `(b, N)` int32 weights, no row of them all 0, and returns `(b, ...)`.
        units: `(N,)`, int64: the number of each sample's unit; see `Weights.blocks`.
        draws: B, at least 1.
        seed: of the weights.

    Returns:
        `(B, ...)`.
    """
    num_units = int(units[-1]) + 1
    size = min(draws, max(1, _BLOCK_ELEMENTS // len(units)))
    source = PoissonWeights(num_units, size, seed, torch.int32)
    values = []
    for start in range(0, draws, size):
        weights = source.block(min(size, draws - start))
        # Of fewer than ten units all may be left out; then they stay as they are.
        weights[weights.sum(-1) == 0] = 1
        if num_units < len(units):
            weights = weights.index_select(1, units)
        values.append(statistic(weights))
    return torch.cat(values)


def weighted_rows(samples: Samples, weights: Weights) -> Iterator[tuple[Tensor, Tensor, Block]]:
    """Checked rows `(n, K)` and labels `(n,)`, on the CPU, with their weights, in order."""
    units, start = samples.units(), 0
    for rows, labels in samples.row_blocks():
        for part, block in weights.blocks(units[start : start + len(rows)]):
            yield rows[part].cpu(), labels[part].cpu(), block
        start += len(rows)


def count_units(units: Tensor, draws: int) -> int:
    """How many units there are.

    Raises:
        ValueError: draws are wanted, but all of several samples come in one unit.
    """
    count = int(units[-1]) + 1
    if draws and count == 1 < len(units):
        raise ValueError(
            "`bootstrap` resamples whole entries of the first dimension (images, sequences), and "
            "only 1 has labels; pass several, or `bootstrap=0` for values without intervals"
        )
    return count


def draws_and_seed(bootstrap: int, generator: torch.Generator | None) -> tuple[int, int]:
    """The number of draws and a seed for their weights.

    Args:
        bootstrap: number of draws, at least 0.
        generator: source of the seed, on the CPU; None: a fresh one seeded with 0.

    Raises:
        ValueError: a negative number, or a generator on another device.
        TypeError: no integer, or no generator.
    """
    draws = check_integer(bootstrap, "bootstrap")
    if draws < 0:
        raise ValueError(f"`bootstrap` must be at least 0, got {draws}; 0 means no intervals")
    if generator is None:
        generator = torch.Generator().manual_seed(0)
    check_cpu_generator(generator)
    return draws, int(torch.randint(2**62, (), generator=generator))
