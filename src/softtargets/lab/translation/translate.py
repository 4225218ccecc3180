"""Sentences in, translations out."""

from collections.abc import Sequence
from dataclasses import dataclass

from softtargets.lab.translation.batches import MEASURED_TOKENS, grouped, padded
from softtargets.lab.translation.beam import LengthPenalty, beam_search
from softtargets.lab.translation.model import Transformer
from softtargets.lab.translation.vocabulary import END, PAD, Vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class Translations:
    """What a model made of some sentences.

    Attributes:
        sentences: one translation for each, in the order of the sources.
        tokens: of each, without its end.
        scores: of each, its log-probability over the length penalty.
        forced: how many ended because of the limit and not of themselves.
    """

    sentences: list[str]
    tokens: list[list[int]]
    scores: list[float]
    forced: int


def translate(
    model: Transformer,
    vocabulary: Vocabulary,
    sentences: Sequence[str],
    *,
    width: int = 4,
    penalty: LengthPenalty | None = None,
    batch_tokens: int = MEASURED_TOKENS,
) -> Translations:
    """Return the best translation that beam search finds of each sentence.

    A translation has at most twice the tokens of its source and 10; `forced` counts those that
    would have gone on. Sources of like length are decoded together, which changes no result but
    for rounding.

    Args:
        model: in eval mode.
        vocabulary: the one the model was trained with.
        sentences: to translate, none empty.
        width: number of beams.
        penalty: None for `LengthPenalty()`.
        batch_tokens: the most source positions decoded together.

    Raises:
        LabError: a sentence alone has more tokens than a batch holds.
        ValueError: a sentence is empty, or an argument is out of range.
    """
    if vocabulary.size != model.size.vocabulary:
        raise ValueError(
            f"`vocabulary` must be the model's, of {model.size.vocabulary} tokens, got "
            f"{vocabulary.size}"
        )
    for number, sentence in enumerate(sentences, start=1):
        if not sentence.strip():
            raise ValueError(f"`sentences` must not be empty, number {number} is; leave it out")
    sources = [[*each, END] for each in vocabulary.encode(sentences)]
    best: dict[int, tuple[list[int], float, bool]] = {}
    for group in grouped([len(each) for each in sources], batch_tokens):
        source = padded([sources[i] for i in group]).to(model.embedding.weight.device)
        found = beam_search(
            model.decoding(source),
            2 * (source != PAD).sum(-1) + 10,
            width=width,
            penalty=LengthPenalty() if penalty is None else penalty,
        )
        for row, i in enumerate(group):
            best[i] = found.sequence(row), float(found.scores[row, 0]), bool(found.forced[row, 0])
    ordered = [best[i] for i in range(len(sources))]
    return Translations(
        sentences=vocabulary.decode(tokens for tokens, *_ in ordered),
        tokens=[tokens for tokens, *_ in ordered],
        scores=[score for _, score, _ in ordered],
        forced=sum(forced for *_, forced in ordered),
    )
