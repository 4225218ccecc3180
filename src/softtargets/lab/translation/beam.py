"""Batched beam search that stops a sentence when nothing better can follow, and not before.

References:
    Freitag and Al-Onaizan, "Beam Search Strategies for Neural Machine Translation", 2017, for the
    ways to prune and to stop.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from softtargets.lab.translation.decoding import AbstractDecoding
from softtargets.lab.translation.vocabulary import END, PAD, START


@dataclass(frozen=True, slots=True)
class LengthPenalty:
    r"""By what the log-probability of a hypothesis is divided for its score.

        score(y) = log p(y) / ((offset + |y|) / (offset + 1)) ** exponent

    |y| counts the end token. Without it short translations win. Exponent 0 is none; the default
    with an exponent of 0.6 is that of Wu et al.; exponent 1 and offset 0 the mean over tokens, and
    any exponent with offset 0 the `length_penalty` of transformers and `--lenpen` of fairseq.

    Args:
        exponent: >= 0.
        offset: >= 0.

    References:
        Wu et al., "Google's Neural Machine Translation System", 2016, equation 14.
    """

    exponent: float = 0.6
    offset: float = 5.0

    def __post_init__(self) -> None:
        for name in ("exponent", "offset"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"`{name}` must be finite and >= 0, got {getattr(self, name)}")

    def divisor(self, length: Tensor) -> Tensor:
        """Return the divisor of hypotheses of this length, in float64."""
        return ((self.offset + length.double()) / (self.offset + 1)) ** self.exponent


NO_PENALTY = LengthPenalty(0.0)
MEAN = LengthPenalty(1.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Markers:
    """Tokens with a meaning of their own, by default those of `Vocabulary`.

    Attributes:
        start: token before the first.
        end: token that ends a hypothesis.
        banned: tokens that may not occur; their probability goes to no other.
    """

    start: int = START
    end: int = END
    banned: tuple[int, ...] = (PAD, START)

    def __post_init__(self) -> None:
        if self.start < 0 or self.end < 0:
            raise ValueError(
                f"`start` and `end` must be tokens, >= 0, got {self.start} and {self.end}"
            )
        if self.end in self.banned:
            raise ValueError(f"`banned` must not hold `end`, {self.end}: no hypothesis could end")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Hypotheses:
    """The best hypotheses of each sentence, best first.

    Attributes:
        tokens: `(B, keep, L)`; each ends with the end token and goes on with it.
        lengths: `(B, keep)`, the end token counted; 0 where there is no further hypothesis.
        scores: `(B, keep)`, -inf where there is none.
        log_probs: `(B, keep)`, before the length penalty.
        forced: `(B, keep)` bool: it ended because the limit was reached, not of itself.
    """

    tokens: Tensor
    lengths: Tensor
    scores: Tensor
    log_probs: Tensor
    forced: Tensor

    def sequence(self, sentence: int, rank: int = 0) -> list[int]:
        """Return the tokens of one hypothesis without the end token."""
        length = int(self.lengths[sentence, rank])
        tokens: list[int] = self.tokens[sentence, rank, : max(0, length - 1)].tolist()
        return tokens


@torch.no_grad()
def beam_search(
    decoding: AbstractDecoding,
    limits: Tensor,
    *,
    width: int,
    penalty: LengthPenalty = NO_PENALTY,
    keep: int = 1,
    markers: Markers | None = None,
) -> Hypotheses:
    r"""Return the best hypotheses that a beam of this width finds.

    Each step ranks all continuations of a sentence's beams by log p. Those among the first `width`
    that end are finished; the best `width` others go on. At a sentence's limit nothing but the end
    may follow, at its own probability, so that every hypothesis is a whole one. A sentence is left
    when its `keep`-th best score is not below

        max_beam log p / divisor(limit)

    which no continuation can pass, as log p only falls. Width 1 without a penalty is greedy search,
    and a width of all prefixes is exhaustive. A sentence's result does not depend on the others
    of its batch, but for rounding.

    Args:
        decoding: the model's state, one empty beam per sentence.
        limits: `(B,)`, the most tokens of a hypothesis, its end included; >= 1.
        width: number of beams, >= 1.
        penalty: see `LengthPenalty`.
        keep: how many hypotheses of each sentence to return, at most `width`.
        markers: None for those of `Vocabulary`.

    Raises:
        TypeError: `limits` is no integer tensor.
        ValueError: an argument is out of range.
    """
    _check(limits, width, keep)
    markers = markers or Markers()
    found, beams = _Finished(limits, keep, markers.end), _Beams.empty(limits, markers.start)
    for length in range(1, int(limits.max()) + 1):
        logits = decoding.step(beams.last)
        at_limit = beams.limits == length
        candidates = beams.extended(*_masked(logits, markers, at_limit), 2 * width)
        ending = (candidates.tokens == markers.end) & (candidates.log_probs > -torch.inf)
        ending[:, width:] = False
        if bool(ending.any()):
            found.add(candidates, beams, ending, at_limit, penalty.divisor(torch.tensor(length)))
        chosen = candidates.going_on(width, markers.end)
        reachable = chosen.log_probs.amax(-1) / penalty.divisor(beams.limits)
        going = (reachable > found.scores[beams.sentences, -1]) & ~at_limit
        left = None if bool(going.all()) else going.nonzero().squeeze(-1)
        if left is not None and not len(left):
            break
        beams = beams.advanced(chosen, left)
        decoding.select(left, chosen.parents if left is None else chosen.parents[left])
    return found.hypotheses()


def _check(limits: Tensor, width: int, keep: int) -> None:
    if limits.dtype != torch.long or limits.dim() != 1:
        raise TypeError(
            "`limits` must be an int64 tensor of shape (sentences,), got "
            f"{limits.dtype} of shape {tuple(limits.shape)}"
        )
    if not len(limits) or int(limits.min()) < 1:
        raise ValueError(
            "`limits` must hold at least 1 for each sentence, the end token, got "
            f"{limits.tolist()[:8]}"
        )
    if width < 1:
        raise ValueError(f"`width` must be at least 1, got {width}")
    if not 1 <= keep <= width:
        raise ValueError(f"`keep` must be in 1 .. `width`, {width}, got {keep}; widen the beam")


def _masked(logits: Tensor, markers: Markers, at_limit: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits, -inf where a token may not follow, and the logarithm of their sum before."""
    logits = logits if logits.dtype == torch.float64 else logits.float()
    normaliser = logits.logsumexp(-1, keepdim=True)
    for token in markers.banned:
        logits[..., token] = -torch.inf
    if bool(at_limit.any()):
        last = logits[at_limit][..., markers.end]
        logits[at_limit] = -torch.inf
        logits[at_limit, :, markers.end] = last
    return logits, normaliser


