"""A segmentation run: training, validation, and what is measured at its end."""

import math
from typing import Any

import torch
from torch import Tensor

from softtargets.lab import records, seeds
from softtargets.lab.errors import LabError
from softtargets.lab.finish import peak_memory
from softtargets.lab.resampling import over_units
from softtargets.lab.segmentation import measures
from softtargets.lab.segmentation.data import SegmentationData
from softtargets.lab.segmentation.methods import METHODS
from softtargets.lab.segmentation.model import UNet, build
from softtargets.lab.segmentation.predictions import (
    ZONES,
    Counted,
    Sample,
    Zone,
    calibration_metrics,
    count,
    count_and_keep,
    fit_temperature,
)
from softtargets.lab.segmentation.record import ClassOverlap, SegmentationRecord
from softtargets.lab.segmentation.spec import SegmentationSpec
from softtargets.lab.training_loop import AbstractTraining, Row, learning_rate

EXAMPLES = 3


class Segmentation(AbstractTraining):
    """The network, data and loss of a run.

    Args:
        spec: of the run.
        data: its data set.

    Raises:
        LabError: the images are too small for the network, or for the smallest batch.
    """

    def __init__(self, spec: SegmentationSpec, data: SegmentationData) -> None:
        self.spec: SegmentationSpec = spec
        self.data = data
        if min(data.size) < 2**spec.depth:
            raise LabError(
                f"{data.name}: images must have at least {2**spec.depth} pixels a side for a depth "
                f"of {spec.depth}; choose a larger size, or a smaller depth"
            )
        height, width = data.size
        alone = (len(data.train) - 1) % spec.batch_size == 0
        if alone and (height >> spec.depth) * (width >> spec.depth) == 1:
            raise LabError(
                f"{data.name}: a batch of one image, halved {spec.depth} times, is one pixel, from "
                "which batch normalisation cannot learn; choose a smaller depth, a larger size, or "
                "another batch size"
            )
        model = build(data.num_classes, width=spec.width, depth=spec.depth, seed=spec.seed)
        # A third less time on processors.
        self.model: UNet = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.criterion = METHODS[spec.method].build(
            spec.parameters, data.num_classes, data.ignore_index
        )
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=spec.learning_rate, weight_decay=spec.weight_decay
        )

    def epoch(self, number: int) -> float:
        train, seed = self.data.train, self.spec.seed
        order = torch.randperm(len(train), generator=seeds.generator("order", seed, number))
        chance = 0.5 if self.spec.flip else 0.0
        mirrored = torch.rand(len(train), generator=seeds.generator("flips", seed, number)) < chance
        batches = torch.split(order, self.spec.batch_size)
        total = 0.0
        for step, batch in enumerate(batches):
            rate = learning_rate(self.spec, number + step / len(batches))
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            images, masks = _flipped(
                train.inputs(batch), train.masks[batch].long(), mirrored[batch]
            )
            loss = self.criterion(self.model(images), masks)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.item() * len(batch)
        return total / len(train)

    def validate(self) -> Row:
        found = count(self.model, self.data.validation, self.data)
        sums = found.losses.sum(0)
        return {
            "validation_nll": float(sums[0] / sums[1]),
            "validation_accuracy": float(_accuracy(found.confusion.sum(0).double())),
            "validation_mean_iou": float(_mean_iou(found.confusion.sum(0))),
        }

    def finish(
        self, history: list[Row], seconds: float, model_hash: str
    ) -> tuple[SegmentationRecord, bytes]:
        spec, data = self.spec, self.data
        scaling = fit_temperature(self.model, data.validation, data, spec.pixels)
        counted, samples = count_and_keep(self.model, data.test, data, spec.pixels)
        assert counted.boundary is not None
        plain, plain_sums = self._calibration(samples, 1.0)
        scaled, scaled_sums = self._calibration(samples, scaling.temperature)
        arrays = records.pack_arrays(
            confusion=counted.confusion.int().numpy(),
            boundary=counted.boundary.int().numpy(),
            **plain_sums,
            **{f"scaled_{name}": each for name, each in scaled_sums.items()},
            **self._examples(),
        )
        return SegmentationRecord(
            format=records.FORMAT,
            spec=spec,
            environment=records.environment(),
            seconds=seconds,
            history=history,
            metrics=self._overlaps(counted) | plain,
            scaled=scaled,
            temperature=scaling.temperature,
            temperature_at_bound=scaling.at_bound,
            classes=self._classes(counted),
            ignore_index=data.ignore_index,
            void=data.test.void,
            boundary_width=measures.boundary_width(*data.size),
            sampled={zone: int((each.labels >= 0).sum()) for zone, each in samples.items()},
            parameters=sum(each.numel() for each in self.model.parameters()),
            peak_memory=peak_memory(),
            arrays_sha256=records.sha256(arrays),
            model_sha256=model_hash,
        ), arrays

    def _overlaps(self, counted: Counted) -> dict[str, records.Estimate]:
        assert counted.boundary is not None
        measured = {
            "mean_iou": (counted.confusion, _mean_iou),
            "boundary_iou": (counted.boundary, _mean_ratio),
            "accuracy": (counted.confusion, _accuracy),
        }
        return {
            name: over_units(
                sums, statistic, "images", resamples=self.spec.resamples, seed=self.spec.seed
            )
            for name, (sums, statistic) in measured.items()
        }

    def _calibration(
        self, samples: dict[Zone, Sample], temperature: float
    ) -> tuple[dict[str, records.Estimate], dict[str, Any]]:
        found: dict[str, records.Estimate] = {}
        sums: dict[str, Any] = {}
        for zone in ZONES:
            metrics, arrays = calibration_metrics(
                samples[zone],
                temperature,
                resamples=self.spec.resamples,
                seed=self.spec.seed,
            )
            prefix = "" if zone == "all" else f"{zone}_"
            found |= {f"{prefix}{name}": each for name, each in metrics.items()}
            sums |= {f"{zone}_{name}": each for name, each in arrays.items()}
        return found, sums

    def _classes(self, counted: Counted) -> list[ClassOverlap]:
        assert counted.boundary is not None
        matrix = counted.confusion.sum(0)
        regions = measures.intersection_over_union(measures.overlaps(matrix)).tolist()
        rims = measures.intersection_over_union(counted.boundary.sum(0)).tolist()
        return [
            ClassOverlap(name=name, pixels=pixels, iou=_known(iou), boundary_iou=_known(rim))
            for name, pixels, iou, rim in zip(
                self.data.class_names, matrix.sum(1).tolist(), regions, rims, strict=True
            )
        ]

    @torch.no_grad()
    def _examples(self) -> dict[str, Any]:
        """A few test images, evenly spread, the same for every run on the data."""
        test = self.data.test
        total = min(EXAMPLES, len(test))
        chosen = torch.tensor([len(test) * (2 * i + 1) // (2 * total) for i in range(total)])
        confidence, predicted = self.model(test.inputs(chosen)).softmax(1).max(1)
        return {
            "example_index": chosen.numpy(),
            "example_images": test.images[chosen].numpy(),
            "example_masks": test.masks[chosen].numpy(),
            "example_predictions": predicted.byte().numpy(),
            "example_confidences": (255 * confidence).round().byte().numpy(),
        }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _mean_iou(matrices: Tensor) -> Tensor:
    return _mean_ratio(measures.overlaps(matrices))


def _mean_ratio(counts: Tensor) -> Tensor:
    return measures.mean_over_classes(measures.intersection_over_union(counts))


def _accuracy(matrices: Tensor) -> Tensor:
    right = matrices.diagonal(dim1=-2, dim2=-1).sum(-1)
    return right / matrices.sum((-2, -1))


def _flipped(images: Tensor, masks: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
    """Mirror some images with their masks, left to right."""
    images = torch.where(which.reshape(-1, 1, 1, 1), images.flip(-1), images)
    masks = torch.where(which.reshape(-1, 1, 1), masks.flip(-1), masks)
    return images.contiguous(memory_format=torch.channels_last), masks
