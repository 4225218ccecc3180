"""Models of timm and torchvision, where they are installed."""

import importlib
from typing import Any

from torch import Tensor, nn

from softtargets.lab.errors import LabError, reason
from softtargets.lab.models.penultimate import last_linear
from softtargets.lab.models.pictures import Pictures

LIBRARIES = ("timm", "torchvision")
PRETRAINED = "+pretrained"


def installed_model(name: str, pictures: Pictures, num_classes: int) -> nn.Module:
    """Return a library's model with a new last layer.

    Args:
        name: `"timm:NAME"` or `"torchvision:NAME"`; with `+pretrained` at the end, the library
            fetches its weights, or takes those that it has fetched before.
        pictures: of the samples.
        num_classes: K.

    Raises:
        LabError: the library is missing or does not fit torch, has no such model, cannot fetch
            its weights, or the model does not take these pictures.
    """
    library, _, chosen = name.partition(":")
    pretrained = chosen.endswith(PRETRAINED)
    chosen = chosen.removesuffix(PRETRAINED)
    module = _library(library, name)
    make = _timm if library == "timm" else _torchvision
    try:
        model = make(module, chosen, pretrained, pictures.channels, num_classes)
    except (RuntimeError, ValueError, TypeError, KeyError, OSError) as error:
        raise LabError(f"the model {name} cannot be built: {reason(error)}") from error
    return _Installed(name, pictures, model)


class _Installed(nn.Module):
    """Pictures, then the library's model."""

    def __init__(self, name: str, pictures: Pictures, model: nn.Module) -> None:
        super().__init__()
        self.name = name
        self.pictures = pictures
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        logits = self.model(self.pictures(inputs))
        if not isinstance(logits, Tensor):
            raise LabError(
                f"the model {self.name} has several outputs, a {type(logits).__name__}; choose one "
                "with logits alone"
            )
        return logits


def _library(library: str, name: str) -> Any:
    try:
        return importlib.import_module("timm" if library == "timm" else "torchvision.models")
    except (ImportError, RuntimeError) as error:  # RuntimeError: it is of another build of torch
        raise LabError(
            f"the model {name} needs a {library} that fits the torch that is installed "
            f"({reason(error)}); install it, or choose another model"
        ) from error


def _timm(timm: Any, name: str, pretrained: bool, channels: int, num_classes: int) -> nn.Module:
    model: nn.Module = timm.create_model(
        name, pretrained=pretrained, in_chans=channels, num_classes=num_classes
    )
    return model


def _torchvision(
    models: Any, name: str, pretrained: bool, channels: int, num_classes: int
) -> nn.Module:
    """Pretrained weights come with a last layer of 1,000 classes, which is replaced."""
    if channels != 3:
        raise ValueError(f"models of torchvision want pictures of 3 channels, got {channels}")
    model: nn.Module = models.get_model(name, weights="DEFAULT" if pretrained else None)
    place, last = last_linear(model)
    parent, _, attribute = place.rpartition(".")
    new = nn.Linear(last.in_features, num_classes, bias=last.bias is not None)
    setattr(model.get_submodule(parent), attribute, new)
    return model
