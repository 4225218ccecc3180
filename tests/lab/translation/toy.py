"""A language of a few tokens whose every conditional probability is a table, and plain searches."""

import itertools
import math

import numpy as np
import torch

from softtargets.lab.translation.decoding import AbstractDecoding

START, END = 0, 0  # the start token is never predicted, so its number may be the end's


class Table:
    """Logits of the next token after every prefix, for every sentence."""

    def __init__(self, sentences, size, longest, seed, sharp=1.5):
        generator = np.random.default_rng(seed)
        self.size = size
        self.rows = [
            {
                prefix: sharp * generator.standard_normal(size)
                for length in range(longest)
                for prefix in itertools.product(range(1, size), repeat=length)
            }
            for _ in range(sentences)
        ]

    def log_probs(self, sentence, prefix):
        row = self.rows[sentence][tuple(prefix)]
        with np.errstate(divide="ignore"):
            return row - np.log(np.exp(row).sum())

    def every_hypothesis(self, sentence, limit, divisor):
        """All token sequences that end within the limit, best first: (score, log p, tokens)."""
        found = []
        for length in range(limit):
            for prefix in itertools.product(range(1, self.size), repeat=length):
                tokens = (*prefix, END)
                steps = (self.log_probs(sentence, tokens[:i])[tokens[i]] for i in range(length + 1))
                log_prob = math.fsum(steps)
                found.append((log_prob / divisor(length + 1), log_prob, tokens))
        return sorted(found, reverse=True)

    def plain_search(self, sentence, limit, width, divisor):
        """Beam search written as a loop over lists that never stops before the limit."""
        beams, finished = [(0.0, ())], []
        for length in range(1, limit + 1):
            candidates = self.candidates(sentence, beams)
            if length == limit:
                candidates = [each for each in candidates if each[1][-1] == END]
            finished += [
                (total / divisor(length), total, tokens)
                for total, tokens in candidates[:width]
                if tokens[-1] == END
            ]
            beams = [each for each in candidates if each[1][-1] != END][:width]
        return sorted(finished, reverse=True)

    def unfinished(self, sentence, steps, width):
        """The beams after some steps, best first: (log p, tokens)."""
        beams = [(0.0, ())]
        for _ in range(steps):
            candidates = self.candidates(sentence, beams)
            beams = [each for each in candidates if each[1][-1] != END][:width]
        return beams

    def candidates(self, sentence, beams):
        return sorted(
            (
                (total + step, (*prefix, token))
                for total, prefix in beams
                for token, step in enumerate(self.log_probs(sentence, prefix))
            ),
            reverse=True,
        )


class TableDecoding(AbstractDecoding):
    """Decoding by a table; counts the rows it was asked for."""

    def __init__(self, table):
        self.table, self.asked = table, []
        self.prefixes = [(i, [()]) for i in range(len(table.rows))]

    def step(self, tokens):
        if self.asked:
            self.prefixes = [
                (i, [(*prefix, token) for prefix, token in zip(beams, row, strict=True)])
                for (i, beams), row in zip(self.prefixes, tokens.tolist(), strict=True)
            ]
        self.asked.append([i for i, _ in self.prefixes])
        # A beam that has no probability may be any; its row is never used.
        rows = [
            [self.table.rows[i].get(prefix, np.zeros(self.table.size)) for prefix in beams]
            for i, beams in self.prefixes
        ]
        return torch.tensor(np.array(rows))

    def select(self, sentences, beams):
        if sentences is not None:
            self.prefixes = [self.prefixes[i] for i in sentences.tolist()]
        self.prefixes = [
            (i, [old[j] for j in row])
            for (i, old), row in zip(self.prefixes, beams.tolist(), strict=True)
        ]


def divisor(penalty):
    """The formula of a length penalty, written again."""
    return lambda length: ((penalty.offset + length) / (penalty.offset + 1)) ** penalty.exponent
