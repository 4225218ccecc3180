"""What a model says of each next token of a reference, sentence by sentence."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from softtargets.lab.records import Estimate
from softtargets.lab.resampling import calibration_errors, ratio
from softtargets.lab.translation.batches import MEASURED_TOKENS, EncodedPairs, batches
from softtargets.lab.translation.model import Transformer
from softtargets.lab.translation.vocabulary import PAD

_ELSEWHERE = -100


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenPredictions:
    """Next-token predictions given the reference, end tokens included, padding not.

    Attributes:
        sentence: `(M,)` int64, which sentence a token is of; they come in order.
        nll: `(M,)` float32, or float64 of a model in it: minus the natural logarithm of its
            probability.
        confidence: `(M,)` of the same type, the largest probability.
        right: `(M,)` bool, whether that is its.
    """

    sentence: Tensor
    nll: Tensor
    confidence: Tensor
    right: Tensor

    def arrays(self, prefix: str) -> dict[str, Any]:
        """Return them as arrays by name, for a record."""
        names = ("sentence", "nll", "confidence", "right")
        return {f"{prefix}{name}": getattr(self, name).numpy() for name in names}

    def metrics(self, *, resamples: int, seed: int) -> dict[str, Estimate]:
        """Return NLL, accuracy and calibration errors, intervals over resampled sentences.

        Args:
            resamples: draws of the sentences; 0 for no intervals.
            seed: of the draws.
        """
        confidence, right = self._by_sentence()
        return {
            "negative_log_likelihood": self._mean(self.nll, resamples, seed),
            "accuracy": self._mean(self.right, resamples, seed),
            **calibration_errors(confidence, right, resamples=resamples, seed=seed),
        }

    def _by_sentence(self) -> tuple[Tensor, Tensor]:
        """`(S, T)` confidences and whether they are right, -100 beyond a sentence's end."""
        lengths = torch.bincount(self.sentence).tolist()
        confidence = pad_sequence(list(torch.split(self.confidence, lengths)), batch_first=True)
        right = pad_sequence(
            list(torch.split(self.right.long(), lengths)),
            batch_first=True,
            padding_value=_ELSEWHERE,
        )
        return confidence, right

    def _mean(self, values: Tensor, resamples: int, seed: int) -> Estimate:
        """The mean over tokens; both sums of the ratio are of resampled sentences."""
        counts = torch.bincount(self.sentence).double()
        sums = torch.zeros_like(counts).index_add_(0, self.sentence, values.double())
        both = torch.stack([sums, counts], -1)
        return ratio(both, "sentences", resamples=resamples, seed=seed)


def predict_tokens(
    model: Transformer,
    pairs: EncodedPairs,
    *,
    batch_tokens: int = MEASURED_TOKENS,
    temperature: float = 1.0,
) -> TokenPredictions:
    """Return what the model says of each token of the references.

    Args:
        model: in eval mode.
        pairs: with references as targets.
        batch_tokens: see `batches`.
        temperature: divides the logits.

    Raises:
        ValueError: the model is in training mode, or the temperature is not positive.
    """
    if not 0 < temperature < math.inf:
        raise ValueError(f"`temperature` must be finite and > 0, got {temperature}")
    parts = []
    for sentence, logits, own in token_logits(model, pairs, batch_tokens=batch_tokens):
        scaled = logits / temperature
        logs = scaled.to(torch.promote_types(scaled.dtype, torch.float32)).log_softmax(-1)
        best, predicted = logs.max(-1)
        nll = -logs.gather(-1, own.unsqueeze(-1)).squeeze(-1)
        parts.append((sentence, nll.cpu(), best.exp().cpu(), (predicted == own).cpu()))
    sentence, nll, confidence, right = (torch.cat(each) for each in zip(*parts, strict=True))
    order = sentence.argsort(stable=True)
    return TokenPredictions(
        sentence=sentence[order],
        nll=nll[order],
        confidence=confidence[order],
        right=right[order],
    )


@torch.no_grad()
def token_logits(
    model: Transformer, pairs: EncodedPairs, *, batch_tokens: int = MEASURED_TOKENS
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield, by batch, sentences `(N,)`, logits `(N, V)` and labels `(N,)` of tokens.

    Args:
        model: in eval mode.
        pairs: with references as targets.
        batch_tokens: see `batches`.

    Raises:
        ValueError: the model is in training mode.
    """
    if model.training:
        raise ValueError("`model` must be in eval mode to be scored; call `.eval()` first")
    device = model.embedding.weight.device
    for batch in batches(pairs, batch_tokens):
        labels = batch.labels.to(device)
        counted = labels != PAD
        hidden = model.hidden(batch.source.to(device), batch.inputs.to(device))
        sentence = batch.index.unsqueeze(-1).expand(labels.shape)[counted.cpu()]
        yield sentence, model.logits(hidden[counted]), labels[counted]
