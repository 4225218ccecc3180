"""Small convolutional networks without residual connections.

Pooling comes before ReLU: the maximum is the same either way, and a quarter is left to rectify.
"""

import torch
from torch import nn

from softtargets.lab.models.pictures import Classifier, Pictures, check_side


def small_cnn(pictures: Pictures, num_classes: int) -> Classifier:
    """Return a network for a CPU: two convolutions, pooled, and a layer of 128.

    Args:
        pictures: of the samples.
        num_classes: K.
    """
    check_side(pictures, 8, "cnn")
    convolutions = nn.Sequential(
        nn.Conv2d(pictures.channels, 16, 3, padding=1),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.MaxPool2d(2),
        nn.ReLU(),
    )
    return _with_layers(pictures, convolutions, (128,), num_classes)


def lenet(pictures: Pictures, num_classes: int) -> Classifier:
    """Return LeNet-5 with ReLU and max-pooling; 61,706 weights for 28 x 28 and ten classes.

    Pictures smaller than 32 are padded to 32 x 32, as MNIST was.

    Args:
        pictures: of the samples.
        num_classes: K.

    References:
        LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998.
    """
    down, across = (max(0, 32 - side) for side in (pictures.height, pictures.width))
    padding = (across // 2, across - across // 2, down // 2, down - down // 2)
    convolutions = nn.Sequential(
        nn.ZeroPad2d(padding),
        nn.Conv2d(pictures.channels, 6, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(6, 16, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
    )
    return _with_layers(pictures, convolutions, (120, 84), num_classes)


def alexnet_cifar(pictures: Pictures, num_classes: int) -> Classifier:
    """Return AlexNet cut to pictures of 32 x 32: its five convolutions, with smaller kernels.

    The first convolution has a kernel of 3 and no stride, the two layers of 4,096 are of 1,024.

    Args:
        pictures: of the samples.
        num_classes: K.

    References:
        Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural Networks", 2012.
    """
    check_side(pictures, 8, "alexnet-cifar")
    convolutions = nn.Sequential(
        nn.Conv2d(pictures.channels, 64, 3, padding=1),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.MaxPool2d(2),
        nn.ReLU(),
    )
    return _with_layers(pictures, convolutions, (1024, 1024), num_classes, dropout=0.5)


def _with_layers(
    pictures: Pictures,
    convolutions: nn.Sequential,
    hidden: tuple[int, ...],
    num_classes: int,
    dropout: float = 0.0,
) -> Classifier:
    """Put linear layers with ReLU behind convolutions."""
    with torch.no_grad():
        blank = torch.zeros(1, pictures.channels, pictures.height, pictures.width)
        width = convolutions(blank).numel()
    layers: list[nn.Module] = [convolutions, nn.Flatten()]
    for size in hidden:
        layers += [nn.Dropout(dropout)] if dropout else []
        layers += [nn.Linear(width, size), nn.ReLU()]
        width = size
    return Classifier(pictures, nn.Sequential(*layers), nn.Linear(width, num_classes))
