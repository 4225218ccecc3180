"""The logit-normalised confidence score, which finds errors that the softmax hides."""

import math
from typing import NamedTuple, Self

import torch
from torch import Tensor

from softtargets.batching import blocks
from softtargets.calibration.checks import check_not_empty, flaw_of, raise_flaw
from softtargets.calibration.samples import Samples, class_last
from softtargets.calibration.selective import area
from softtargets.checks import check_number

POWERS = tuple(range(1, 11))

_BLOCK_ELEMENTS = 2**18  # rows are read in blocks of this many numbers


def logit_norm_score(logits: Tensor, *, p: float = 2.0, class_dim: int = 1) -> Tensor:
    """How sure a model is, on a scale its logits' size does not matter for.

        score = max_k (z_k - mean z) / ||z - mean z||_p

    Training with smoothed labels makes the highest probability worse at telling errors from right
    answers; this score, computed from the same logits, mends that. It ranks samples, for
    `area_under_risk_coverage(probs, labels, scores=...)`, and is no probability.

    Args:
        logits: `(N, K)`, or more dimensions, floating point; classes at -inf are left out.
        p: at least 1, `math.inf` included; `LogitNormScore` chooses it on validation data.
        class_dim: where the classes are; -1 for `(batch, tokens, K)`.

    Returns:
        The shape without the classes, float64, in [0, 1]; 0 where all logits are equal.

    Raises:
        ValueError: NaN, +inf, a row of -inf only, or p below 1.
        TypeError: a wrong dtype.

    Example:
        >>> import torch
        >>> logit_norm_score(torch.tensor([[3.0, 0.0, 0.0], [3.0, 3.0, 0.0]]))
        tensor([0.8165, 0.4082], dtype=torch.float64)

    References:
        Cattelan and Silva, How to fix a broken confidence estimator, UAI 2024.
        Xia et al., Towards understanding why label smoothing degrades selective classification
        and how to fix it, ICLR 2025.
    """
    p = check_number(p, "p")
    if not p >= 1:
        raise ValueError(f"`p` must be at least 1, got {p}; 1 to 10 are customary")
    view = class_last(logits, class_dim, "logits")
    check_not_empty(view, "logits")
    scores = torch.empty(view.shape[:-1], dtype=torch.float64, device=view.device)
    for index in blocks(view.shape, _BLOCK_ELEMENTS):
        rows = view[index].flatten(0, -2)
        raise_flaw(flaw_of("logits", rows), "the logits of a sample")
        highest, sizes = _centred(rows)
        scores[index] = (highest / _norm(sizes, p)).view(scores[index].shape)
    return scores


class LogitNormScore:
    """`logit_norm_score` with the p of 1 .. 10 that has the least AURC on a validation split.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[3.0, 0.0, 0.0], [4.0, 0.9, -9.0], [2.0, 0.0, 0.1]])
        >>> score = LogitNormScore().fit(logits, torch.tensor([0, 1, 0]))
        >>> score.p, score.improved
        (1, True)
        >>> score(logits).argmin()  # the error
        tensor(1)

    References:
        Cattelan and Silva, How to fix a broken confidence estimator, UAI 2024.
    """

    def __init__(self) -> None:
        self._fit: _Fit | None = None

    def fit(
        self, logits: Tensor, labels: Tensor, *, class_dim: int = 1, ignore_index: int = -100
    ) -> Self:
        """Choose p on validation logits, never on the ones it will be judged by.

        Args:
            logits: `(N, K)`, or more dimensions, floating point; -inf masks a class.
            labels: `(N,)`, the shape without the classes, integers in 0 .. K - 1.
            class_dim: where the classes are; -1 for `(batch, tokens, K)`.
            ignore_index: the label of positions to leave out.

        Returns:
            The object itself.

        Raises:
            ValueError: NaN, +inf, a row of -inf only, or shapes or labels that do not fit.
            TypeError: a wrong dtype.
        """
        samples = Samples.of(
            logits, labels, "logits", class_dim=class_dim, ignore_index=ignore_index
        )
        size = samples.num_samples
        scores = torch.empty(1 + len(POWERS), size, dtype=torch.float64, device=logits.device)
        errors = torch.empty(size, dtype=torch.bool, device=logits.device)
        start = 0
        for rows, row_labels in samples.row_blocks():
            block = slice(start, start + len(rows))
            scores[0, block] = torch.log_softmax(rows.double(), -1).amax(-1)
            scores[1:, block] = _scores_by_power(rows)
            errors[block] = rows.argmax(-1) != row_labels
            start = block.stop
        before, *areas = (float(area(each, errors)) for each in scores)
        best = min(areas)
        self._fit = _Fit(POWERS[areas.index(best)], best < before)
        return self

    def __call__(self, logits: Tensor, *, class_dim: int = 1) -> Tensor:
        """Return `logit_norm_score(logits, p=self.p)`: the shape without the classes, float64."""
        return logit_norm_score(logits, p=self.p, class_dim=class_dim)

    @property
    def p(self) -> int:
        """The power; of several equally good ones the smallest."""
        return self._fitted().p

    @property
    def improved(self) -> bool:
        """Whether its AURC on the validation split is below that of the highest probability.

        If not, use the highest probability: pass no `scores`.
        """
        return self._fitted().improved

    def _fitted(self) -> "_Fit":
        if self._fit is None:
            raise RuntimeError(
                "`LogitNormScore` must be fitted before use; call `.fit(logits, labels)` with a "
                "validation split, or `logit_norm_score` with a p of your own"
            )
        return self._fit


class _Fit(NamedTuple):
    p: int
    improved: bool


def _scores_by_power(rows: Tensor) -> Tensor:
    """`(len(POWERS), n)`: the score for each p of 1 .. 10."""
    highest, sizes = _centred(rows)
    power, scores = sizes.clone(), []
    for p in POWERS:
        scores.append(highest / power.sum(-1).pow(1 / p).clamp_min(1))
        power *= sizes
    return torch.stack(scores)


def _centred(rows: Tensor) -> tuple[Tensor, Tensor]:
    """`(n,)` highest deviation from the mean, and `(n, K)` their sizes, the largest being 1."""
    # The maximum is taken off first: of equal logits no deviation is left to rounding.
    rows = rows.detach().double()
    rows = rows - rows.amax(-1, keepdim=True)
    dead = rows == -torch.inf
    if bool(dead.any()):
        rows = rows.masked_fill(dead, 0)
        mean = rows.sum(-1, keepdim=True) / (~dead).sum(-1, keepdim=True)
        sizes = (rows - mean).abs_().masked_fill_(dead, 0)
    else:
        mean = rows.mean(-1, keepdim=True)
        sizes = (rows - mean).abs_()
    largest = sizes.amax(-1, keepdim=True).clamp_min(1e-300)
    return ((0 - mean) / largest).squeeze(-1), sizes.div_(largest)


def _norm(sizes: Tensor, p: float) -> Tensor:
    """`(n,)` p-norm of sizes whose largest is 1; 1 where all are 0."""
    norm = sizes.amax(-1) if math.isinf(p) else sizes.pow(p).sum(-1).pow(1 / p)
    return norm.clamp_min(1)
