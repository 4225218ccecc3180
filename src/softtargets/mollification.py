"""Mollification: each input is noised or blurred, and its label smoothed by as much."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from softtargets import checks
from softtargets.mixing import check_batch
from softtargets.target import Target

Kind = Literal["clean", "noise", "blur"]

# Width in pixels of the least blur; the widest is the longer side of the image.
NARROWEST = 0.3


class Mollified(NamedTuple):
    """A mollified batch.

    Attributes:
        inputs: of the shape, dtype and device that came in.
        target: the target of the inputs as they are now, a `Target` of the same batch shape.
        rate: `(N,)`, the share of each label that was spread over all classes.
        time: `(N,)`, how far each input is on its way to noise or to an even grey, in [0, 1].
        kind: `(N,)` int64, what was done to each sample, as its place in `kinds`.
    """

    inputs: Tensor
    target: Target
    rate: Tensor
    time: Tensor
    kind: Tensor


def mollify(
    inputs: Tensor,
    target: Target,
    *,
    kinds: Sequence[Kind] = ("clean", "noise", "blur"),
    beta: float = 2.0,
    power: float = 1.0,
    generator: torch.Generator,
) -> Mollified:
    r"""Noise or blur each input, and spread its label by as much as the input was spoilt.

        q' = (1 - g) q + g / K         t ~ Beta(1, beta), drawn for each sample
        noise:  x' = cos(pi t / 2) x + sin(pi t / 2) e,  e ~ N(0, 1)      g = sin(pi t / 2)^2 ^power
        blur:   x' = heat(x, s^2 / 2),  s = 0.3^(1 - t) max(H, W)^t         g = t^power
        clean:  x' = x                                                     g = 0

    heat(x, d) is the heat equation at time d with borders that reflect, a Gaussian blur of s
    pixels: the cosine transform of each channel times exp(-d w^2), w = pi (i / H, j / W). Noise
    keeps the variance of standardised inputs; blur keeps the mean of each channel.

    As with `mixup`, smoothing is left to the loss, and uniform smoothing before or after gives the
    same target: rates a and g are 1 - (1 - a) (1 - g) together. An ignored label stays ignored.
    Policies that need a single label, as online label smoothing, refuse these targets.

    Args:
        inputs: `(N, ...)` floating point, standardised; `(N, ..., H, W)` where `kinds` has blur.
        target: of batch shape `(N,)`, or `(N, d1, ...)` for label maps; `Target.from_labels` makes
            one of labels.
        kinds: what a sample may get, each as likely; a kind named twice is twice as likely.
        beta: > 0; the larger, the less is spoilt: t has the mean 1 / (1 + beta).
        power: > 0; below 1 labels are smoothed more, above 1 less.
        generator: of kinds, times and noise.

    Returns:
        `Mollified`.

    Raises:
        TypeError: the target is no `Target`, or an argument is of the wrong kind.
        ValueError: shapes do not fit, a kind is unknown or a number out of range.

    Example:
        >>> import torch, softtargets as st
        >>> target = st.Target.from_labels(torch.tensor([0, 1]), 2)
        >>> images = torch.randn(2, 3, 8, 8)
        >>> generator = torch.Generator().manual_seed(0)
        >>> spoilt = st.mollify(images, target, kinds=("blur",), generator=generator)
        >>> torch.allclose(spoilt.inputs.mean((2, 3)), images.mean((2, 3)), atol=1e-6)
        True
        >>> torch.allclose(spoilt.target.dense()[:, 0], torch.tensor([1.0, 0.0]).lerp(
        ...     torch.tensor(0.5), spoilt.rate))
        True

    References:
        Heinonen et al., "Robust Classification by Coupling Data Mollification with Label
        Smoothing", AISTATS 2025; schedules, widths and the even choice of kinds as in the authors'
        files. Rissanen et al., 2023, for the blur.
    """
    check_batch(inputs, target)
    _check_kinds(kinds, inputs)
    beta, power = checks.check_positive(beta, "beta"), checks.check_positive(power, "power")
    checks.check_generator(generator)
    count, device = len(inputs), generator.device
    kind = torch.randint(len(kinds), (count,), generator=generator, device=device)
    drops = torch.empty(count, dtype=torch.float64, device=device).exponential_(generator=generator)
    noised, blurred = (
        torch.tensor([each == name for each in kinds], device=device)[kind]
        for name in ("noise", "blur")
    )
    # -log U has the exponential distribution, and 1 - U^(1 / beta) is Beta(1, beta).
    time = torch.where(noised | blurred, -torch.expm1(-drops / beta), 0)
    rate = torch.where(noised, (math.pi / 2 * time).sin().square(), time) ** power
    wide = torch.promote_types(inputs.dtype, torch.float32)
    made = inputs.to(wide)
    for chosen, spoil in ((noised, _noise), (blurred, _blur)):
        rows = chosen.nonzero()[:, 0]
        there = rows.to(inputs.device)
        made = made.index_copy(0, there, spoil(made[there], time[rows], generator))
    time, rate, kind = (each.to(inputs.device) for each in (time, rate, kind))
    spread = _spread(target, rate.to(target.dtype))
    return Mollified(made.to(inputs.dtype), spread, rate.to(wide), time.to(wide), kind)


def _spread(target: Target, rate: Tensor) -> Target:
    """Return `(1 - rate) q + rate / K`, not marked as smoothed unless `target` is."""
    origin = None if target.origin is None else _spread(target.origin, rate)
    return replace(target.blend(rate), smoothed=target.smoothed, origin=origin)


def _noise(inputs: Tensor, time: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.randn(
        inputs.shape, dtype=inputs.dtype, generator=generator, device=generator.device
    )
    angle = (math.pi / 2 * time).to(inputs.device).reshape(-1, *[1] * (inputs.dim() - 1))
    cosine, sine = angle.cos().to(inputs.dtype), angle.sin().to(inputs.dtype)
    return cosine * inputs + sine * noise.to(inputs.device)


def _blur(images: Tensor, time: Tensor, generator: torch.Generator) -> Tensor:
    """Return `(n, ..., H, W)` images after the heat equation, by the cosine transform."""
    if not len(images):
        return images
    height, width = images.shape[-2:]
    logs = (1 - time) * math.log(NARROWEST) + time * math.log(max(height, width))
    heat = ((2 * logs).exp() / 2).unsqueeze(-1)
    steps = torch.arange(max(height, width), dtype=heat.dtype, device=heat.device)
    decays = [(-heat * (math.pi / size * steps[:size]).square()).exp() for size in (height, width)]
    down, across = (
        decay.to(images).reshape(len(images), *[1] * (images.dim() - 3), decay.shape[-1])
        for decay in decays
    )
    rows, columns = _cosines(height).to(images), _cosines(width).to(images)
    with torch.autocast(images.device.type, enabled=False):
        waves = rows @ images @ columns.T
        return rows.T @ (waves * down.unsqueeze(-1) * across.unsqueeze(-2)) @ columns


def _cosines(size: int) -> Tensor:
    """Return the orthonormal cosine transform, `(size, size)` float64, one frequency per row."""
    steps = torch.arange(size, dtype=torch.float64)
    waves = (math.pi / size * steps.unsqueeze(-1) * (steps + 0.5)).cos() * math.sqrt(2 / size)
    waves[:1] /= math.sqrt(2)
    return waves


def _check_kinds(kinds: Sequence[Kind], inputs: Tensor) -> None:
    if isinstance(kinds, str) or not isinstance(kinds, Sequence):
        raise TypeError(
            f"`kinds` must be a sequence of kinds, got {kinds!r}; write a single one as "
            '`("noise",)`'
        )
    unknown = [kind for kind in kinds if kind not in ("clean", "noise", "blur")]
    if unknown or not {"noise", "blur"} & set(kinds):
        raise ValueError(
            f'`kinds` must be of "clean", "noise" and "blur", with noise or blur among them, got '
            f"{tuple(kinds)}"
        )
    if "blur" in kinds and (inputs.dim() < 3 or 0 in inputs.shape[-2:]):
        raise ValueError(
            "`inputs` must have shape (N, ..., H, W), with pixels, to be blurred, got "
            f'{tuple(inputs.shape)}; for other inputs use `kinds=("clean", "noise")`'
        )
