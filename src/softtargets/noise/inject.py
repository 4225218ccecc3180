"""Injecting label noise that depends on the label alone, with a local generator."""

import operator
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from softtargets import checks
from softtargets.noise.drawing import NoisyLabels, checked_labels, checked_rate, flip, pick_by_class
from softtargets.transition import AbstractTransition, as_transition


def symmetric(
    labels: Tensor,
    rate: float,
    num_classes: int,
    *,
    generator: torch.Generator,
    exact: bool = False,
    ignore_index: int = -100,
) -> NoisyLabels:
    """Flip each label with probability `rate` to one of the other classes, all equally likely.

        T[i, i] = 1 - rate      T[i, j] = rate / (K - 1)

    Args:
        labels: integers in 0 .. K-1, or `ignore_index`, of any shape.
        rate: probability of a flip, in [0, 1].
        num_classes: K, at least 2.
        generator: on the CPU, so that the same seed gives the same flips on every machine.
        exact: flip exactly `round(rate * n)` of the n labels that are not ignored: of each class
            its share `rate * n_c` rounded down, and one more in the classes with the largest
            remainders (the lower class first where they are equal) until the total is right.
        ignore_index: labels that stay as they are; outside 0 .. K-1.

    Returns:
        `NoisyLabels`, on the device of `labels`.

    Raises:
        TypeError: `labels` does not hold integers, or an argument is of the wrong kind.
        ValueError: rate, labels or `ignore_index` out of range, fewer than 2 classes, a generator
            not on the CPU.

    Example:
        >>> import torch, softtargets as st
        >>> labels = torch.arange(4).repeat(50)
        >>> noisy = st.noise.symmetric(labels, 0.4, 4, generator=torch.Generator().manual_seed(0))
        >>> round(noisy.flipped.float().mean().item(), 2)
        0.39

    References:
        Natarajan et al., "Learning with Noisy Labels", 2013.
    """
    num_classes = checks.check_num_classes(num_classes)
    checks.check_two_classes(num_classes, "noise")
    rate = checked_rate(rate)
    clean = checked_labels(labels, num_classes, generator, ignore_index)

    def destinations() -> Tensor:
        offset = torch.randint(1, num_classes, clean.labels.shape, generator=generator)
        return (clean.labels + offset) % num_classes

    return flip(clean, [rate] * num_classes, destinations, generator=generator, exact=exact)


def asymmetric(
    labels: Tensor,
    rate: float,
    mapping: Mapping[int, int] | Sequence[int] | Tensor,
    num_classes: int | None = None,
    *,
    generator: torch.Generator,
    exact: bool = False,
    ignore_index: int = -100,
) -> NoisyLabels:
    """Flip each label with probability `rate` to the class that `mapping` names for it.

        T[i, i] = 1 - rate      T[i, mapping[i]] = rate

    Classes that a dict does not name, or that lead to themselves, keep their labels, so the share
    of flips in the whole set is below `rate` then. For several destinations of one class use
    `class_matrix`.

    Args:
        labels: integers in 0 .. K-1, or `ignore_index`, of any shape.
        rate: probability of a flip for the classes that lead to another one, in [0, 1].
        mapping: a dict `{from: to}`, or a sequence or tensor of K classes, the destination of
            each.
        num_classes: K; None takes the length of a sequence, and with a dict 1 + the largest class
            in `labels` or `mapping`.
        generator: see `symmetric`.
        exact: see `symmetric`; n counts the labels of the classes that lead to another one.
        ignore_index: see `symmetric`.

    Returns:
        `NoisyLabels`, on the device of `labels`.

    Raises:
        TypeError: see `symmetric`; a mapping that is not of class numbers.
        ValueError: see `symmetric`; a mapping that moves no class, or leads out of 0 .. K-1, or a
            sequence of another length.

    Example:
        >>> import torch, softtargets as st
        >>> truck, car, bird = 0, 1, 2
        >>> labels = torch.tensor([truck, car, bird]).repeat(100)
        >>> generator = torch.Generator().manual_seed(0)
        >>> noisy = st.noise.asymmetric(labels, 0.3, {truck: car}, generator=generator, exact=True)
        >>> noisy.transition[truck]
        tensor([0.7000, 0.3000, 0.0000], dtype=torch.float64)

    References:
        Patrini et al., "Making Deep Neural Networks Robust to Label Noise: a Loss Correction
        Approach", CVPR 2017.
    """
    rate = checked_rate(rate)
    pairs = _pairs(mapping)
    whole = not isinstance(mapping, Mapping)
    if num_classes is None:
        num_classes = len(pairs) if whole else _fewest_classes(labels, pairs, ignore_index)
    num_classes = checks.check_num_classes(num_classes)
    _check_pairs(pairs, num_classes, whole)
    clean = checked_labels(labels, num_classes, generator, ignore_index)
    table = torch.tensor([pairs.get(each, each) for each in range(num_classes)])
    rates = [rate if to != each else 0.0 for each, to in enumerate(table.tolist())]
    return flip(clean, rates, lambda: clean.look_up(table), generator=generator, exact=exact)


