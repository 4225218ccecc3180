"""Three classes in the plane, each a dense and a sparse Gaussian, with the Bayes-optimal answer."""

import math

import numpy as np
import torch
from torch import Tensor

from softtargets.lab import seeds
from softtargets.lab.data.assembly import Contents, Part, assemble
from softtargets.lab.data.dataset import DataSet

DENSE_SHARE = 0.8
DENSE = ((-0.4, 0.5), (1.8, 0.7), (0.4, -2.5))  # centres by class, unit variance
SPARSE = ((3.6, 2.5), (-2.4, -2.1), (-0.7, 3.4))


def two_gaussians(draw: int, *, train: int = 50, validation: int = 50, test: int = 5000) -> DataSet:
    """Return one draw of the synthetic task of instance-based label smoothing.

    `p(x | y) = 0.8 N(x; d_y, I) + 0.2 N(x; s_y, I)` in two dimensions, three classes as frequent
    as each other. Means are not printed in the paper; these were chosen so that the Bayes-optimal
    classifier comes to what the paper reports of its own: accuracy 82.1 % (82.0 % there), 83.1 %
    (82.9 %) where samples are dense and 78.2 % (78.1 %) where they are sparse, cross-entropy 0.443
    (0.444).

    Args:
        draw: number of the draw; decides every sample.
        train: samples per class to train on.
        validation: samples per class.
        test: samples per class.

    Returns:
        The data; inputs `(N, 2)`, standardised as any other.

    Example:
        >>> data = two_gaussians(0, test=100)
        >>> len(data.train), len(data.validation), len(data.test), data.num_classes
        (150, 150, 300, 3)

    References:
        Maher and Kull, "Instance-based Label Smoothing For Better Calibrated Classification
        Networks", 2021, appendix A.
    """
    return assemble(two_gaussians_contents(draw, train=train, validation=validation, test=test))


def two_gaussians_contents(
    draw: int, *, train: int = 50, validation: int = 50, test: int = 5000
) -> Contents:
    """Return the samples of `two_gaussians` before standardisation.

    Args:
        draw: number of the draw.
        train: samples per class to train on.
        validation: samples per class.
        test: samples per class.
    """

    def part(name: str, count: int) -> Part:
        inputs, labels, _ = _sample(draw, name, count)
        return Part(inputs=inputs.numpy(), labels=labels.numpy())

    return Contents(
        name=f"two Gaussians per class, draw {draw}",
        train=part("train", train),
        validation=part("validation", validation),
        test=part("test", test),
        positions=np.arange(3 * train),
        total=3 * train,
    )


def two_gaussians_probs(inputs: Tensor) -> Tensor:
    """Return the Bayes-optimal probabilities `p(y | x)`, `(N, 3)` float64.

    Args:
        inputs: `(N, 2)` as drawn: of a data set, `x * data.deviation + data.mean`.

    Example:
        >>> two_gaussians_probs(torch.tensor([[3.6, 2.5]])).argmax(-1)
        tensor([0])
    """
    points = inputs.double()
    densities = []
    for centres, share in ((DENSE, DENSE_SHARE), (SPARSE, 1 - DENSE_SHARE)):
        squared = (points.unsqueeze(1) - torch.tensor(centres, dtype=torch.float64)).square()
        densities.append(math.log(share) - squared.sum(-1) / 2)
    return torch.logsumexp(torch.stack(densities), 0).softmax(-1)


def two_gaussians_dense(draw: int, *, test: int = 5000) -> Tensor:
    """Return which test samples of a draw come from the dense Gaussian of their class.

    Args:
        draw: number of the draw.
        test: samples per class.

    Returns:
        `(3 * test,)` bool, in the order of the test part.
    """
    return _sample(draw, "test", test)[2]


def _sample(draw: int, part: str, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw this many samples of each class, class by class: inputs, labels, whether dense."""
    generator = seeds.generator("two-gaussians", part, draw)
    labels = torch.arange(3).repeat_interleave(count)
    dense = torch.rand(len(labels), generator=generator, dtype=torch.float64) < DENSE_SHARE
    centres = torch.tensor((DENSE, SPARSE), dtype=torch.float64)[(~dense).long(), labels]
    noise = torch.randn(len(labels), 2, generator=generator, dtype=torch.float64)
    return centres + noise, labels, dense
