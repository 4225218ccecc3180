"""Batches by number of tokens, in a seeded order; every pair comes once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from softtargets.lab.errors import LabError
from softtargets.lab.translation.corpus import Pairs
from softtargets.lab.translation.vocabulary import END, PAD, START, Vocabulary

Tokens = Sequence[Sequence[int]]

MEASURED_TOKENS = 2000  # positions of a batch where nothing is trained


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Pairs as tensors, padded on the right with `PAD`.

    Attributes:
        index: `(B,)`, which pairs.
        source: `(B, S)`, each with its end token.
        inputs: `(B, T)`, the start token and the target.
        labels: `(B, T)`, the target and its end token.
    """

    index: Tensor
    source: Tensor
    inputs: Tensor
    labels: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedPairs:
    """Pairs as tokens, without start and end."""

    source: list[list[int]]
    target: list[list[int]]

    def __len__(self) -> int:
        return len(self.source)

    def batch(self, index: Sequence[int]) -> Batch:
        """Return these pairs as one batch."""
        target = [self.target[i] for i in index]
        return Batch(
            index=torch.tensor(index),
            source=padded([[*self.source[i], END] for i in index]),
            inputs=padded([[START, *each] for each in target]),
            labels=padded([[*each, END] for each in target]),
        )


def encoded(pairs: Pairs, vocabulary: Vocabulary) -> EncodedPairs:
    """Return the pairs as tokens of the vocabulary."""
    return EncodedPairs(
        source=vocabulary.encode(pairs.source), target=vocabulary.encode(pairs.target)
    )


def padded(sequences: Tokens) -> Tensor:
    """Return `(B, longest)` with `PAD` on the right."""
    longest = max(map(len, sequences))
    return torch.tensor([[*each, *[PAD] * (longest - len(each))] for each in sequences])


def batches(
    pairs: EncodedPairs, tokens: int, generator: torch.Generator | None = None
) -> Iterator[Batch]:
    """Yield every pair once, in batches of at most `tokens` positions on either side.

    Pairs of like length share a batch. With a generator, pairs of one length and the batches come
    in random order; without one, from short to long.

    Args:
        pairs: to batch.
        tokens: the most positions of `source`, or of `labels`, padding included.
        generator: decides the order.

    Raises:
        LabError: a pair alone is longer.
    """
    for group in grouped([_length(pairs, i) for i in range(len(pairs))], tokens, generator):
        yield pairs.batch(group)


def grouped(
    lengths: Sequence[int], tokens: int, generator: torch.Generator | None = None
) -> list[list[int]]:
    """Return groups of like length, of `tokens` positions each at most, padding included.

    Raises:
        LabError: one alone is longer.
    """
    for number, length in enumerate(lengths, start=1):
        if length > tokens:
            raise LabError(
                f"line {number} has {length} tokens, its end counted, and a batch holds {tokens}; "
                "allow more tokens a batch"
            )
    order = list(range(len(lengths)))
    if generator is not None:
        order = torch.randperm(len(lengths), generator=generator).tolist()
    order.sort(key=lambda i: lengths[i])
    groups: list[list[int]] = []
    for i in order:
        # Lengths only grow, so the newest is what a group is padded to.
        if not groups or (len(groups[-1]) + 1) * lengths[i] > tokens:
            groups.append([])
        groups[-1].append(i)
    if generator is None:
        return groups
    shuffled: list[int] = torch.randperm(len(groups), generator=generator).tolist()
    return [groups[i] for i in shuffled]


def _length(pairs: EncodedPairs, i: int) -> int:
    return max(len(pairs.source[i]), len(pairs.target[i])) + 1
