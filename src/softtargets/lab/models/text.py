"""Small networks for texts whose words are numbers; 0, behind the last word, changes nothing."""

import torch
from torch import Tensor, nn
from torch.nn import functional

PAD = 0
_EMBEDDING = 64
_DEVIATION = 0.1  # of embeddings at first; at torch's 1 SGD at a rate of 0.1 does not learn
_FILTERS = 64
_WIDTHS = (2, 3, 4)
_HIDDEN = 128
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
    """Return 64 convolutions over each of 2, 3 and 4 words, and their largest answers in a text.

    The paper's network with embeddings that are learned from the start, made smaller for a CPU:
    there are 100 over each of 3, 4 and 5 words, and 300 numbers for a word, not 64.

    Args:
        num_words: size of the vocabulary.
        num_classes: K.

    References:
        Kim, "Convolutional Neural Networks for Sentence Classification", 2014.
    """
    return TextClassifier(_Convolutions(num_words), nn.Linear(_FILTERS * len(_WIDTHS), num_classes))


def text_bag(num_words: int, num_classes: int) -> TextClassifier:
    """Return the mean of 64 numbers for each word, and a hidden layer of 128; order plays no part.

    Args:
        num_words: size of the vocabulary.
        num_classes: K.
    """
    bag = nn.EmbeddingBag(num_words, _EMBEDDING, mode="mean", padding_idx=PAD)
    with torch.no_grad():
        bag.weight.mul_(_DEVIATION)
    layer = nn.Linear(_EMBEDDING, _HIDDEN)
    trunk = nn.Sequential(bag, layer, nn.ReLU(), nn.Dropout(_DROPOUT))
    return TextClassifier(trunk, nn.Linear(_HIDDEN, num_classes))


class _Convolutions(nn.Module):
    """Windows that hold a word of the text or more; beyond both its ends there are zeros."""

    def __init__(self, num_words: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_words, _EMBEDDING, padding_idx=PAD)
        with torch.no_grad():
            self.embedding.weight.mul_(_DEVIATION)
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
