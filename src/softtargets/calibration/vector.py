"""Scaling each class's logit by itself: vector scaling and class-wise temperatures."""

from typing import Self, final

import torch
from torch import Tensor

from softtargets.calibration.cross_fitting import fold_numbers
from softtargets.calibration.newton import Problem, mean_loss, minimise
from softtargets.calibration.scaling import AbstractScaling, Fit, scaled
from softtargets.calibration.scores import log_losses
from softtargets.calibration.temperature import BRACKET, TemperatureScaling

_LOW, _HIGH = (1 / BRACKET[1], -20.0), (1 / BRACKET[0], 20.0)


@final
class VectorScaling(AbstractScaling):
    """Scale and shift each class's logit so that the NLL of a validation split is least.

        z'_k = scale_k z_k + bias_k      scale_k in [0.05, 20], bias_k in [-20, 20]

    The NLL is convex in the 2 K numbers. Its minimum within the bounds is found by Newton's method
    in float64, started at the single temperature; it ends when a step promises less than 1e-10.

    2 K parameters fit the noise of a small split, and then the NLL of new samples gets worse. So
    they are kept only if, in cross-fits within the split, they beat the single temperature on
    samples left out; otherwise they are `refused` and that temperature stays. Unlike a temperature
    they can change predictions, and they depend on what is added to a row of logits: fit and
    scale the same kind, raw logits or log-probabilities.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> labels = torch.tensor([0, 0, 1, 0, 1])
        >>> scaling = VectorScaling().fit(logits, labels, folds=None)
        >>> scaling(logits)[[0, 3]].softmax(-1)  # the shares of the labels in each kind of row
        tensor([[0.6667, 0.3333],
                [0.5000, 0.5000]])

    References:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017. The bounds are ours: the
        bias of a class without samples has no finite optimum.
    """

    def fit(
        self,
        logits: Tensor,
        labels: Tensor,
        *,
        folds: int | None = 5,
        generator: torch.Generator | None = None,
    ) -> Self:
        """Find scales and biases on validation logits, never on the ones they will be judged by.

        Args:
            logits: `(N, K)`, floating point; -inf masks a class, but not a label's.
            labels: `(N,)`, integers in 0 .. K - 1.
            folds: how many cross-fits decide about refusal, each as long as the fit itself; None:
                the NLL of the split decides, which refuses next to nothing.
            generator: source of the folds, on the CPU. None: a fresh one seeded with 0.

        Returns:
            The object itself.

        Raises:
            ValueError: NaN, +inf, a masked label, or shapes, labels or folds that do not fit.
            TypeError: a wrong dtype.
        """
        self._fit = _accepted(logits, labels, folds, generator, biased=True)
        return self

    def forward(self, logits: Tensor) -> Tensor:
        """Return `scale * logits + bias`, classes last: same shape and dtype, differentiable."""
        return scaled(logits, self._fitted())

    @property
    def scale(self) -> Tensor:
        """`(K,)`, float64, on the CPU: what each class's logit is multiplied by."""
        return _present(self._fitted().scale)

    @property
    def bias(self) -> Tensor:
        """`(K,)`, float64, on the CPU: what is added to it afterwards."""
        return _present(self._fitted().bias)

    @property
    def refused(self) -> bool:
        """Whether scales and biases are no better than the single temperature, which stayed."""
        return self._fitted().refused


