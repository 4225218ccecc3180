"""The engine: cross-entropy of logits against a `Target`, one formula run several ways."""

from softtargets.engine.api import (
    ExampleLosses,
    LossOptions,
    check_alive_labels,
    example_losses,
)

__all__ = ["ExampleLosses", "LossOptions", "check_alive_labels", "example_losses"]
