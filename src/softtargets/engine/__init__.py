"""The engine: cross-entropy of logits against a `Target`, one formula run several ways."""

from softtargets.engine.api import (
    ExampleLosses,
    LossOptions,
    check_options,
    check_target,
    example_losses,
)
from softtargets.engine.observer import Observer, Statistics, SummingObserver

__all__ = [
    "ExampleLosses",
    "LossOptions",
    "Observer",
    "Statistics",
    "SummingObserver",
    "check_options",
    "check_target",
    "example_losses",
]
