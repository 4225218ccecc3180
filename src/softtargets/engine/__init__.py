"""The engine: cross-entropy of logits against a `Target`, one formula run several ways."""

from softtargets.engine.api import (
    ExampleLosses,
    LossOptions,
    check_alive_labels,
    example_losses,
)
from softtargets.engine.observer import Observer

__all__ = ["ExampleLosses", "LossOptions", "Observer", "check_alive_labels", "example_losses"]
