"""The checks of the public boundary, each raising with name, rule, value and way out.

Checks of *values* read data, which makes a GPU wait; `readable` says where that is free.
"""

import math
from numbers import Real

import torch
from torch import Tensor
from torch.autograd import forward_ad


def traced() -> bool:
    """Whether operations are compiled, transformed by `torch.func` or in forward mode."""
    return (
        torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
    )


def readable(tensor: Tensor) -> bool:
    """Whether looking at the values costs no synchronisation and breaks no graph or transform."""
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return False
    return tensor.is_cpu


def check_validate(validate: object) -> None:
    """Raise unless `validate` is None, True or False."""
    if not (validate is None or isinstance(validate, bool)):
        raise TypeError(f"`validate` must be None or a bool, got {validate!r}")


def should_validate(validate: bool | None, tensor: Tensor) -> bool:
    """Resolve the three-valued `validate` switch: None means where it is free."""
    return readable(tensor) if validate is None else validate


def check_rate(rate: float, *, name: str = "rate", allow_negative: bool = False) -> float:
    """Return `rate` as a float within [0, 1] (below 0 when allowed), or raise."""
    if isinstance(rate, bool) or not isinstance(rate, Real):
        raise TypeError(f"`{name}` must be a number, got {type(rate).__name__}")
    if not math.isfinite(rate) or rate > 1:
        raise ValueError(f"`{name}` must be in [0, 1], got {rate}; it is the share of the target "
                         "that moves away from the label")  # fmt: skip
    if rate < 0 and not allow_negative:
        raise ValueError(
            f"`{name}` must be in [0, 1], got {rate}; a negative rate makes the loss unbounded "
            "below: pass `allow_negative=True` if that is what you want"
        )
    return float(rate)


def check_fraction(
    value: float, name: str, low: float = 0.0, high: float = 1.0, way_out: str = ""
) -> float:
    """Return `value` as a float within [low, high], or raise."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"`{name}` must be a number, got {type(value).__name__}")
    if not low <= value <= high:
        raise ValueError(f"`{name}` must be in [{low:g}, {high:g}], got {value}{way_out}")
    if math.isinf(value):
        raise ValueError(f"`{name}` must be finite, got {value}")
    return float(value)


def check_num_classes(num_classes: int) -> int:
    """Return `num_classes` if it is a positive integer, or raise."""
    if isinstance(num_classes, bool) or not isinstance(num_classes, int):
        raise TypeError(f"`num_classes` must be an integer, got {type(num_classes).__name__}")
    if num_classes < 1:
        raise ValueError(f"`num_classes` must be at least 1, got {num_classes}")
    return num_classes


def check_floating(tensor: Tensor, name: str, way_out: str = "") -> None:
    """Raise unless `tensor` is a floating point tensor."""
    if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
        kind = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
        raise TypeError(f"`{name}` must be a floating point tensor, got {kind}{way_out}")


def check_whole(tensor: Tensor, name: str) -> None:
    """Raise if `tensor` is a `DTensor`, whose parts other ranks hold."""
    if type(tensor).__name__ == "DTensor":
        raise TypeError(
            f"`{name}` must be a plain tensor, got a DTensor, whose softmax would need the classes "
            "of all ranks; pass `logits.full_tensor()`, or each rank's own rows with `.to_local()` "
            "and a `normalizer`"
        )


def check_weights_dtype(dtype: torch.dtype) -> None:
    """Raise unless a target's weights can be held in `dtype`."""
    if dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"`dtype` of a target must be torch.float32 or torch.float64, got {dtype}; logits of "
            "any float dtype take either"
        )


def check_labels_dtype(labels: Tensor, name: str = "labels") -> None:
    """Raise unless `labels` is a tensor of integers."""
    if not isinstance(labels, Tensor):
        raise TypeError(
            f"`{name}` must be a tensor of integers, got {type(labels).__name__}; make one with "
            f"`torch.as_tensor({name})`"
        )
    if labels.dtype == torch.bool or labels.is_floating_point() or labels.is_complex():
        raise TypeError(
            f"`{name}` must hold integers, got {labels.dtype}; for probabilities use "
            "`Target.from_probs`"
        )


def check_labels_in_range(labels: Tensor, num_classes: int, name: str = "labels") -> None:
    """Raise, naming the first one, if a label lies outside 0 .. num_classes - 1."""
    if not labels.numel():
        return
    low, high = torch.aminmax(labels)
    if int(low) >= 0 and int(high) < num_classes:
        return
    wrong = (labels < 0) | (labels >= num_classes)
    position = tuple(int(i) for i in wrong.nonzero()[0])
    raise ValueError(
        f"`{name}` must be in 0 .. {num_classes - 1} ({num_classes} classes), got "
        f"{int(labels[position])} at {position}; mark positions without a label with "
        "`ignore_index`"
    )


