"""Scaled logits of samples the scaling did not see, when there is only one set of them."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from softtargets.calibration.checks import check_logits
from softtargets.calibration.scaling import AbstractScaling
from softtargets.checks import check_cpu_generator, check_integer


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CrossFitted:
    """What `cross_fitted` returns.

    Args:
        logits: `(N, K)`: each row scaled by the fit that did not see it.
        scalings: the fitted scaling of each fold.
        fold: `(N,)`, int64: which of them scaled the row.
    """

    logits: Tensor
    scalings: tuple[AbstractScaling, ...]
    fold: Tensor

    @property
    def temperatures(self) -> tuple[float, ...]:
        """The single temperature of each fold."""
        return tuple(scaling.temperature for scaling in self.scalings)


def cross_fitted(
    scaling: AbstractScaling,
    logits: Tensor,
    labels: Tensor,
    *,
    folds: int = 5,
    generator: torch.Generator | None = None,
) -> CrossFitted:
    """Fit on all folds but one, scale that one, for each fold in turn.

    What is measured on the result is what scaling gives on new samples, not on those it was
    fitted on. Each fit sees 1 - 1 / folds of the samples.

    Args:
        scaling: what to fit; it is copied and stays as it is.
        logits: `(N, K)`, floating point; -inf masks a class, but not a label's.
        labels: `(N,)`, integers in 0 .. K - 1.
        folds: number of folds, 2 .. N, of equal size to one sample.
        generator: source of the folds, on the CPU. None: a fresh one seeded with 0.

    Returns:
        A `CrossFitted`.

    Raises:
        ValueError: logits, labels or folds break a rule above.
        TypeError: a wrong dtype.

    Example:
        >>> import torch
        >>> from softtargets.calibration import TemperatureScaling
        >>> generator = torch.Generator().manual_seed(0)
        >>> logits = torch.randn(400, 5, generator=generator)
        >>> labels = torch.multinomial(logits.softmax(-1), 1, generator=generator).squeeze(1)
        >>> fitted = cross_fitted(TemperatureScaling(), 3 * logits, labels, folds=4)
        >>> fitted.logits.shape, [round(t, 1) for t in fitted.temperatures]
        (torch.Size([400, 5]), [3.5, 3.5, 3.3, 3.7])

    References:
        Stone, Cross-validatory choice and assessment of statistical predictions, 1974.
    """
    check_logits(logits, labels)
    fold = fold_numbers(len(labels), folds, generator).to(logits.device)
    scaled, scalings = torch.empty_like(logits), []
    for number in range(folds):
        held_out = fold == number
        fitted = copy.deepcopy(scaling).fit(logits[~held_out], labels[~held_out])
        scaled[held_out] = fitted(logits[held_out])
        scalings.append(fitted)
    return CrossFitted(logits=scaled, scalings=tuple(scalings), fold=fold)


def fold_numbers(num_samples: int, folds: int, generator: torch.Generator | None) -> Tensor:
    """`(N,)`, int64, on the CPU: a random fold for each sample, all of them of equal size.

    Raises:
        ValueError: `folds` is not in 2 .. N, or a generator that is not on the CPU.
        TypeError: `folds` is no integer, or `generator` no generator.
    """
    folds = check_integer(folds, "folds")
    if not 2 <= folds <= num_samples:
        raise ValueError(
            f"`folds` must be in 2 .. {num_samples}, the number of samples, got {folds}; "
            "5 is customary"
        )
    if generator is None:
        generator = torch.Generator().manual_seed(0)
    check_cpu_generator(generator)
    fold = torch.empty(num_samples, dtype=torch.int64)
    fold[torch.randperm(num_samples, generator=generator)] = torch.arange(num_samples) % folds
    return fold
