"""Arrays become a data set: split, hashed, standardised."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from softtargets.lab.data.dataset import DataSet, Scale, Split
from softtargets.lab.errors import LabError, reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Samples as they come.

    Attributes:
        inputs: `(N, *shape)` array of numbers, or `(N,)` texts.
        labels: `(N,)` integers.
    """

    inputs: Any
    labels: Any

    def select(self, places: Any) -> "Part":
        """Return the samples of these numbers.

        Args:
            places: `(M,)` integers.
        """
        return Part(inputs=self.inputs[places], labels=self.labels[places])


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a source holds, before it is made a data set.

    Attributes:
        name: of the data set.
        train: training part.
        validation: validation part.
        test: test part.
        positions: `(N,)`, where in the source each training sample is.
        total: how many labels the source has of which training samples are drawn.
        class_names: of classes 0 to K - 1, or None; how many there are is then what labels say.
        notes: sentences on how the source was read, for the user.
    """

    name: str
    train: Part
    validation: Part
    test: Part
    positions: Any
    total: int
    class_names: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()

    @property
    def num_classes(self) -> int:
        """K."""
        if self.class_names is not None:
            return len(self.class_names)
        return 1 + int(max(p.labels.max() for p in (self.train, self.validation, self.test)))


def stratified(places: Any, labels: Any, share: float, seed: int = 0) -> list[Any]:
    """Split places in two, the second with this share of every class.

    Args:
        places: `(N,)` what is split.
        labels: `(N,)` their classes.
        share: of the second part.
        seed: decides which.
    """
    from sklearn.model_selection import train_test_split

    parts: list[Any] = train_test_split(places, test_size=share, stratify=labels, random_state=seed)
    return parts


def with_validation(
    name: str,
    train: Part,
    test: Part,
    *,
    share: float = 1 / 7,
    places: Any = None,
    total: int | None = None,
    class_names: tuple[str, ...] | None = None,
) -> Contents:
    """Return contents whose validation part is drawn from the training part.

    Args:
        name: of the data set.
        train: training part as it comes.
        test: test part.
        share: of the training part that becomes validation data, of every class.
        places: `(N,)`, where in the source each sample of `train` is; None where all are there.
        total: how many samples of `train` the source has.
        class_names: of the classes.

    Raises:
        LabError: a class has too few samples to be split.
    """
    own = np.arange(len(train.labels))
    try:
        kept, held = stratified(own, train.labels, share)
    except ValueError as error:
        raise LabError(
            f"{name}: of its {len(own):,} training samples, a share of {share:.2f} of every class "
            f"cannot be kept for validation ({reason(error)}); add some"
        ) from error
    return Contents(
        name=name,
        train=train.select(kept),
        validation=train.select(held),
        test=test,
        positions=kept if places is None else places[kept],
        total=len(own) if total is None else total,
        class_names=class_names,
    )


def assemble(contents: Contents) -> DataSet:
    """Return the data set: uint8 images of shape `(C, H, W)` stay raw, all else is standardised.

    Args:
        contents: what the source holds; `Contents.train` decides mean and deviation.

    Raises:
        LabError: numbers that do not fit into float32.
    """
    parts = (contents.train, contents.validation, contents.test)
    digest = hashlib.sha256()
    for array in (*(part.inputs for part in parts), *(part.labels for part in parts)):
        digest.update(np.ascontiguousarray(array).data)
    first = contents.train.inputs
    raw = first.dtype == np.uint8 and first.ndim == 4
    if raw:  # what has the same bytes and another shape is another data set
        digest.update(repr(first.shape[1:]).encode())
    mean, deviation = _moments(first, channels=raw)
    train, validation, test = (_split(contents.name, part, mean, deviation, raw) for part in parts)
    return DataSet(
        name=contents.name,
        digest=digest.hexdigest()[:16],
        num_classes=contents.num_classes,
        train=train,
        validation=validation,
        test=test,
        mean=torch.from_numpy(mean),
        deviation=torch.from_numpy(deviation),
        positions=torch.from_numpy(contents.positions),
        total=contents.total,
        class_names=contents.class_names,
    )


def _moments(inputs: Any, *, channels: bool) -> tuple[Any, Any]:
    """Mean and deviation over all numbers, or over those of each channel of uint8 images."""
    if not channels:
        deviation = float(inputs.std(dtype=np.float64)) or 1.0
        return np.array(float(inputs.mean(dtype=np.float64))), np.array(deviation)
    values = np.arange(256.0)
    counts = sum(_histograms(inputs[start : start + 1000]) for start in range(0, len(inputs), 1000))
    shares = counts / counts.sum(-1, keepdims=True)
    mean = (shares * values).sum(-1, keepdims=True)
    deviation = np.sqrt((shares * (values - mean) ** 2).sum(-1, keepdims=True))
    deviation[deviation == 0] = 1.0
    return mean[..., None], deviation[..., None]


def _histograms(images: Any) -> Any:
    """How often each channel has each value, `(C, 256)`; of few images, as they become int64."""
    return np.stack(
        [np.bincount(images[:, each].ravel(), minlength=256) for each in range(images.shape[1])]
    )


def _split(name: str, part: Part, mean: Any, deviation: Any, raw: bool) -> Split:
    labels = torch.from_numpy(part.labels.astype(np.int64))
    if not raw:
        inputs = _standardised(name, part.inputs, mean, deviation)
        return Split(inputs=torch.from_numpy(inputs), labels=labels)
    scale = Scale(mean=torch.from_numpy(mean), deviation=torch.from_numpy(deviation))
    whole = np.ascontiguousarray(part.inputs)
    return Split(inputs=torch.from_numpy(whole), labels=labels, scale=scale)


def _standardised(name: str, inputs: Any, mean: Any, deviation: Any) -> Any:
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        scaled = ((inputs.astype(np.float64) - mean) / deviation).astype(np.float32)
    if not np.isfinite(scaled).all():
        raise LabError(
            f"{name}: the numbers must fit into float32 after division by the training part's "
            f"deviation, {deviation:g}; remove outliers, or rescale the features"
        )
    return scaled
