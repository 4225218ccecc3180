"""What a model says of the pixels of many images: all are counted, some are kept."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from softtargets import calibration
from softtargets.calibration import TemperatureScaling
from softtargets.lab import seeds
from softtargets.lab.records import Estimate
from softtargets.lab.segmentation import measures
from softtargets.lab.segmentation.data import Scenes, SegmentationData
from softtargets.lab.session import DivergedError

Zone = Literal["all", "inside", "boundary"]
ZONES: tuple[Zone, ...] = ("all", "inside", "boundary")
BATCH, BINS = 8, 15
_NONE = -100


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """Logits of some pixels of each image.

    Attributes:
        logits: `(N, P, K)` float32.
        labels: `(N, P)` int64, -100 where an image has fewer pixels.
    """

    logits: Tensor
    labels: Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Counted:
    """What was counted of all pixels, by image.

    Attributes:
        confusion: `(N, K, K)` int64, see `measures.confusion`.
        boundary: `(N, K, 2)` int64, see `measures.boundary_overlaps`; None if not asked for.
        losses: `(N, 2)` float64, sum of the NLL of the pixels and their number.
    """

    confusion: Tensor
    losses: Tensor
    boundary: Tensor | None = None


def predict(model: nn.Module, scenes: Scenes) -> Iterator[tuple[slice, Tensor]]:
    """Yield the logits `(n, K, H, W)` of all images, in order, with their places.

    Args:
        model: in eval mode.
        scenes: the images.

    Raises:
        DivergedError: logits are not finite.
    """
    for start in range(0, len(scenes), BATCH):
        key = slice(start, min(start + BATCH, len(scenes)))
        with torch.no_grad():
            logits: Tensor = model(scenes.inputs(key))
        if not bool(logits.isfinite().all()):
            raise DivergedError("logits of pixels are not finite")
        yield key, logits


def count(model: nn.Module, scenes: Scenes, data: SegmentationData) -> Counted:
    """Return the confusions and losses of all pixels.

    Args:
        model: in eval mode.
        scenes: the part.
        data: it is of.
    """
    matrices, losses = [], []
    for key, logits in predict(model, scenes):
        masks = scenes.masks[key]
        matrices.append(_confusion(logits, masks, data))
        losses.append(_losses(logits, masks, data.ignore_index))
    return Counted(confusion=torch.cat(matrices), losses=torch.cat(losses))


def count_and_keep(
    model: nn.Module, scenes: Scenes, data: SegmentationData, pixels: int
) -> tuple[Counted, dict[Zone, Sample]]:
    """Return counts with boundaries, and the logits of some pixels of each zone.

    Args:
        model: in eval mode.
        scenes: the part.
        data: it is of.
        pixels: of each image and zone, at most.
    """
    width = measures.boundary_width(*data.size)
    matrices, losses, rims = [], [], []
    kept: dict[Zone, list[Tensor]] = {zone: [] for zone in ZONES}
    labels: dict[Zone, list[Tensor]] = {zone: [] for zone in ZONES}
    for key, logits in predict(model, scenes):
        masks = scenes.masks[key]
        matrices.append(_confusion(logits, masks, data))
        losses.append(_losses(logits, masks, data.ignore_index))
        rims.append(
            measures.boundary_overlaps(
                logits.argmax(1), masks, data.num_classes, data.ignore_index, width
            )
        )
        for zone in ZONES:
            places = drawn_pixels(scenes, key, data.ignore_index, zone, pixels)
            rows = logits.flatten(2).gather(
                2, places.clamp(min=0).unsqueeze(1).expand(-1, data.num_classes, -1)
            )
            kept[zone].append(rows.transpose(1, 2))
            own = masks.flatten(1).long().gather(1, places.clamp(min=0))
            labels[zone].append(torch.where(places < 0, _NONE, own))
    counted = Counted(
        confusion=torch.cat(matrices), losses=torch.cat(losses), boundary=torch.cat(rims)
    )
    return counted, {
        zone: Sample(logits=torch.cat(kept[zone]), labels=torch.cat(labels[zone])) for zone in ZONES
    }


def drawn_pixels(scenes: Scenes, key: slice, ignore_index: int, zone: Zone, pixels: int) -> Tensor:
    """Return `(n, pixels)` places of pixels in images, -1 where an image has too few.

    They depend on the image alone, so that all methods and seeds are measured on the same ones.

    Args:
        scenes: the part.
        key: which of its images.
        ignore_index: value of void pixels, which are not drawn.
        zone: where to draw: everywhere, or at most `measures.boundary_width` from another class, or
            further away.
        pixels: of each image, at most.
    """
    masks = scenes.masks[key]
    allowed = masks != ignore_index
    if zone != "all":
        width = measures.boundary_width(*masks.shape[1:])
        near = measures.near_boundary(masks, ignore_index, width)
        allowed &= near if zone == "boundary" else ~near
    found = torch.full((len(masks), pixels), -1)
    for row, each, name in zip(found, allowed.flatten(1), scenes.names[key], strict=True):
        there = each.nonzero().squeeze(1)
        order = torch.randperm(len(there), generator=seeds.generator("pixels", zone, name))
        row[: min(pixels, len(there))] = there[order[:pixels]]
    return found


def fit_temperature(
    model: nn.Module, scenes: Scenes, data: SegmentationData, pixels: int
) -> TemperatureScaling:
    """Return the temperature scaling fitted on some pixels of each image.

    Args:
        model: in eval mode.
        scenes: the validation part.
        data: it is of.
        pixels: of each image.
    """
    logits, labels = [], []
    for key, said in predict(model, scenes):
        places = drawn_pixels(scenes, key, data.ignore_index, "all", pixels)
        rows = said.flatten(2).transpose(1, 2)
        own = scenes.masks[key].flatten(1).long()
        for i, place in enumerate(places):
            there = place[place >= 0]
            logits.append(rows[i][there])
            labels.append(own[i][there])
    return TemperatureScaling().fit(torch.cat(logits), torch.cat(labels))


def _confusion(logits: Tensor, masks: Tensor, data: SegmentationData) -> Tensor:
    return measures.confusion(logits.argmax(1), masks, data.num_classes, data.ignore_index)


def _losses(logits: Tensor, masks: Tensor, ignore_index: int) -> Tensor:
    each = nn.functional.cross_entropy(
        logits, masks.long(), ignore_index=ignore_index, reduction="none"
    )
    counted = (masks != ignore_index).flatten(1).sum(1)
    return torch.stack([each.flatten(1).double().sum(1), counted.double()], 1)


def calibration_metrics(
    sample: Sample, temperature: float, *, resamples: int, seed: int
) -> tuple[dict[str, Estimate], dict[str, Any]]:
    """Return NLL and calibration errors with intervals over resampled images, and their sums.

    The sums are by image: `bins` `(N, 15, 3)`, number, confidence and right pixels by bin of
    confidence, and `nll` `(N, 2)`, sum and number.

    Args:
        sample: some pixels of each image.
        temperature: divides the logits.
        resamples: draws of the images; 0 for no intervals.
        seed: of the draws.
    """
    logs = (sample.logits.double() / temperature).log_softmax(-1)
    best, predicted = logs.max(-1)
    counted = sample.labels != _NONE
    own = logs.gather(-1, sample.labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    nll = torch.stack([-torch.where(counted, own, 0).sum(1), counted.sum(1).double()], 1)
    confidence, right = best.exp(), predicted == sample.labels
    events = calibration.evaluate_multilabel(
        confidence.logit().unsqueeze(1),
        torch.where(counted, right.long(), _NONE).unsqueeze(1),
        bootstrap=resamples,
        generator=seeds.generator("bootstrap", seed),
    )
    error = events.expected_calibration_error
    signed = events.expected_calibration_error_signed
    found = {
        "negative_log_likelihood": ratio(nll, resamples=resamples, seed=seed),
        "expected_calibration_error": estimate(error.value, error.low, error.high),
        "expected_calibration_error_debiased": estimate(signed, error.low, error.high),
    }
    return found, {"bins": _bins(confidence, right, counted).numpy(), "nll": nll.numpy()}


def _bins(confidence: Tensor, right: Tensor, counted: Tensor) -> Tensor:
    places = (confidence * BINS).long().clamp(max=BINS - 1)
    places += BINS * torch.arange(len(confidence)).unsqueeze(1)
    chosen = places[counted]
    parts = [torch.ones_like(confidence), confidence, right.double()]
    size = len(confidence) * BINS
    sums = [
        torch.zeros(size, dtype=torch.float64).index_add_(0, chosen, each[counted])
        for each in parts
    ]
    return torch.stack(sums, -1).view(-1, BINS, len(parts))


def ratio(sums: Tensor, *, resamples: int, seed: int) -> Estimate:
    """Return a mean over pixels, with an interval over resampled images.

    Args:
        sums: `(N, 2)`, sum and number of pixels of each image.
        resamples: draws of the images; 0 for no interval.
        seed: of the draws.
    """
    return over_images(sums.double(), lambda x: x[..., 0] / x[..., 1], resamples, seed)


def over_images(sums: Tensor, statistic: Any, resamples: int, seed: int) -> Estimate:
    """Return a statistic of sums over images, with an interval over resampled images.

    Args:
        sums: `(N, ...)`, of each image.
        statistic: from `(..., *)`, the sums of images, to `(...)`.
        resamples: draws of the images; 0 for no interval.
        seed: of the draws.
    """
    flat = sums.double().flatten(1)
    value = float(statistic(flat.sum(0).view(sums.shape[1:])))
    if not resamples:
        return Estimate(value, None, None)
    generator = seeds.generator("images", seed)
    chosen = torch.randint(len(sums), (resamples, len(sums)), generator=generator)
    weights = torch.zeros(resamples, len(sums), dtype=torch.float64)
    weights.scatter_add_(1, chosen, torch.ones_like(weights))
    draws = statistic((weights @ flat).view(resamples, *sums.shape[1:]))
    ends = torch.tensor([0.975, 0.025], dtype=torch.float64)
    high, low = draws.quantile(ends).tolist()
    # The basic bootstrap, as everywhere.
    return estimate(value, 2 * value - high, 2 * value - low)


def estimate(value: float, low: float, high: float) -> Estimate:
    """Return a value with its interval, None for ends that are NaN."""
    known = low == low and high == high
    return Estimate(value, low if known else None, high if known else None)