def pair(
    labels: Tensor,
    rate: float,
    num_classes: int,
    *,
    generator: torch.Generator,
    exact: bool = False,
    ignore_index: int = -100,
) -> NoisyLabels:
    """Flip each label with probability `rate` to the next class, the last one to the first.

        T[i, i] = 1 - rate      T[i, (i + 1) mod K] = rate

    Args:
        labels: integers in 0 .. K-1, or `ignore_index`, of any shape.
        rate: probability of a flip, in [0, 1].
        num_classes: K, at least 2.
        generator: see `symmetric`.
        exact: see `symmetric`.
        ignore_index: see `symmetric`.

    Returns:
        `NoisyLabels`, on the device of `labels`.

    Raises:
        TypeError: see `symmetric`.
        ValueError: see `symmetric`.

    Example:
        >>> import torch, softtargets as st
        >>> labels = torch.tensor([0, 1, 2])
        >>> st.noise.pair(labels, 1.0, 3, generator=torch.Generator()).labels
        tensor([1, 2, 0])

    References:
        Han et al., "Co-teaching: Robust Training of Deep Neural Networks with Extremely Noisy
        Labels", 2018.
    """
    num_classes = checks.check_num_classes(num_classes)
    checks.check_two_classes(num_classes, "noise")
    following = [*range(1, num_classes), 0]
    return asymmetric(
        labels, rate, following, generator=generator, exact=exact, ignore_index=ignore_index
    )


def class_matrix(
    labels: Tensor,
    transition: AbstractTransition | Tensor,
    *,
    generator: torch.Generator,
    exact: bool = False,
    ignore_index: int = -100,
) -> NoisyLabels:
    """Flip labels by any transition matrix.

        P(noisy = j | clean = i) = transition[i, j]

    Args:
        labels: integers in 0 .. K-1, or `ignore_index`, of any shape.
        transition: `(K, K)` floating point, rows summing to 1, or a transition.
        generator: see `symmetric`.
        exact: see `symmetric`, with `1 - transition[i, i]` as the rate of class i; to which
            classes they flip stays random.
        ignore_index: see `symmetric`.

    Returns:
        `NoisyLabels`, on the device of `labels`.

    Raises:
        TypeError: see `symmetric`; a matrix that is not floating point.
        ValueError: see `symmetric`; a matrix that is not square, or a row that is no distribution.

    Example:
        >>> import torch, softtargets as st
        >>> transition = torch.tensor([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0], [0.0, 0.5, 0.5]])
        >>> labels = torch.arange(3).repeat(1000)
        >>> generator = torch.Generator().manual_seed(0)
        >>> st.noise.class_matrix(labels, transition, generator=generator).transition
        tensor([[0.7010, 0.2000, 0.0990],
                [0.0000, 1.0000, 0.0000],
                [0.0000, 0.5220, 0.4780]], dtype=torch.float64)

    References:
        Patrini et al., "Making Deep Neural Networks Robust to Label Noise: a Loss Correction
        Approach", CVPR 2017.
    """
    matrix = as_transition(transition).dense().cpu()
    clean = checked_labels(labels, len(matrix), generator, ignore_index)
    # Running sums are added up in one order on every machine, a plain sum is not.
    leaving = matrix.clone().fill_diagonal_(0).cumsum(-1)
    rates = (leaving[:, -1] / (leaving[:, -1] + matrix.diagonal())).tolist()

    def destinations() -> Tensor:
        return pick_by_class(clean, lambda own, positions: leaving[own], generator)

    return flip(clean, rates, destinations, generator=generator, exact=exact)


def _pairs(mapping: Mapping[int, int] | Sequence[int] | Tensor) -> dict[int, int]:
    """Return `mapping` as a dict of its pairs, or raise."""
    if isinstance(mapping, Tensor):
        mapping = mapping.tolist()
    if not isinstance(mapping, Mapping | Sequence):
        raise TypeError(
            "`mapping` must be a dict {from: to}, or a sequence or tensor of the destinations of "
            f"all classes, got {type(mapping).__name__}; convert it with `list(mapping)`"
        )
    pairs = mapping.items() if isinstance(mapping, Mapping) else enumerate(mapping)
    numbers = {_class_number(each): _class_number(to) for each, to in pairs}
    if all(each == to for each, to in numbers.items()):
        raise ValueError(
            f"`mapping` must lead a class to another one, got {numbers}; {{0: 1}} flips 0 to 1"
        )
    return numbers


def _class_number(value: object) -> int:
    """Return `value` as an integer, or raise."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(
            f"`mapping` must hold class numbers, got {value!r}; for several destinations of a "
            "class use `class_matrix`"
        )
    return operator.index(value)


def _fewest_classes(labels: Tensor, pairs: dict[int, int], ignore_index: int) -> int:
    """Return 1 + the largest class in `labels` or `pairs`."""
    checks.check_labels_dtype(labels)
    present = labels[labels.long() != ignore_index]
    return 1 + max(int(present.max()) if present.numel() else 0, *pairs.keys(), *pairs.values())


def _check_pairs(pairs: dict[int, int], num_classes: int, whole: bool) -> None:
    """Raise unless they lead from class to another class, and from every class if `whole`."""
    if whole and len(pairs) != num_classes:
        raise ValueError(
            f"`mapping` must hold the destinations of all {num_classes} classes, got "
            f"{len(pairs)}; name single classes in a dict {{from: to}}"
        )
    for each, to in pairs.items():
        if not (0 <= each < num_classes and 0 <= to < num_classes):
            raise ValueError(
                f"`mapping` must stay in 0 .. {num_classes - 1} ({num_classes} classes), got "
                f"{each} to {to}; pass `num_classes` if there are more"
            )
