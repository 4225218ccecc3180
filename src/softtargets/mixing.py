"""MixUp and CutMix on inputs and targets: the target is mixed as the input is."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from softtargets import checks
from softtargets.target import Target

Per = Literal["batch", "sample"]


class Mixed(NamedTuple):
    """A mixed batch.

    Attributes:
        inputs: of the shape, dtype and device that came in.
        target: the mixed target, a `Target` of the same batch shape.
        lam: `(N,)`, the share of each sample itself; the rest is its partner's.
        partners: `(N,)` int64, the partner of each sample.
    """

    inputs: Tensor
    target: Target
    lam: Tensor
    partners: Tensor


def mixup(
    inputs: Tensor,
    target: Target,
    *,
    alpha: float = 0.2,
    per: Per = "batch",
    generator: torch.Generator,
) -> Mixed:
    r"""Mix each sample with a partner: inputs and targets by the same share.

        x' = lam x + (1 - lam) x[partner]      q' = lam q + (1 - lam) q[partner]
        lam ~ Beta(alpha, alpha)

    Smoothing before or after gives the same target, so it is left to the loss:
    `st.CrossEntropyLoss(0.1)(model(mixed.inputs), mixed.target)`. A partner without a label
    brings no mass: the sample then counts with its own share alone.

    Rows that torchvision's or timm's transforms have mixed are wrapped instead,
    `st.Target.from_probs(rows)`. timm's `Mixup` smooths with 0.1 unless told not to: say so,
    `st.Target.from_probs(rows, smoothed=True)`, and a loss refuses to smooth a second time.

    Args:
        inputs: `(N, ...)` floating point.
        target: of batch shape `(N,)`, or `(N, d1, ...)` for label maps; `Target.from_labels` makes
            one of labels.
        alpha: > 0; the smaller, the less is mixed: near 0 each sample is itself or its partner.
        per: one share for the whole `"batch"`, or one for each `"sample"`.
        generator: of the shares and partners.

    Returns:
        `Mixed`.

    Raises:
        TypeError: the target is no `Target`, or an argument is of the wrong kind.
        ValueError: shapes do not fit or a number is out of range.

    Example:
        >>> import torch, softtargets as st
        >>> target = st.Target.from_labels(torch.tensor([0, 1]), 3)
        >>> generator = torch.Generator().manual_seed(0)
        >>> mixed = st.mixup(torch.eye(2), target, alpha=1.0, generator=generator)
        >>> torch.equal(mixed.inputs, mixed.target.dense()[:, :2])
        True

    References:
        Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018.
    """
    _check(inputs, target, per)
    lam, partners = _drawn(inputs, alpha, per, generator)
    wide = torch.promote_types(inputs.dtype, torch.float32)
    share = lam.to(wide).reshape(-1, *[1] * (inputs.dim() - 1))
    mixed = share * inputs + (1 - share) * inputs[partners]
    return Mixed(
        mixed.to(inputs.dtype),
        target.mix(target[partners], lam.to(target.dtype)),
        lam.to(wide),
        partners,
    )


def cutmix(
    inputs: Tensor,
    target: Target,
    *,
    alpha: float = 1.0,
    per: Per = "batch",
    generator: torch.Generator,
) -> Mixed:
    r"""Paste a box of a partner into each image, and its labels into the target.

        x' = x outside the box, x[partner] inside
        q' = lam q + (1 - lam) q[partner]       lam = 1 - area of the box / area of the image

    The box has the image's proportions and a share 1 - l of its area, l ~ Beta(alpha, alpha),
    around an even centre and cut at the border; `lam` is what is left. A label map `(N, H, W)` is
    not mixed but pasted: inside the box each pixel has the partner's target. See `mixup` for
    smoothing.

    Args:
        inputs: `(N, ..., H, W)`.
        target: of batch shape `(N,)`, or `(N, H, W)` for label maps.
        alpha: > 0.
        per: one box for the whole `"batch"`, or one for each `"sample"`.
        generator: of the boxes and partners.

    Returns:
        `Mixed`.

    Raises:
        TypeError: the target is no `Target`, or an argument is of the wrong kind.
        ValueError: shapes do not fit or a number is out of range.

    Example:
        >>> import torch, softtargets as st
        >>> target = st.Target.from_labels(torch.tensor([0, 1]), 2)
        >>> images = torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1).expand(2, 1, 8, 8)
        >>> generator = torch.Generator().manual_seed(1)
        >>> mixed = st.cutmix(images, target, generator=generator)
        >>> torch.allclose(mixed.inputs.mean((1, 2, 3)), mixed.target.dense()[:, 1])
        True

    References:
        Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable
        Features", 2019. French et al., 2020, for pasted label maps.
    """
    _check(inputs, target, per)
    height, width = inputs.shape[-2:] if inputs.dim() > 2 else (0, 0)
    if inputs.dim() < 3 or tuple(target.batch_shape[1:]) not in ((), (height, width)):
        raise ValueError(
            "`inputs` must have shape (N, ..., H, W) and `target` batch shape (N,) or (N, H, W), "
            f"got {tuple(inputs.shape)} and {tuple(target.batch_shape)}"
        )
    share, partners = _drawn(inputs, alpha, per, generator)
    outside = _outside(share, height, width, per, generator).to(inputs.device)
    shape = (len(inputs), *[1] * (inputs.dim() - 3), height, width)
    mixed = torch.where(outside.reshape(shape), inputs, inputs[partners])
    wide = torch.promote_types(inputs.dtype, torch.float32)
    lam = outside.double().mean((-2, -1))
    keep = (outside if len(target.batch_shape) > 1 else lam).to(target.dtype)
    return Mixed(mixed, target.mix(target[partners], keep), lam.to(wide), partners)


def check_batch(inputs: Tensor, target: Target) -> None:
    """Raise unless `inputs` and `target` are of the same samples."""
    checks.check_floating(inputs, "inputs")
    checks.check_target_type(target, Target)
    if inputs.dim() == 0 or target.batch_shape[:1] != inputs.shape[:1]:
        raise ValueError(
            f"`target` must have one entry per sample of `inputs`, shape {tuple(inputs.shape)}, "
            f"got batch shape {tuple(target.batch_shape)}"
        )


def _check(inputs: Tensor, target: Target, per: str) -> None:
    check_batch(inputs, target)
    if per not in ("batch", "sample"):
        raise ValueError(f'`per` must be "batch" or "sample", got {per!r}')


def _drawn(
    inputs: Tensor, alpha: float, per: Per, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return shares `(N,)` in float64 and partners `(N,)`, drawn where the generator is."""
    alpha = checks.check_positive(alpha, "alpha")
    checks.check_generator(generator)
    number, device = len(inputs), generator.device
    lam = _beta(alpha, number if per == "sample" else 1, generator)
    partners = torch.randperm(number, generator=generator, device=device)
    return lam.expand(number).to(inputs.device), partners.to(inputs.device)


