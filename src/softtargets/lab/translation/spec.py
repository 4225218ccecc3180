"""A translation run as a frozen value; its hash names its folder."""

from typing import ClassVar

import msgspec

from softtargets.lab.spec import Parameters
from softtargets.lab.task_record import check_numbers, run_name
from softtargets.lab.translation.vocabulary import SMALLEST

_WIDEST = 200
_COUNTS = ("epochs", "vocabulary", "batch_tokens", "width", "heads", "layers", "feed_forward")


class TranslationSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that decides the numbers of a translation run.

    Attributes:
        data: folder of the corpus with its languages, as `softtargets.lab.translation.source`
            reads it.
        data_hash: hash of all sentences.
        method: a name in `softtargets.lab.translation.methods.METHODS`.
        parameters: the method's settings.
        seed: initial weights, data order and dropout.
        epochs: passes over the training data.
        teacher: none; methods here have no teacher.
        vocabulary: number of subwords, learned from the training part.
        batch_tokens: the most positions of a batch on either side.
        learning_rate: of AdamW, at its highest.
        warm_up: share of all steps in which the rate rises from 0; it falls along a cosine then.
        weight_decay: decoupled.
        clip: largest norm of all gradients together.
        width: of embeddings and hidden states.
        heads: of each attention.
        layers: of the encoder, and of the decoder.
        feed_forward: width inside each feed-forward block.
        dropout: of embeddings and of each block's output.
        beams: widths of the searches that test sentences are translated with.
        penalty: exponent of the length penalty, see `LengthPenalty`.
        resamples: draws of the test sentences behind the intervals of the record.

    Raises:
        ValueError: a setting is out of range.
    """

    kind: ClassVar[str] = "translation"

    data: str
    data_hash: str
    method: str
    parameters: Parameters
    seed: int
    epochs: int
    teacher: None = None
    vocabulary: int = 4000
    batch_tokens: int = 800
    learning_rate: float = 4e-3
    warm_up: float = 0.1
    weight_decay: float = 0.01
    clip: float = 1.0
    width: int = 128
    heads: int = 4
    layers: int = 3
    feed_forward: int = 256
    dropout: float = 0.1
    beams: tuple[int, ...] = (1, 4)
    penalty: float = 0.6
    resamples: int = 1000

    def __post_init__(self) -> None:
        check_numbers(
            self,
            counts=_COUNTS,
            positive=("learning_rate", "clip"),
            not_negative=("weight_decay", "penalty", "resamples"),
            shares=("warm_up", "dropout"),
        )
        if self.vocabulary < SMALLEST:
            raise ValueError(
                f"`vocabulary` must be at least {SMALLEST}, the bytes and special tokens, got "
                f"{self.vocabulary}"
            )
        if self.width % (2 * self.heads):
            raise ValueError(
                f"`width` must be a multiple of {2 * self.heads}, twice the number of heads, got "
                f"{self.width}"
            )
        if not self.beams or any(not 1 <= beam <= _WIDEST for beam in self.beams):
            raise ValueError(f"`beams` must be widths from 1 to {_WIDEST}, got {self.beams}")
        if len(set(self.beams)) < len(self.beams):
            raise ValueError(f"`beams` must name each width once, got {self.beams}")

    @property
    def run_id(self) -> str:
        """A readable name with a hash of every field; the place of the data plays no part."""
        return run_name(self, self.method, self.seed)
