"""The checks of the public boundary, each raising with name, rule, value and way out.

Checks of *values* read data, which makes a GPU wait; `readable` says where that is free.
"""

import math
from collections.abc import Callable
from numbers import Integral, Real
from typing import TypeGuard

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


def short_lived() -> bool:
    """Whether what is computed now is of no use later: in a transform or in inference mode."""
    if torch.compiler.is_compiling():
        return False
    return torch._C._are_functorch_transforms_active() or torch.is_inference_mode_enabled()


def check_validate(validate: object) -> None:
    """Raise unless `validate` is None, True or False."""
    if not (validate is None or isinstance(validate, bool)):
        raise TypeError(f"`validate` must be None or a bool, got {validate!r}")


def should_validate(validate: bool | None, tensor: Tensor) -> bool:
    """Resolve the three-valued `validate` switch: None means where it is free."""
    return readable(tensor) if validate is None else validate


def is_number(value: object) -> TypeGuard[float]:
    """Whether `value` is a real number: Python's, NumPy's, a 0-d array; no bool and no tensor."""
    plain = _plain(value)
    return isinstance(plain, Real) and not isinstance(plain, bool)


def check_number(value: object, name: str) -> float:
    """Return `value` as a float if it is a number, or raise; see `is_number`."""
    plain = _plain(value)
    if isinstance(plain, bool) or not isinstance(plain, Real):
        way_out = "; take it out with `.item()`" if isinstance(value, Tensor) else ""
        raise TypeError(f"`{name}` must be a number, got {type(value).__name__}{way_out}")
    return float(plain)


def check_integer(value: object, name: str, least: int | None = None) -> int:
    """Return `value` as an int if it is an integer, NumPy's too, and at least `least`, or raise."""
    plain = _plain(value)
    if isinstance(plain, bool) or not isinstance(plain, Integral):
        raise TypeError(f"`{name}` must be an integer, got {type(value).__name__}")
    if least is not None and plain < least:
        raise ValueError(f"`{name}` must be at least {least}, got {plain}")
    return int(plain)


def _plain(value: object) -> object:
    """The Python number in a NumPy scalar or 0-d array, known by its attributes."""
    if isinstance(value, float | int) or getattr(value, "ndim", None) != 0:
        return value
    numeric = getattr(getattr(value, "dtype", None), "kind", "") in ("i", "u", "f")
    return value.item() if numeric and hasattr(value, "item") else value


def check_sequence(values: object, name: str) -> None:
    """Raise if a number or a string stands where a sequence of numbers should."""
    if is_number(values) or not hasattr(values, "__iter__") or isinstance(values, str):
        raise TypeError(
            f"`{name}` must be a sequence of numbers, got {values!r}; write a single one as `(x,)`"
        )


def check_bool(value: object, name: str) -> bool:
    """Return `value` if it is a bool, or raise."""
    if not isinstance(value, bool):
        raise TypeError(f"`{name}` must be a bool, got {type(value).__name__}")
    return value


def check_rate(rate: float, *, name: str = "rate", allow_negative: bool = False) -> float:
    """Return `rate` as a float within [0, 1] (below 0 when allowed), or raise."""
    number = check_number(rate, name)
    # Comparisons alone: torch.compile knows them of rates that are arguments.
    if not -math.inf < number <= 1:
        raise ValueError(f"`{name}` must be in [0, 1], got {rate}; it is the share of the target "
                         "that moves away from the label")  # fmt: skip
    if number < 0 and not allow_negative:
        raise ValueError(
            f"`{name}` must be in [0, 1], got {rate}; a negative rate makes the loss unbounded "
            "below: pass `allow_negative=True` if that is what you want"
        )
    return number


def check_fraction(
    value: float, name: str, low: float = 0.0, high: float = 1.0, way_out: str = ""
) -> float:
    """Return `value` as a float within [low, high], or raise."""
    number = check_number(value, name)
    if not low <= number <= high:
        raise ValueError(f"`{name}` must be in [{low:g}, {high:g}], got {value}{way_out}")
    if number in (math.inf, -math.inf):
        raise ValueError(f"`{name}` must be finite, got {value}")
    return number


def check_extremes(values: Tensor, name: str, check: Callable[[float], float]) -> None:
    """Let `check` judge the smallest and the largest of the numbers, where looking is free."""
    if values.dtype == torch.bool or values.is_complex():
        raise TypeError(f"`{name}` must hold real numbers, got {values.dtype}")
    if readable(values) and values.numel():
        for extreme in torch.aminmax(values.detach()):
            check(float(extreme))


def check_num_classes(num_classes: int) -> int:
    """Return `num_classes` if it is a positive integer, or raise."""
    return check_integer(num_classes, "num_classes", 1)


