"""The multi-layer perceptron."""

from itertools import pairwise

from torch import Tensor, nn

from softtargets.lab.models.seeding import seeded


class MLP(nn.Module):
    """A multi-layer perceptron with ReLU; `features` is the penultimate layer.

    Args:
        num_inputs: numbers per sample; inputs of any shape are flattened.
        hidden: widths of the hidden layers.
        num_classes: K.
    """

    def __init__(self, num_inputs: int, hidden: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in pairwise((num_inputs, *hidden)):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear((num_inputs, *hidden)[-1], num_classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits `(N, K)` for inputs `(N, ...)`."""
        logits: Tensor = self.head(self.features(inputs))
        return logits


def seeded_mlp(num_inputs: int, hidden: tuple[int, ...], num_classes: int, seed: int) -> MLP:
    """Return an `MLP` whose initial weights depend on the seed alone."""
    return seeded(lambda: MLP(num_inputs, hidden, num_classes), seed)
