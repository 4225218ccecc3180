"""What translation models are compared with: kinds of targets for the next token."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from softtargets.lab.spec import Parameters
from softtargets.lab.translation.batches import EncodedPairs
from softtargets.lab.translation.vocabulary import END, PAD
from softtargets.losses import LinearCrossEntropyLoss, unigram_prior
from softtargets.smoothing import AbstractSmoothing, LabelSmoothing, OnlineLabelSmoothing

BASELINE = "hard"
DEFAULT = (BASELINE, "ls", "unigram")


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A kind of target for every token of a translation.

    Attributes:
        title: short name for tables.
        summary: what it does, in one sentence.
        parameters: its settings, as recorded.
        policy: the smoothing for training pairs and a vocabulary's size; None for hard labels.
    """

    title: str
    summary: str
    parameters: Parameters
    policy: Callable[[Parameters, EncodedPairs, int], AbstractSmoothing | None]


def _uniform(parameters: Parameters, train: EncodedPairs, size: int) -> AbstractSmoothing:
    return LabelSmoothing(parameters["rate"])


def _unigram(parameters: Parameters, train: EncodedPairs, size: int) -> AbstractSmoothing:
    labels = torch.tensor([token for each in train.target for token in (*each, END)])
    return LabelSmoothing(parameters["rate"], prior=unigram_prior(labels, size))


def _online(parameters: Parameters, train: EncodedPairs, size: int) -> AbstractSmoothing:
    return OnlineLabelSmoothing(
        size,
        hard_weight=parameters["hard_weight"],
        storage="top_k",
        top_k=int(parameters["top_k"]),
    )


METHODS: dict[str, Method] = {
    BASELINE: Method(
        title="hard labels",
        summary="The usual target: all of it on the next token.",
        parameters={},
        policy=lambda parameters, train, size: None,
    ),
    "ls": Method(
        title="LS",
        summary="Label smoothing: a tenth of the target is spread evenly over the vocabulary.",
        parameters={"rate": 0.1},
        policy=_uniform,
    ),
    "unigram": Method(
        title="unigram LS",
        summary="Label smoothing towards token frequencies: a tenth of the target is spread in "
        "proportion to how often each token occurs in training translations.",
        parameters={"rate": 0.1},
        policy=_unigram,
    ),
    "ols": Method(
        title="OLS",
        summary="Online label smoothing: half of the target is what the model itself said, on "
        "average, where it predicted that token rightly in the epoch before; the 32 largest "
        "entries of each token's row are kept.",
        parameters={"hard_weight": 0.5, "top_k": 32.0},
        policy=_online,
    ),
}


def criterion(
    method: str, parameters: Parameters, train: EncodedPairs, size: int
) -> LinearCrossEntropyLoss:
    """Return the loss of a method, on hidden states and the output layer's weight.

    Args:
        method: a name in `METHODS`.
        parameters: its settings.
        train: pairs to train on.
        size: of the vocabulary.
    """
    policy = METHODS[method].policy(parameters, train, size)
    return LinearCrossEntropyLoss(policy, ignore_index=PAD)