def check_top_k(indices: Tensor, weights: Tensor, num_classes: int) -> None:
    """Raise unless both have one shape (*batch, k), k <= num_classes, and the right kinds."""
    check_labels_dtype(indices, "indices")
    check_floating(weights, "weights")
    if indices.shape != weights.shape or indices.dim() == 0 or indices.shape[-1] > num_classes:
        raise ValueError(
            f"`indices` and `weights` must have the same shape (*batch, k) with k <= "
            f"{num_classes}, got {tuple(indices.shape)} and {tuple(weights.shape)}"
        )


def check_top_k_values(indices: Tensor, weights: Tensor, fills_up: bool) -> None:
    """Raise, naming the first row, if an index repeats or nothing is left to fill up with."""
    ordered = indices.sort(-1).values
    repeated = ordered.diff(dim=-1) == 0
    if bool(repeated.any()):
        first = tuple(int(i) for i in repeated.nonzero()[0])
        raise ValueError(
            f"`indices` must be distinct within a row, got {int(ordered[first])} more than once at "
            f"{first[:-1]}; add up the weights of equal ones first"
        )
    tolerance = 1e-4 if weights.dtype in (torch.float32, torch.float64) else 2e-2
    total = weights.detach().sum(-1)
    over = total > 1 + tolerance
    if fills_up and bool(over.any()):
        row = tuple(int(i) for i in over.nonzero()[0])
        raise ValueError(
            f"`weights` must sum to at most 1 in a row, got {float(total[row]):.6g} at {row}; pass "
            'probabilities, or `rest="none"`'
        )


def check_probs(probs: Tensor, name: str = "probs") -> None:
    """Raise, naming the first bad row, unless the rows are distributions or all zeros."""
    total = probs.sum(-1, dtype=torch.promote_types(probs.dtype, torch.float32))
    tolerance = 1e-5 if probs.dtype in (torch.float32, torch.float64) else 2e-2
    proper = ((total - 1).abs() <= tolerance) | (total == 0)
    wrong = ~(proper & (probs >= 0).all(-1))
    if bool(wrong.any()):
        row = tuple(int(i) for i in wrong.nonzero()[0])
        raise ValueError(
            f"`{name}` must hold distributions along the class dimension (entries >= 0, sum 1; "
            f"all 0 for an ignored position), got sum {float(total[row]):.6g} at {row}; "
            "apply softmax to logits first"
        )


def check_matrix(matrix: Tensor, num_classes: int, name: str) -> None:
    """Raise unless `matrix` is floating point, finite and of shape (K,) or (K, K)."""
    check_floating(matrix, name)
    if matrix.dim() not in (1, 2) or any(size != num_classes for size in matrix.shape):
        raise ValueError(
            f"`{name}` must have shape ({num_classes},) or ({num_classes}, {num_classes}) for "
            f"{num_classes} classes, got {tuple(matrix.shape)}"
        )


def check_distribution_rows(matrix: Tensor, name: str) -> None:
    """Raise, naming the first bad row, unless every row is finite, >= 0 and sums to 1."""
    rows = matrix.detach().double().reshape(-1, matrix.shape[-1])
    wrong = ~(((rows.sum(-1) - 1).abs() <= 1e-4) & (rows >= 0).all(-1))
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise ValueError(
            f"`{name}` must hold distributions (entries >= 0, rows summing to 1), row {row} sums "
            f"to {float(rows[row].sum()):.6g} with minimum {float(rows[row].min()):.6g}; divide "
            "counts by their sum first"
        )


def check_positive(value: float, name: str) -> float:
    """Return `value` as a float if it is a finite number above 0, or raise."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"`{name}` must be a number, got {type(value).__name__}")
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"`{name}` must be finite and > 0, got {value}")
    return float(value)


def check_two_classes(num_classes: int, user: str) -> None:
    """Raise unless there is a class beside the label."""
    if num_classes < 2:
        raise ValueError(f"{user} needs at least 2 classes, got {num_classes}")


def check_cpu_generator(generator: torch.Generator) -> None:
    """Raise unless it is a generator on the CPU, whose stream is the same on every machine."""
    way_out = "make one with `torch.Generator().manual_seed(seed)`"
    if not isinstance(generator, torch.Generator):
        raise TypeError(
            f"`generator` must be a torch.Generator, got {type(generator).__name__}; {way_out}"
        )
    if generator.device.type != "cpu":
        raise ValueError(
            f"`generator` must be on the CPU, got {generator.device}; {way_out}, wherever the "
            "data is"
        )