@final
class ClasswiseTemperatureScaling(AbstractScaling):
    """Divide each class's logit by a temperature of its own: vector scaling without biases.

        z'_k = z_k / T_k      T_k in [0.05, 20]

    The temperatures minimise the NLL of a validation split together (it is convex in all 1 / T_k);
    bounds, search, refusal and what can happen to predictions are those of `VectorScaling`.
    The temperature belongs to the class of the logit, not to the predicted class.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> labels = torch.tensor([0, 0, 1, 0, 1])
        >>> scaling = ClasswiseTemperatureScaling().fit(logits, labels, folds=None)
        >>> scaling.temperatures  # logit 1 says nothing, so its temperature goes to the bound
        tensor([ 2.8854, 20.0000], dtype=torch.float64)
        >>> ClasswiseTemperatureScaling().fit(logits, labels)  # too few samples for two
        ClasswiseTemperatureScaling(temperature=3.413, refused: the single temperature stays)

    References:
        Frenkel and Goldberger, Network calibration by class-based temperature scaling, EUSIPCO
        2021: the same form, fitted there to the ECE by a greedy search on a grid.
    """

    def fit(
        self,
        logits: Tensor,
        labels: Tensor,
        *,
        folds: int | None = 5,
        generator: torch.Generator | None = None,
    ) -> Self:
        """Find the temperatures on validation logits, never on the ones they will be judged by.

        Args:
            logits: `(N, K)`, floating point; -inf masks a class, but not a label's.
            labels: `(N,)`, integers in 0 .. K - 1.
            folds: see `VectorScaling.fit`.
            generator: source of the folds, on the CPU. None: a fresh one seeded with 0.

        Returns:
            The object itself.

        Raises:
            ValueError: NaN, +inf, a masked label, or shapes, labels or folds that do not fit.
            TypeError: a wrong dtype.
        """
        self._fit = _accepted(logits, labels, folds, generator, biased=False)
        return self

    def forward(self, logits: Tensor) -> Tensor:
        """Return `logits / temperatures`, classes last: same shape and dtype, differentiable."""
        return scaled(logits, self._fitted())

    @property
    def temperatures(self) -> Tensor:
        """`(K,)`, float64, on the CPU: what each class's logit is divided by."""
        return 1 / _present(self._fitted().scale)

    @property
    def refused(self) -> bool:
        """Whether the temperatures are no better than the single one, which stayed."""
        return self._fitted().refused


def _accepted(
    logits: Tensor,
    labels: Tensor,
    folds: int | None,
    generator: torch.Generator | None,
    biased: bool,
) -> Fit:
    fit = _fit_classes(logits, labels, biased)
    if folds is None or not _fails_on_new_samples(logits, labels, folds, generator, biased):
        return fit
    return _single(logits, labels, biased)


def _single(logits: Tensor, labels: Tensor, biased: bool) -> Fit:
    """The single temperature, written class by class."""
    found = TemperatureScaling().fit(logits, labels)
    scale = torch.full((logits.shape[1],), 1 / found.temperature, dtype=torch.float64)
    return Fit(
        temperature=found.temperature,
        at_bound=found.at_bound,
        improved=found.improved,
        scale=scale,
        bias=torch.zeros_like(scale) if biased else None,
        refused=True,
    )


def _fit_classes(logits: Tensor, labels: Tensor, biased: bool) -> Fit:
    single = _single(logits, labels, biased)
    start = torch.stack([part for part in (single.scale, single.bias) if part is not None])
    low, high = (
        torch.tensor(ends[: len(start)], dtype=torch.float64).unsqueeze(-1).expand_as(start)
        for ends in (_LOW, _HIGH)
    )
    problem = Problem(logits, labels, *(part.to(logits.device) for part in (low, high)))
    start = start.to(logits.device)
    found = minimise(problem, start)
    if not mean_loss(problem, found) < mean_loss(problem, start):
        return single
    at_bound = (found == problem.low) | (found == problem.high)
    scale, *bias = found.cpu()
    return Fit(
        temperature=single.temperature,
        at_bound=bool(at_bound.any()),
        improved=True,
        scale=scale,
        bias=bias[0] if bias else None,
    )


def _fails_on_new_samples(
    logits: Tensor, labels: Tensor, folds: int, generator: torch.Generator | None, biased: bool
) -> bool:
    """Whether the NLL of samples left out is no lower than with the single temperature."""
    fold = fold_numbers(len(labels), folds, generator).to(logits.device)
    own = single = 0.0
    for number in range(folds):
        held_out = fold == number
        fit = _fit_classes(logits[~held_out], labels[~held_out], biased)
        rows, y = logits[held_out].double(), labels[held_out]
        own += float(log_losses(scaled(rows, fit), y).sum())
        single += float(log_losses(rows / fit.temperature, y).sum())
    return not own < single


def _present(part: Tensor | None) -> Tensor:
    assert part is not None
    return part.clone()
