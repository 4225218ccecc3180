"""What the models of pictures have in common."""

from torch import Tensor, nn

from softtargets.lab.errors import LabError


class Classifier(nn.Module):
    """A linear layer on features of pictures: `head(features(inputs))`.

    Args:
        pictures: brings samples to `(B, C, H, W)`.
        trunk: from pictures to `(B, D)`.
        head: from features to logits.
    """

    def __init__(self, pictures: "Pictures", trunk: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.features = nn.Sequential(pictures, trunk)
        self.head = head

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits `(B, K)` for inputs `(B, *shape)`."""
        logits: Tensor = self.head(self.features(inputs))
        return logits


class Pictures(nn.Module):
    """Samples as `(B, C, H, W)`: of shape `(H, W)`, `(C, H, W)`, or `(H, W, C)` with C 1 or 3.

    Args:
        shape: of a sample.
        name: of the model, for the error.

    Raises:
        LabError: samples of another shape.
    """

    def __init__(self, shape: tuple[int, ...], name: str) -> None:
        super().__init__()
        if len(shape) not in (2, 3) or 0 in shape:
            raise LabError(
                f"the model {name} is for pictures, of shape (H, W), (C, H, W) or (H, W, C), got "
                f"samples of shape {shape}; choose mlp"
            )
        self.last = channels_last(shape)
        sizes = (1, *shape) if len(shape) == 2 else shape
        self.channels, self.height, self.width = (
            (sizes[2], sizes[0], sizes[1]) if self.last else (sizes[0], sizes[1], sizes[2])
        )

    @property
    def side(self) -> int:
        """The shorter one."""
        return min(self.height, self.width)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return `(B, C, H, W)`."""
        if inputs.ndim == 3:
            return inputs.unsqueeze(1)
        return inputs.movedim(-1, 1) if self.last else inputs


def channels_last(shape: tuple[int, ...]) -> bool:
    """Whether samples of a shape are pictures `(H, W, C)`.

    Args:
        shape: of a sample.
    """
    return len(shape) == 3 and shape[-1] in (1, 3) and shape[0] not in (1, 3)


def check_side(pictures: Pictures, least: int, name: str) -> None:
    """Raise `LabError` where pictures are too small for a model.

    Args:
        pictures: of the samples.
        least: pixels that the shorter side must have.
        name: of the model.
    """
    if pictures.side < least:
        raise LabError(
            f"the model {name} needs pictures with sides of {least} or more, got "
            f"{pictures.height} x {pictures.width}; choose mlp or a smaller model"
        )
