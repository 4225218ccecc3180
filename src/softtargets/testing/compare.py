"""What the checks share: readable comparisons, logits to test on, settings for a while."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor

from softtargets.engine import blocks
from softtargets.target import Target

T = TypeVar("T")


def tried(name: str, when: str, call: Callable[[], T]) -> T:
    """Return what a call returns; what it raises becomes an `AssertionError` that says when.

    Args:
        name: of the method under test.
        when: what it is tried on, for the message.
        call: uses the method under test.
    """
    try:
        return call()
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(f"{name} raised {type(error).__name__} {when}: {error}") from error


def require(condition: bool, message: str) -> None:
    """Raise `AssertionError` with the message unless the condition holds.

    Args:
        condition: what must be true.
        message: what to say if it is not.
    """
    if not condition:
        raise AssertionError(message)


def require_close(actual: Tensor, expected: Tensor, tolerance: float, what: str) -> None:
    """Raise unless both have one shape and differ by `tolerance * (1 + |expected|)` at most.

    Args:
        actual: what was computed; infinities must be in the same places.
        expected: what it should be.
        tolerance: absolute and relative.
        what: named in the message.
    """
    require(
        actual.shape == expected.shape,
        f"{what}: shape {tuple(actual.shape)}, expected {tuple(expected.shape)}",
    )
    actual, expected = actual.detach().double(), expected.detach().double()
    same = (actual == expected) | ((actual - expected).abs() <= tolerance * (1 + expected.abs()))
    if not bool(same.all()):
        at = tuple(int(i) for i in (~same).nonzero()[0])
        raise AssertionError(
            f"{what}: {float(actual[at])!r} at {at}, expected {float(expected[at])!r} within "
            f"{tolerance:g} ({int((~same).sum())} of {same.numel()} values differ)"
        )


def tolerance_of(target: Target) -> float:
    """Return the rounding to allow for sums in the target's dtype.

    Args:
        target: float32 or float64.
    """
    return 256 * torch.finfo(target.dtype).eps


def random_logits(
    shape: tuple[int, ...], dtype: torch.dtype, seed: int, *, dead: float = 0.0
) -> Tensor:
    """Return normal logits times 3, a share of them `-inf`.

    Args:
        shape: `(*batch, K)`.
        dtype: of the result.
        seed: of a generator of its own.
        dead: probability that a class is masked; a tenth of the rows is masked entirely.
    """
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(shape, generator=generator, dtype=torch.float64)
    masked = torch.rand(shape, generator=generator) < dead
    rows = torch.rand(shape[:-1], generator=generator) < (0.1 if dead else 0.0)
    return logits.masked_fill(masked | rows.unsqueeze(-1), -torch.inf).to(dtype)


def random_labels(shape: tuple[int, ...], num_classes: int, seed: int) -> Tensor:
    """Return labels, the fourth of them ignored.

    Args:
        shape: of at least 4 labels.
        num_classes: K.
        seed: of a generator of its own.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(num_classes, shape, generator=generator)
    labels.view(-1)[3] = -100
    return labels


def random_alive(labels: Tensor, num_classes: int, seed: int) -> Tensor:
    """Return `(*batch, K)` bool, False for four classes in ten, True for every label.

    Args:
        labels: `(*batch)`, negative where ignored.
        num_classes: K.
        seed: of a generator of its own.
    """
    generator = torch.Generator().manual_seed(seed)
    alive = torch.rand(*labels.shape, num_classes, generator=generator) >= 0.4
    return alive.scatter(-1, labels.clamp(min=0).unsqueeze(-1), True)


def poisoned(values: Tensor, rows: Tensor, emptied: bool = False) -> Tensor:
    """Return a copy whose chosen rows hold NaN and infinities, or `-inf` alone.

    Args:
        values: `(*batch, K)` floating point.
        rows: `(*batch)` bool.
        emptied: whether rows hold `-inf` alone, like rows without a living class.
    """
    filling = torch.full_like(values, -torch.inf)
    if not emptied:
        filling[..., ::2] = torch.nan
        filling[..., 1::4] = torch.inf
    return torch.where(rows.unsqueeze(-1), filling, values)


@contextmanager
def block_elements(count: int) -> Iterator[None]:
    """Let the eager engine work in blocks of another size for a while.

    Args:
        count: elements in a block.
    """
    before = blocks.BLOCK_ELEMENTS, blocks.BLOCK_ELEMENTS_GPU
    blocks.BLOCK_ELEMENTS = blocks.BLOCK_ELEMENTS_GPU = count
    try:
        yield
    finally:
        blocks.BLOCK_ELEMENTS, blocks.BLOCK_ELEMENTS_GPU = before


@contextmanager
def poisoned_memory() -> Iterator[None]:
    """Let `torch.empty` return NaN for a while, so that what is read unwritten shows."""
    before = torch.are_deterministic_algorithms_enabled()
    warn = torch.is_deterministic_algorithms_warn_only_enabled()
    deterministic: Any = torch.utils.deterministic
    filled = deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    deterministic.fill_uninitialized_memory = True
    try:
        yield
    finally:
        deterministic.fill_uninitialized_memory = filled
        torch.use_deterministic_algorithms(before, warn_only=warn)
