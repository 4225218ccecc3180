"""Texts as numbers of words, by a vocabulary that the training part alone decides."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

PAD, UNKNOWN = 0, 1
SPECIAL = ("<pad>", "<unk>")
LEAST = 2
_WORD = re.compile(r"\w+|[^\w\s]")


def split_words(text: str) -> list[str]:
    """Return the words of a text in lower case; every punctuation mark is one too.

    Args:
        text: of any length.

    Example:
        >>> split_words("What 's the U.S. anthem ?")
        ['what', "'", 's', 'the', 'u', '.', 's', '.', 'anthem', '?']
    """
    return _WORD.findall(text.lower())


@final
@dataclass(frozen=True, slots=True)
class Words:
    """A vocabulary: the words that occur twice or more, the most frequent first.

    All others are one unknown word. A word that occurs once is unknown in training too, so that
    there is something to learn of the unknown words of other texts.

    Attributes:
        words: by number; the first two, `"<pad>"` and `"<unk>"`, can be no word of a text.

    Example:
        >>> words = Words.learn([["a", "cat"], ["a", "dog"]])
        >>> words.words, words.encode([["a"], ["the", "dog", "a"]], length=3).tolist()
        (('<pad>', '<unk>', 'a'), [[2, 0, 0], [1, 1, 2]])
    """

    words: tuple[str, ...]

    @classmethod
    def learn(cls, texts: Iterable[Sequence[str]]) -> "Words":
        """Return the vocabulary of texts that were split; of equally frequent words, by alphabet.

        Args:
            texts: of the training part alone.
        """
        counts = Counter(word for text in texts for word in text)
        known = sorted((-count, word) for word, count in counts.items() if count >= LEAST)
        return cls((*SPECIAL, *(word for _, word in known)))

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, texts: Sequence[Sequence[str]], length: int) -> Any:
        """Return `(N, length)` int32 numbers of words, with `PAD` behind the last.

        Args:
            texts: split, each of 1 to `length` words.
            length: of the longest.
        """
        known = self.words[len(SPECIAL) :]
        numbers = {word: number for number, word in enumerate(known, start=len(SPECIAL))}
        rows = np.full((len(texts), length), PAD, dtype=np.int32)
        for row, text in zip(rows, texts, strict=True):
            row[: len(text)] = [numbers.get(word, UNKNOWN) for word in text]
        return rows
