"""What a search needs of a model: next-token logits, and beams that can be rearranged."""

from abc import ABC, abstractmethod

from torch import Tensor


class AbstractDecoding(ABC):
    """The state of decoding a batch of sentences, a token at a time.

    It starts with one empty beam per sentence.
    """

    @abstractmethod
    def step(self, tokens: Tensor) -> Tensor:
        """Append a token to every beam and return the logits of the next one.

        Args:
            tokens: `(sentences, beams)`.

        Returns:
            `(sentences, beams, V)`; the caller may overwrite it.
        """

    @abstractmethod
    def select(self, sentences: Tensor | None, beams: Tensor) -> None:
        """Keep some sentences, and for each of them these of its beams, in this order.

        Args:
            sentences: `(kept,)` positions, or None for all.
            beams: `(kept, beams)`, which of the sentence's beams; one may be named repeatedly.
        """
