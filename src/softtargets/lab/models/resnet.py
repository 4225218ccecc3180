"""Residual networks: those for CIFAR, and the larger ones of ImageNet."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from softtargets.lab.models.pictures import Classifier, Pictures, check_side

SMALL = 64  # up to this side, the larger networks begin with a 3 x 3 kernel and no pooling


def cifar_resnet(
    pictures: Pictures, num_classes: int, *, depth: int, width: int = 16
) -> Classifier:
    """Return a ResNet of three stages of `(depth - 2) / 6` blocks, for pictures of 32 x 32.

    Shortcuts have no weights: where a stage begins, every second pixel, and channels of zeros.

    Args:
        pictures: of the samples.
        num_classes: K.
        depth: 20, 32, 56, or any other 6 n + 2.
        width: channels of the first stage.

    References:
        He et al., "Deep Residual Learning for Image Recognition", 2015, section 4.2.
    """
    check_side(pictures, 8, f"resnet{depth}")
    blocks = (depth - 2) // 6
    layers: list[nn.Module] = _start(pictures.channels, width)
    channels = width
    for stage in range(3):
        for number in range(blocks):
            stride = 2 if stage and not number else 1
            layers.append(_Basic(channels, width * 2**stage, stride, projected=False))
            channels = width * 2**stage
    return _classifier(pictures, layers, channels, num_classes)


def large_resnet(
    pictures: Pictures, num_classes: int, *, blocks: tuple[int, ...], bottleneck: bool
) -> Classifier:
    """Return a ResNet of four stages of 64, 128, 256 and 512 channels.

    Pictures with a side up to 64 are seen by a 3 x 3 kernel first, larger ones by a 7 x 7 kernel
    with a stride of 2 and pooling, as on ImageNet.

    Args:
        pictures: of the samples.
        num_classes: K.
        blocks: of each stage.
        bottleneck: blocks of three convolutions, with four times the channels, instead of two.

    References:
        He et al., "Deep Residual Learning for Image Recognition", 2015.
    """
    check_side(pictures, 8, f"resnet{2 + (3 if bottleneck else 2) * sum(blocks)}")
    small = pictures.side <= SMALL
    layers = _start(pictures.channels, 64, kernel=3 if small else 7)
    if not small:
        layers.append(nn.MaxPool2d(3, stride=2, padding=1))
    block: Callable[..., nn.Module] = _Bottleneck if bottleneck else _Basic
    channels = 64
    for stage, count in enumerate(blocks):
        out = 64 * 2**stage * (4 if bottleneck else 1)
        for number in range(count):
            layers.append(block(channels, out, 2 if stage and not number else 1))
            channels = out
    return _classifier(pictures, layers, channels, num_classes)


class _Basic(nn.Module):
    """Two 3 x 3 convolutions and a shortcut."""

    def __init__(self, channels: int, out: int, stride: int, *, projected: bool = True) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(channels, out, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(),
            nn.Conv2d(out, out, 3, padding=1, bias=False),
            nn.BatchNorm2d(out),
        )
        self.shortcut = _shortcut(channels, out, stride, projected=projected)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.relu(self.branch(inputs) + self.shortcut(inputs))


class _Bottleneck(nn.Module):
    """A 3 x 3 convolution between two of 1 x 1, and a shortcut."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        inner = out // 4
        self.branch = nn.Sequential(
            nn.Conv2d(channels, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.Conv2d(inner, inner, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.Conv2d(inner, out, 1, bias=False),
            nn.BatchNorm2d(out),
        )
        self.shortcut = _shortcut(channels, out, stride, projected=True)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.relu(self.branch(inputs) + self.shortcut(inputs))


class _Subsample(nn.Module):
    """Every `stride`-th pixel, and channels of zeros around those that are there."""

    def __init__(self, added: int, stride: int) -> None:
        super().__init__()
        self.added, self.stride = added, stride

    def forward(self, inputs: Tensor) -> Tensor:
        kept = inputs[:, :, :: self.stride, :: self.stride]
        before = self.added // 2
        return functional.pad(kept, (0, 0, 0, 0, before, self.added - before))


def _shortcut(channels: int, out: int, stride: int, *, projected: bool) -> nn.Module:
    if channels == out and stride == 1:
        return nn.Identity()
    if not projected:
        return _Subsample(out - channels, stride)
    return nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))


def _start(channels: int, width: int, kernel: int = 3) -> list[nn.Module]:
    stride = 1 if kernel == 3 else 2
    convolution = nn.Conv2d(channels, width, kernel, stride, padding=kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(width), nn.ReLU()]


def _classifier(
    pictures: Pictures, layers: list[nn.Module], channels: int, num_classes: int
) -> Classifier:
    """Put average pooling and the last layer behind the blocks, and draw weights as He does."""
    trunk = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return Classifier(pictures, trunk, nn.Linear(channels, num_classes))