@dataclass(frozen=True, slots=True, eq=False)
class _Candidates:
    """Continuations of sentences, `(sentences, candidates)` each, by falling log-probability."""

    log_probs: Tensor
    parents: Tensor
    tokens: Tensor

    def going_on(self, width: int, end: int) -> "_Candidates":
        """Return the best of those that do not end."""
        others = self.log_probs.masked_fill(self.tokens == end, -torch.inf)
        log_probs, places = others.topk(min(width, others.shape[1]))
        return _Candidates(log_probs, self.parents.gather(1, places), self.tokens.gather(1, places))

    def sequences(self, prefixes: Tensor) -> Tensor:
        """Return `(sentences, candidates, length + 1)`, each after its parent's prefix."""
        index = self.parents.unsqueeze(-1).expand(-1, -1, prefixes.shape[-1])
        return torch.cat([prefixes.gather(1, index), self.tokens.unsqueeze(-1)], -1)


@dataclass(frozen=True, slots=True, eq=False)
class _Beams:
    """The unfinished prefixes `(sentences, beams)` of the sentences that are not done."""

    sentences: Tensor
    limits: Tensor
    log_probs: Tensor
    prefixes: Tensor
    last: Tensor

    @classmethod
    def empty(cls, limits: Tensor, start: int) -> "_Beams":
        count, device = len(limits), limits.device
        return cls(
            sentences=torch.arange(count, device=device),
            limits=limits,
            log_probs=torch.zeros(count, 1, dtype=torch.float64, device=device),
            prefixes=limits.new_zeros(count, 1, 0),
            last=limits.new_full((count, 1), start),
        )

    def extended(self, logits: Tensor, normaliser: Tensor, count: int) -> _Candidates:
        """Return the `count` best continuations of each sentence."""
        # No more than `count` of one beam can be among the best `count` of all.
        best, tokens = logits.topk(min(count, logits.shape[-1]))
        steps = best.double() - normaliser
        if bool(steps.isnan().any()):
            raise ValueError("the logits must not be NaN; the model's weights have diverged")
        log_probs, places = (
            (self.log_probs.unsqueeze(-1) + steps).flatten(1).topk(min(count, steps[0].numel()))
        )
        return _Candidates(log_probs, places // best.shape[-1], tokens.flatten(1).gather(1, places))

    def advanced(self, chosen: _Candidates, left: Tensor | None) -> "_Beams":
        """Return the chosen continuations as beams, of the sentences that are left."""
        parts = (
            self.sentences,
            self.limits,
            chosen.log_probs,
            chosen.sequences(self.prefixes),
            chosen.tokens,
        )
        return _Beams(*(parts if left is None else (part[left] for part in parts)))


class _Finished:
    """The best hypotheses of every sentence so far."""

    def __init__(self, limits: Tensor, keep: int, end: int) -> None:
        shape, device = (len(limits), keep), limits.device
        self.end = end
        self.scores = torch.full(shape, -torch.inf, dtype=torch.float64, device=device)
        self.log_probs = self.scores.clone()
        self.lengths = limits.new_zeros(shape)
        self.forced = torch.zeros(shape, dtype=torch.bool, device=device)
        self.tokens = limits.new_full((*shape, int(limits.max())), end)

    def add(
        self,
        candidates: _Candidates,
        beams: _Beams,
        ending: Tensor,
        at_limit: Tensor,
        divisor: Tensor,
    ) -> None:
        """Put the candidates that end where they belong among the best."""
        rows = ending.any(-1).nonzero().squeeze(-1)
        sentences = beams.sentences[rows]
        log_probs = candidates.log_probs.masked_fill(~ending, -torch.inf)[rows]
        sequences = candidates.sequences(beams.prefixes)[rows]
        length = sequences.shape[-1]
        tokens = self.tokens.new_full((*log_probs.shape, self.tokens.shape[-1]), self.end)
        tokens[..., :length] = sequences
        new = {
            "scores": log_probs / divisor.item(),
            "log_probs": log_probs,
            "lengths": torch.full_like(log_probs, length, dtype=torch.long),
            "forced": at_limit[rows].unsqueeze(-1).expand_as(log_probs),
            "tokens": tokens,
        }
        merged = {name: torch.cat([getattr(self, name)[sentences], new[name]], 1) for name in new}
        order = merged["scores"].topk(self.scores.shape[1]).indices
        row = torch.arange(len(rows), device=order.device).unsqueeze(-1)
        for name, value in merged.items():
            getattr(self, name)[sentences] = value[row, order]

    def hypotheses(self) -> Hypotheses:
        """Return what was found; a slot that stayed empty has length 0 and holds end tokens."""
        empty = self.scores == -torch.inf
        return Hypotheses(
            tokens=self.tokens.masked_fill(empty.unsqueeze(-1), self.end),
            lengths=self.lengths.masked_fill(empty, 0),
            scores=self.scores,
            log_probs=self.log_probs,
            forced=self.forced & ~empty,
        )
