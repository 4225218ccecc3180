"""Copies of a module that must go on as it does: by `deepcopy`, pickle and `state_dict`."""

import copy
import io
import pickle
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor, nn

from softtargets.testing.compare import require

T = TypeVar("T", bound=nn.Module)


def copies(module: T, make: Callable[[], T]) -> Iterator[tuple[str, T]]:
    """Yield names and copies of a module, each with the state of the original.

    The state goes through a file that `torch.load(weights_only=True)` reads. Classes that no
    import finds, those of a function or a notebook, are not pickled.

    Args:
        module: to be copied.
        make: returns a fresh one, which the state is loaded into.

    Raises:
        AssertionError: a copy has another state, or the state cannot be read back.
    """
    made = [("deepcopy", copy.deepcopy(module)), ("state_dict", _restored(module, make()))]
    if all(_importable(type(part)) for part in module.modules()):
        made.append(("pickle", pickle.loads(pickle.dumps(module))))
    for name, other in made:
        require(other.training == module.training, f"{name} changes the mode")
        _require_same(other.state_dict(), module.state_dict(), f"state after {name}")
        yield name, other


def _restored(module: T, other: T) -> T:
    file = io.BytesIO()
    try:
        torch.save(module.state_dict(), file)
        file.seek(0)
        state = torch.load(file, weights_only=True)
    except (pickle.PickleError, AttributeError, TypeError) as error:
        raise AssertionError(
            "the state cannot be read by `torch.load(weights_only=True)`: keep tensors, numbers, "
            f"strings and containers of them in it ({error})"
        ) from error
    other.load_state_dict(state)
    return other.train(module.training)


def _importable(cls: type) -> bool:
    try:
        return bool(pickle.loads(pickle.dumps(cls)) is cls)
    except (AttributeError, ImportError, pickle.PicklingError):
        return False


def _require_same(actual: object, expected: object, what: str) -> None:
    """Raise unless both are the same, tensors to the last bit."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        require(actual.keys() == expected.keys(), f"{what}: {set(actual) ^ set(expected)} differ")
        for key, value in expected.items():
            _require_same(actual[key], value, f"{what}: {key}")
    elif isinstance(expected, list | tuple) and isinstance(actual, list | tuple):
        require(len(actual) == len(expected), f"{what}: another length")
        for i, value in enumerate(expected):
            _require_same(actual[i], value, f"{what}: {i}")
    elif isinstance(expected, Tensor) and isinstance(actual, Tensor):
        same = actual.dtype == expected.dtype and actual.shape == expected.shape
        same = same and bool(((actual == expected) | (actual.isnan() & expected.isnan())).all())
        require(same, f"{what}: another tensor")
    else:
        require(actual == expected, f"{what}: {actual!r}, expected {expected!r}")