def _beta(alpha: float, count: int, generator: torch.Generator) -> Tensor:
    """Return `(count,)` draws of Beta(alpha, alpha) in float64, for alphas near 0 too.

    It is G / (G + G') of two draws of Gamma(alpha), each drawn as Gamma(alpha + 1) U^(1 / alpha).
    That power is below the smallest number for most U where alpha is small, its logarithm is not.
    """
    raised = torch.full((2, count), alpha + 1, dtype=torch.float64, device=generator.device)
    first, second = torch._standard_gamma(raised, generator=generator).log()
    # -log U has the exponential distribution.
    drops = torch.empty_like(raised).exponential_(generator=generator)
    return torch.sigmoid(first - second + (drops[1] - drops[0]) / alpha)


def _outside(
    share: Tensor, height: int, width: int, per: Per, generator: torch.Generator
) -> Tensor:
    """Return `(N, H, W)` bool, False within each sample's box."""
    number, device = len(share), generator.device
    drawn = (2, number if per == "sample" else 1)
    centres = torch.rand(drawn, dtype=torch.float64, generator=generator, device=device)
    centres = centres.expand(2, number)
    side = (1 - share.to(device)).sqrt()
    inside: list[Tensor] = []
    for size, centre in zip((height, width), centres, strict=True):
        middle, half = (centre * size).floor(), (side * size / 2).floor()
        low, high = (middle - half).clamp(0, size), (middle + half).clamp(0, size)
        places = torch.arange(size, device=device)
        inside.append((places >= low.unsqueeze(-1)) & (places < high.unsqueeze(-1)))
    box: Tensor = inside[0].unsqueeze(-1) & inside[1].unsqueeze(-2)
    return ~box