def check_floating(tensor: Tensor, name: str, way_out: str = "") -> None:
    """Raise unless `tensor` is a floating point tensor."""
    if isinstance(tensor, Tensor):
        if not tensor.is_floating_point():
            way_out = way_out or "; convert it with `.float()`"
            raise TypeError(
                f"`{name}` must be a floating point tensor, got {tensor.dtype}{way_out}"
            )
        return
    way_out = way_out or f"; make one with `torch.as_tensor({name})`"
    kind = type(tensor).__name__
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
        way_out = "convert it with `.long()`"
        if name in ("labels", "target"):
            way_out = "for probabilities use `Target.from_probs`"
            if labels.dtype == torch.bool:
                way_out = "of one-hot or multi-hot rows take `.float()`, of class numbers `.long()`"
        raise TypeError(f"`{name}` must hold integers, got {labels.dtype}; {way_out}")


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
    if isinstance(indices, Tensor) and indices.is_floating_point():
        raise TypeError(
            f"`indices` must hold integers, got {indices.dtype}; `topk` returns (values, indices), "
            "here the indices come first: `values, indices = probs.topk(k)`, then "
            "`Target.from_top_k(indices, values, num_classes)`"
        )
    check_labels_dtype(indices, "indices")
    check_floating(weights, "weights")
    if indices.shape != weights.shape or indices.dim() == 0 or indices.shape[-1] > num_classes:
        raise ValueError(
            f"`indices` and `weights` must have the same shape (*batch, k) with k <= "
            f"{num_classes}, got {tuple(indices.shape)} and {tuple(weights.shape)}"
        )


def check_top_k_values(indices: Tensor, weights: Tensor, fills_up: bool, whole: bool) -> None:
    """Raise, naming the first, at a repeated index, an impossible weight or too large a sum.

    Args:
        indices: `(*batch, k)`.
        weights: `(*batch, k)`.
        fills_up: whether other classes get what the weights leave of 1.
        whole: whether there are no other classes.
    """
    ordered = indices.sort(-1).values
    repeated = ordered.diff(dim=-1) == 0
    if bool(repeated.any()):
        first = tuple(int(i) for i in repeated.nonzero()[0])
        raise ValueError(
            f"`indices` must be distinct within a row, got {int(ordered[first])} more than once at "
            f"{first[:-1]}; add up the weights of equal ones first"
        )
    values = weights.detach()
    # Rows of nothing but NaN pass: padding may hold anything, and a softmax of that is NaN.
    impossible = ~((values >= 0) & (values < torch.inf)) & ~values.isnan().all(-1, keepdim=True)
    if bool(impossible.any()):
        first = tuple(int(i) for i in impossible.nonzero()[0])
        raise ValueError(
            f"`weights` must be finite and >= 0, got {float(values[first]):.6g} at {first}; of "
            "logits take the softmax over all classes, then `topk`; clamp at 0 what rounding left "
            "below"
        )
    tolerance = 1e-4 if weights.dtype in (torch.float32, torch.float64) else 2e-2
    total = values.sum(-1)
    wrong = (total > 1 + tolerance) | (whole & (total < 1 - tolerance))
    if fills_up and bool(wrong.any()):
        row = tuple(int(i) for i in wrong.nonzero()[0])
        most = "1 in a row that holds every class" if whole else "at most 1 in a row"
        raise ValueError(
            f"`weights` must sum to {most}, got {float(total[row]):.6g} at {row}; pass "
            'probabilities, or `rest="none"`'
        )


def check_target_type(target: object, kind: type, name: str = "target") -> None:
    """Raise unless `target` is of that kind, which is `Target` everywhere."""
    if not isinstance(target, kind):
        raise TypeError(
            f"`{name}` must be a `Target`, got {type(target).__name__}; make one with "
            "`Target.from_labels(labels, num_classes)` or `Target.from_probs(rows)`"
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
    """Raise, naming the first bad row, unless each is finite, >= 0 and sums to 1 to rounding."""
    rows = matrix.detach().double().reshape(-1, matrix.shape[-1])
    unfinished = ~rows.isfinite().all(-1)
    if bool(unfinished.any()):
        raise ValueError(
            f"`{name}` must be finite, got NaN or infinity in row "
            f"{int(unfinished.nonzero()[0])}; counts that are all 0 have no shares: leave such a "
            "class out, or fill in its row"
        )
    tolerance = 1e-4 if matrix.dtype in (torch.float32, torch.float64) else 2e-2
    wrong = ~(((rows.sum(-1) - 1).abs() <= tolerance) & (rows >= 0).all(-1))
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise ValueError(
            f"`{name}` must hold distributions (entries >= 0, rows summing to 1 within "
            f"{tolerance:g}), row {row} sums to {float(rows[row].sum()):.6g} with minimum "
            f"{float(rows[row].min()):.6g}; divide counts by their sum first"
        )


def check_positive(value: float, name: str) -> float:
    """Return `value` as a float if it is a finite number above 0, or raise."""
    number = check_number(value, name)
    if not 0 < number < math.inf:
        raise ValueError(f"`{name}` must be finite and > 0, got {value}")
    return number


def check_two_classes(num_classes: int, user: str) -> None:
    """Raise unless there is a class beside the label."""
    if num_classes < 2:
        raise ValueError(f"{user} needs at least 2 classes, got {num_classes}")


def check_generator(generator: torch.Generator) -> None:
    """Raise unless it is a generator."""
    if not isinstance(generator, torch.Generator):
        raise TypeError(
            f"`generator` must be a torch.Generator, got {type(generator).__name__}; make one with "
            "`torch.Generator().manual_seed(seed)`"
        )


def check_cpu_generator(generator: torch.Generator) -> None:
    """Raise unless it is a generator on the CPU, whose stream is the same on every machine."""
    check_generator(generator)
    if generator.device.type != "cpu":
        raise ValueError(
            f"`generator` must be on the CPU, got {generator.device}; make one with "
            "`torch.Generator().manual_seed(seed)`, wherever the data is"
        )
