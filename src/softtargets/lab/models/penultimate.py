"""What the last layer of a model sees."""

from collections.abc import Callable

from torch import Tensor, nn

from softtargets.lab.errors import LabError


def penultimate(model: nn.Module) -> tuple[Callable[[Tensor], Tensor], nn.Linear]:
    """Return a function from inputs to penultimate features `(B, D)`, and the last layer.

    `head(features(inputs)) == model(inputs)`. Models of the laboratory say what the two are; of
    others, the last layer is the `nn.Linear` that was registered last, and must be what the
    model's output comes from.

    Args:
        model: in training or evaluation mode, which stays as it is.

    Returns:
        The function, and the layer. Gradients go through both.

    Raises:
        LabError: the model has no `nn.Linear`.

    Example:
        >>> import torch
        >>> from softtargets.lab.models import build
        >>> model = build("lenet", (28, 28), 10, seed=0).eval()
        >>> inputs = torch.ones(2, 28, 28)
        >>> features, head = penultimate(model)
        >>> features(inputs).shape, torch.equal(head(features(inputs)), model(inputs))
        (torch.Size([2, 84]), True)
    """
    known, head = getattr(model, "features", None), getattr(model, "head", None)
    if isinstance(known, nn.Module) and isinstance(head, nn.Linear):
        return known, head
    _, last = last_linear(model)

    def features(inputs: Tensor) -> Tensor:
        seen: list[Tensor] = []
        hook = last.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        try:
            outputs = model(inputs)
        finally:
            hook.remove()
        if len(seen) != 1 or outputs.shape[-1] != last.out_features:
            raise LabError(
                f"the last nn.Linear of {type(model).__name__} must be called once and give its "
                f"output, it was called {len(seen)} times; give the model `features` and `head`"
            )
        return seen[0]

    return features, last


def last_linear(model: nn.Module) -> tuple[str, nn.Linear]:
    """Return name and module of the `nn.Linear` that was registered last.

    Args:
        model: that has one.

    Raises:
        LabError: it has none.
    """
    found = [(name, each) for name, each in model.named_modules() if isinstance(each, nn.Linear)]
    if not found:
        raise LabError(f"{type(model).__name__} has no nn.Linear to be its last layer")
    return found[-1]
