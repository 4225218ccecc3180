"""What a model says of the pixels of many images: all are counted, some are kept."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from softtargets.calibration import TemperatureScaling
from softtargets.lab import seeds
from softtargets.lab.records import Estimate
from softtargets.lab.resampling import calibration_errors, ratio
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
        resamples: draws of the images; 0 for no intervals, and one image with a pixel has none.
        seed: of the draws.

    Returns:
        Estimates by name, none if there is no pixel, and the sums.
    """
    logs = (sample.logits.double() / temperature).log_softmax(-1)
    best, predicted = logs.max(-1)
    counted = sample.labels != _NONE
    own = logs.gather(-1, sample.labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    nll = torch.stack([-torch.where(counted, own, 0).sum(1), counted.sum(1).double()], 1)
    confidence, right = best.exp(), predicted == sample.labels
    sums = {"bins": _bins(confidence, right, counted).numpy(), "nll": nll.numpy()}
    if not counted.any():
        return {}, sums
    right = torch.where(counted, right.long(), _NONE)
    return {
        "negative_log_likelihood": ratio(nll, "images", resamples=resamples, seed=seed),
        **calibration_errors(confidence, right, resamples=resamples, seed=seed),
    }, sums


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
