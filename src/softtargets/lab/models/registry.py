"""Models by name."""

import math
from collections.abc import Callable
from functools import partial

from torch import nn

from softtargets.lab.errors import LabError
from softtargets.lab.models.convolutional import alexnet_cifar, lenet, small_cnn
from softtargets.lab.models.installed import LIBRARIES, installed_model
from softtargets.lab.models.mlp import MLP
from softtargets.lab.models.pictures import Pictures
from softtargets.lab.models.resnet import cifar_resnet, large_resnet
from softtargets.lab.models.seeding import seeded
from softtargets.lab.models.text import text_bag, text_cnn

_OF_PICTURES: dict[str, Callable[[Pictures, int], nn.Module]] = {
    "cnn": small_cnn,
    "lenet": lenet,
    "alexnet-cifar": alexnet_cifar,
    "resnet8": partial(cifar_resnet, depth=8),
    "resnet20": partial(cifar_resnet, depth=20),
    "resnet32": partial(cifar_resnet, depth=32),
    "resnet56": partial(cifar_resnet, depth=56),
    "resnet18": partial(large_resnet, blocks=(2, 2, 2, 2), bottleneck=False),
    "resnet34": partial(large_resnet, blocks=(3, 4, 6, 3), bottleneck=False),
    "resnet50": partial(large_resnet, blocks=(3, 4, 6, 3), bottleneck=True),
}
_OF_TEXTS: dict[str, Callable[[int, int], nn.Module]] = {"text-cnn": text_cnn, "text-bag": text_bag}
MODELS = ("mlp", *_OF_PICTURES)
TEXT_MODELS = tuple(_OF_TEXTS)


def build(
    name: str,
    shape: tuple[int, ...],
    num_classes: int,
    seed: int,
    hidden: tuple[int, ...] = (128, 128),
    num_words: int | None = None,
) -> nn.Module:
    """Return a model from inputs `(B, *shape)` to logits `(B, K)`.

    Args:
        name: one of `MODELS`, for texts of `TEXT_MODELS`, or `"timm:NAME"` or
            `"torchvision:NAME"` of a library that is installed, `+pretrained` at its end for the
            library's weights.
        shape: of a sample; for all but `"mlp"` a picture, `(H, W)`, `(C, H, W)` or `(H, W, C)`.
        num_classes: K.
        seed: decides the initial weights; global generators are left as they are.
        hidden: widths of the hidden layers of `"mlp"`.
        num_words: size of the vocabulary where samples are texts, of numbers of words.

    Raises:
        LabError: no such model, or not for samples of this shape, or of texts.

    Example:
        >>> import torch
        >>> model = build("resnet20", (3, 32, 32), 10, seed=0)
        >>> sum(weights.numel() for weights in model.parameters())
        269722
        >>> model(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """
    if num_words is not None or name in _OF_TEXTS:
        return _of_texts(name, num_words, num_classes, seed)
    if name == "mlp":
        return seeded(lambda: MLP(math.prod(shape), hidden, num_classes), seed)
    if name in _OF_PICTURES:
        pictures = Pictures(shape, name)
        return seeded(lambda: _OF_PICTURES[name](pictures, num_classes), seed)
    library, colon, chosen = name.partition(":")
    if colon and chosen and library in LIBRARIES:
        pictures = Pictures(shape, name)
        return seeded(lambda: installed_model(name, pictures, num_classes), seed)
    raise LabError(
        f"unknown model {name!r}: choose from {', '.join(MODELS + TEXT_MODELS)}, or timm:NAME or "
        "torchvision:NAME of a library that is installed"
    )


def _of_texts(name: str, num_words: int | None, num_classes: int, seed: int) -> nn.Module:
    if num_words is None:
        raise LabError(f"the model {name} is for texts, and these data are none; choose mlp")
    if name not in _OF_TEXTS:
        raise LabError(
            f"the model {name} is for numbers, and these data are texts; choose from "
            f"{', '.join(_OF_TEXTS)}, as --model {TEXT_MODELS[0]}"
        )
    return seeded(lambda: _OF_TEXTS[name](num_words, num_classes), seed)
