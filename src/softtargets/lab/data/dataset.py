"""A data set in memory, in its three parts."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What standardises raw numbers: `(x - mean) / deviation`.

    Attributes:
        mean: float64, of shape `()`, or `(C, 1, 1)` for images.
        deviation: of the same shape, not 0.
    """

    mean: Tensor
    deviation: Tensor


FREQUENT = 1024
"""Words that `Split.features` counts, the unknown one included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Samples of one part of a data set; read the inputs through `take`.

    Attributes:
        inputs: `(N, *shape)` as stored: standardised float32, raw uint8 images `(N, C, H, W)`, or
            int32 numbers of words `(N, L)`, 0 behind the last.
        labels: `(N,)` int64.
        scale: for raw inputs; None where they are standardised already.

    Example:
        >>> raw = torch.tensor([[[[0, 10]]], [[[20, 30]]]], dtype=torch.uint8)
        >>> ten = torch.full((1, 1, 1), 10.0, dtype=torch.float64)
        >>> split = Split(
        ...     inputs=raw, labels=torch.tensor([0, 1]), scale=Scale(mean=ten, deviation=ten)
        ... )
        >>> split.take(torch.tensor([1])).tolist()
        [[[[1.0, 2.0]]]]
    """

    inputs: Tensor
    labels: Tensor
    scale: Scale | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def of_words(self) -> bool:
        """Whether the inputs are numbers of words, as of texts."""
        return self.inputs.dtype == torch.int32

    def take(self, index: Tensor | slice) -> Tensor:
        """Return standardised inputs, `(B, *shape)` float32; of texts int64 numbers of words.

        Args:
            index: `(B,)` int64, or a slice.
        """
        chosen = self.inputs[index]
        if self.of_words:
            return chosen.long()
        if self.scale is None:
            return chosen
        mean, deviation = self.scale.mean.float(), self.scale.deviation.float()
        return chosen.float().sub(mean).div_(deviation)

    def features(self, index: Tensor | slice) -> Tensor:
        """Return `(B, D)` float32 in which samples can be compared.

        Standardised inputs, flattened; of texts, how often each of the most frequent words is in
        them.

        Args:
            index: `(B,)` int64, or a slice.
        """
        chosen = self.take(index)
        if not self.of_words:
            return chosen.flatten(1)
        counted = torch.where(chosen <= FREQUENT, chosen, 0)  # 0 is counted and left out
        counts = torch.zeros(len(chosen), 1 + FREQUENT, device=chosen.device)
        counts.scatter_add_(1, counted, torch.ones_like(counted, dtype=counts.dtype))
        return counts[:, 1:]

    def chunks(self, size: int = 4096) -> Iterator[Tensor]:
        """Yield the standardised inputs of all samples in order.

        Args:
            size: of a chunk; the last one may be smaller.
        """
        for start in range(0, len(self), size):
            yield self.take(slice(start, start + size))

    def select(self, index: Tensor) -> "Split":
        """Return the samples of these numbers, in this order.

        Args:
            index: `(M,)` int64.
        """
        return replace(self, inputs=self.inputs[index], labels=self.labels[index])

    def to(self, device: torch.device | str) -> "Split":
        """Return the part on another device.

        Args:
            device: where it goes.
        """
        scale = self.scale
        if scale is not None:
            scale = Scale(mean=scale.mean.to(device), deviation=scale.deviation.to(device))
        return Split(inputs=self.inputs.to(device), labels=self.labels.to(device), scale=scale)


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """What numbers of words stand for.

    Attributes:
        words: the vocabulary, by number.
        train: texts of the training part.
        test: texts of the test part.
        note: how the texts were read, in sentences.
    """

    words: tuple[str, ...]
    train: tuple[str, ...]
    test: tuple[str, ...]
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """A data set in its three parts; validation is what temperatures are fitted on.

    Attributes:
        name: what to call it in a report.
        digest: hash of contents and split.
        num_classes: K.
        mean: subtracted from the inputs, float64 of shape `()`, or `(C, 1, 1)` for images.
        deviation: by which the inputs are divided, of the same shape.
        positions: `(N,)`, where in the source each training sample is.
        total: how many labels the source has of which training samples are drawn.
        noisy: `(N,)` int64 training labels of a file of noisy ones, or None.
        class_names: of classes 0 to K - 1, where the source names them.
        texts: of a data set of texts, or None.
    """

    name: str
    digest: str
    num_classes: int
    train: Split
    validation: Split
    test: Split
    mean: Tensor
    deviation: Tensor
    positions: Tensor
    total: int
    noisy: Tensor | None = None
    class_names: tuple[str, ...] | None = None
    texts: Texts | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the inputs of one sample."""
        return tuple(self.train.inputs.shape[1:])

    @property
    def num_words(self) -> int | None:
        """Size of the vocabulary; None where inputs are no texts."""
        return None if self.texts is None else len(self.texts.words)

    @property
    def memory(self) -> int:
        """Bytes that the inputs take."""
        return sum(part.inputs.nbytes for part in (self.train, self.validation, self.test))

    @property
    def noisy_digest(self) -> str | None:
        """Hash of the noisy labels."""
        if self.noisy is None:
            return None
        return hashlib.sha256(self.noisy.numpy().tobytes()).hexdigest()[:16]

    def original(self, index: int) -> Tensor:
        """Return a training sample in the units of the source, float64.

        Args:
            index: number of the sample in the training part.
        """
        sample = self.train.inputs[index].double()
        if self.train.scale is not None:
            return sample
        return sample * self.deviation + self.mean
