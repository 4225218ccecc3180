"""Small networks for texts, whose words are numbers; what stands behind the last word is nothing."""

import torch
from torch import Tensor, nn
from torch.nn import functional

PAD = 0
_EMBEDDING = 128
_FILTERS = 100
_WIDTHS = (3, 4, 5)
_DROPOUT = 0.5


class TextClassifier(nn.Module):
    """A linear layer on features of texts: `head(features(inputs))`.

    Args:
        trunk: from numbers of words `(B, L)` to `(B, D)`.
        head: from features to logits.
    """

    def __init__(self, trunk: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.features = trunk
        self.head = head

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits `(B, K)` for numbers of words `(B, L)`, 0 behind the last."""
        logits: Tensor = self.head(self.features(inputs))
        return logits


def text_cnn(num_words: int, num_classes: int) -> TextClassifier:
    """Return convolutions over 3, 4 and 5 words, the largest answer of each in a text.

    The widths, 100 filters of each and dropout are the paper's; embeddings are learned from the
    start, of 128 numbers.

    Args:
        num_words: size of the vocabulary.
        num_classes: K.

    References:
        Kim, "Convolutional Neural Networks for Sentence Classification", 2014.
    """
    return TextClassifier(
        _Convolutions(num_words), nn.Linear(_FILTERS * len(_WIDTHS), num_classes)
    )


def text_bag(num_words: int, num_classes: int) -> TextClassifier:
    """Return the mean of a text's embeddings, and a hidden layer of 128; order plays no part.

    Args:
        num_words: size of the vocabulary.
        num_classes: K.
    """
    trunk = nn.Sequential(
        nn.EmbeddingBag(num_words, _EMBEDDING, mode="mean", padding_idx=PAD),
        nn.Linear(_EMBEDDING, 128),
        nn.ReLU(),
        nn.Dropout(_DROPOUT),
    )
    return TextClassifier(trunk, nn.Linear(128, num_classes))


class _Convolutions(nn.Module):
    """Windows that hold a word of the text or more; beyond both its ends there are zeros."""

    def __init__(self, num_words: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_words, _EMBEDDING, padding_idx=PAD)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(_EMBEDDING, _FILTERS, width, padding=width - 1) for width in _WIDTHS
        )
        self.dropout = nn.Dropout(_DROPOUT)

    def forward(self, inputs: Tensor) -> Tensor:
        there = inputs != PAD
        # No text of the batch reaches further; a part of a batch may have no texts.
        longest = max(1, int(there.sum(-1).amax())) if len(inputs) else 1
        inputs, there = inputs[:, :longest], there[:, None, :longest]
        words = self.embedding(inputs).transpose(1, 2)
        found = []
        for convolution, width in zip(self.convolutions, _WIDTHS, strict=True):
            reached = functional.pad(there, (width - 1, 0), value=True)
            # ReLU leaves nothing below 0, so a window behind the text is never the largest.
            found.append((convolution(words).relu() * reached).amax(-1))
        features: Tensor = self.dropout(torch.cat(found, 1))
        return features
