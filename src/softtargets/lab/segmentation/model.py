"""A small U-Net: from images of any size to logits for every pixel."""

import itertools
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from softtargets.lab.models.seeding import seeded


class _Block(nn.Sequential):
    """Two 3 x 3 convolutions, each with batch normalisation and ReLU."""

    def __init__(self, inside: int, outside: int) -> None:
        layers: list[nn.Module] = []
        for given in (inside, outside):
            layers += [
                nn.Conv2d(given, outside, 3, padding=1, bias=False),
                nn.BatchNorm2d(outside),
                nn.ReLU(inplace=True),
            ]
        super().__init__(*layers)


@final
class UNet(nn.Module):
    """U-Net: down by halves, twice the channels each time, up again beside what was seen before.

    Sides need not be even: on the way up a map takes the size of the one it is put beside.

    Args:
        num_classes: K.
        width: channels at full size.
        depth: how often the sides are halved.

    References:
        Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation",
        MICCAI 2015; here with batch normalisation, padding and nearest neighbours on the way up.
    """

    def __init__(self, num_classes: int, width: int = 16, depth: int = 3) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(depth + 1)]
        self.down = nn.ModuleList(
            _Block(inside, outside) for inside, outside in zip([3, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(
            _Block(low + high, high) for high, low in reversed(list(itertools.pairwise(widths)))
        )
        self.head = nn.Conv2d(width, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits `(N, K, H, W)`.

        Args:
            images: `(N, 3, H, W)` float32, about 0 and of size 1.
        """
        maps = images
        seen: list[Tensor] = []
        for level, block in enumerate(self.down):
            maps = block(functional.max_pool2d(maps, 2) if level else maps)
            seen.append(maps)
        seen.pop()
        for block in self.up:
            beside = seen.pop()
            larger = functional.interpolate(maps, size=beside.shape[-2:], mode="nearest")
            maps = block(torch.cat([beside, larger], 1))
        logits: Tensor = self.head(maps)
        return logits


def build(num_classes: int, *, width: int, depth: int, seed: int) -> UNet:
    """Return a U-Net whose weights depend on the seed alone.

    Args:
        num_classes: K.
        width: see `UNet`.
        depth: see `UNet`.
        seed: of its weights.

    Example:
        >>> model = build(4, width=4, depth=2, seed=0)
        >>> model(torch.zeros(1, 3, 18, 23)).shape
        torch.Size([1, 4, 18, 23])
    """
    return seeded(lambda: UNet(num_classes, width, depth), seed)
