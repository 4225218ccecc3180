"""What a translation must beat: the source itself, and words at their own frequencies."""

from collections import Counter
from collections.abc import Sequence

import torch

from softtargets.lab.translation.corpus import Pairs
from softtargets.losses import unigram_prior


def copied(sentences: Sequence[str]) -> list[str]:
    """Return the sources as their translations."""
    return list(sentences)


def unigrams(train: Pairs, sentences: Sequence[str], generator: torch.Generator) -> list[str]:
    """Return words drawn as often as they occur in training targets, whatever the source says.

    A translation has as many words as its source, times the training pairs' ratio.

    Args:
        train: pairs whose target words are counted.
        sentences: sources, which decide lengths alone.
        generator: decides the words.
    """
    counts = Counter(word for sentence in train.target for word in sentence.split())
    words = sorted(counts)
    weights = torch.tensor([counts[word] for word in words], dtype=torch.float64)
    ratio = counts.total() / sum(len(sentence.split()) for sentence in train.source)
    lengths = [max(1, round(ratio * len(sentence.split()))) for sentence in sentences]
    drawn = torch.multinomial(weights, sum(lengths), replacement=True, generator=generator)
    return [" ".join(words[i] for i in part.tolist()) for part in torch.split(drawn, lengths)]


def unigram_nll(
    train: Sequence[Sequence[int]], test: Sequence[Sequence[int]], end: int, size: int
) -> float:
    """Return the NLL per token of the training targets' frequencies, one added to every count.

    Args:
        train: target tokens, without their ends.
        test: the same of the sentences to score.
        end: the end token, counted once for each sentence.
        size: number of tokens of the vocabulary.
    """
    labels, scored = (
        torch.tensor([token for each in part for token in (*each, end)]) for part in (train, test)
    )
    prior = unigram_prior(labels, size)
    return -float(prior[scored].double().log().mean())
