"""How good translations are (BLEU, chrF) and how right the model's probabilities (NLL, ECE)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from softtargets.calibration import TemperatureScaling
from softtargets.lab.errors import LabError
from softtargets.lab.translation.batches import MEASURED_TOKENS, EncodedPairs
from softtargets.lab.translation.model import Transformer
from softtargets.lab.translation.predictions import predict_tokens, token_logits


@dataclass(frozen=True, slots=True, kw_only=True)
class TextScores:
    """Scores of a whole test set, in percent, and what they were computed by.

    Attributes:
        bleu: BLEU of the detokenised text.
        chrf: chrF2.
        bleu_signature: sacrebleu's: references, case, tokeniser, smoothing, version.
        chrf_signature: the same of chrF.
    """

    bleu: float
    chrf: float
    bleu_signature: str
    chrf_signature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenScores:
    """Next-token predictions against the reference, given the reference before it.

    Attributes:
        tokens: number of predictions, end tokens included, padding not.
        negative_log_likelihood: mean over tokens, natural logarithm.
        accuracy: share of tokens that were the most probable.
        expected_calibration_error: of the most probable token, 15 bins.
        expected_calibration_error_debiased: the same debiased and signed.
    """

    tokens: int
    negative_log_likelihood: float
    accuracy: float
    expected_calibration_error: float
    expected_calibration_error_debiased: float

    @property
    def perplexity(self) -> float:
        """`exp` of the NLL."""
        return math.exp(self.negative_log_likelihood)


def score_text(translations: Sequence[str], references: Sequence[str]) -> TextScores:
    """Return BLEU and chrF of translations against one reference each.

    Raises:
        LabError: sacrebleu is not installed.
        ValueError: another number of references, or none.

    References:
        Post, "A Call for Clarity in Reporting BLEU Scores", 2018.
    """
    if len(translations) != len(references) or not references:
        raise ValueError(
            "`translations` and `references` must be as many, at least one, got "
            f"{len(translations)} and {len(references)}"
        )
    metrics = _sacrebleu()
    bleu, chrf = metrics[0](), metrics[1]()
    scores = [
        metric.corpus_score(list(translations), [list(references)]).score for metric in (bleu, chrf)
    ]
    return TextScores(
        bleu=scores[0],
        chrf=scores[1],
        bleu_signature=str(bleu.get_signature()),
        chrf_signature=str(chrf.get_signature()),
    )


def sentence_statistics(translations: Sequence[str], references: Sequence[str]) -> Tensor:
    """Return what BLEU is made of, `(N, 10)` int64: sums of rows give that of any sample of them.

    The columns are matches of 1- to 4-grams, their numbers in the translation, and the lengths of
    translation and reference.

    Args:
        translations: one for each reference.
        references: one for each translation.

    Raises:
        LabError: sacrebleu is not installed.
    """
    bleu = _sacrebleu()[0](effective_order=True)
    rows = []
    for translation, reference in zip(translations, references, strict=True):
        found = bleu.sentence_score(translation, [reference])
        rows.append([*found.counts, *found.totals, found.sys_len, found.ref_len])
    return torch.tensor(rows)


def bleu_of(statistics: Tensor) -> float:
    """Return BLEU, in percent, of sums of rows of `sentence_statistics`, `(10,)`.

    Raises:
        LabError: sacrebleu is not installed.
    """
    counts = statistics.tolist()
    found = _sacrebleu()[0].compute_bleu(
        counts[:4], counts[4:8], counts[8], counts[9], smooth_method="exp"
    )
    return float(found.score)


def score_tokens(
    model: Transformer,
    pairs: EncodedPairs,
    *,
    batch_tokens: int = MEASURED_TOKENS,
    temperature: float = 1.0,
) -> TokenScores:
    """Return NLL and calibration of the model's next-token predictions, as a record has them.

    Args:
        model: in eval mode.
        pairs: with references as targets.
        batch_tokens: see `batches`.
        temperature: divides the logits.

    Raises:
        ValueError: the model is in training mode, or the temperature is not positive.
    """
    found = predict_tokens(model, pairs, batch_tokens=batch_tokens, temperature=temperature)
    metrics = found.metrics(resamples=0, seed=0)
    return TokenScores(
        tokens=len(found.nll), **{name: estimate.value for name, estimate in metrics.items()}
    )


def fit_temperature(
    model: Transformer, pairs: EncodedPairs, *, batch_tokens: int = MEASURED_TOKENS
) -> TemperatureScaling:
    """Return the temperature of least NLL on validation pairs.

    Holds their logits, tokens x vocabulary in float32: 0.5 GB for 16,000 tokens of 8,000.

    Args:
        model: in eval mode.
        pairs: with references as targets.
        batch_tokens: see `batches`.

    Raises:
        ValueError: the model is in training mode.
    """
    found = token_logits(model, pairs, batch_tokens=batch_tokens)
    _, logits, labels = zip(*found, strict=True)
    return TemperatureScaling().fit(torch.cat(logits), torch.cat(labels))


def _sacrebleu() -> tuple[Any, Any]:
    """The classes of BLEU and chrF."""
    try:
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
    except ImportError as error:
        raise LabError(
            "BLEU and chrF need sacrebleu; pip install 'softtargets[translation]'"
        ) from error
    return BLEU, CHRF
