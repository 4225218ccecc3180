"""A translation run: training, validation, and what is measured at its end."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from softtargets.lab import records, seeds
from softtargets.lab.errors import LabError
from softtargets.lab.finish import peak_memory
from softtargets.lab.models.seeding import seeded
from softtargets.lab.training_loop import AbstractTraining, Row, learning_rate
from softtargets.lab.translation.batches import (
    MEASURED_TOKENS,
    EncodedPairs,
    batches,
    encoded,
    padded,
)
from softtargets.lab.translation.beam import LengthPenalty
from softtargets.lab.translation.corpus import Corpus, Pairs
from softtargets.lab.translation.methods import criterion
from softtargets.lab.translation.model import Size, Transformer
from softtargets.lab.translation.predictions import predict_tokens
from softtargets.lab.translation.record import Search, SentenceExample, TranslationRecord
from softtargets.lab.translation.score import fit_temperature, score_text, sentence_statistics
from softtargets.lab.translation.spec import TranslationSpec
from softtargets.lab.translation.translate import Translations, translate
from softtargets.lab.translation.vocabulary import END, START, Vocabulary

EXAMPLES = 8
BETAS = (0.9, 0.98)


@dataclass(frozen=True, slots=True)
class _Searched:
    """A search and its translations."""

    search: Search
    made: Translations
    signatures: list[str]


class Translation(AbstractTraining):
    """The model, data and loss of a run.

    Args:
        spec: of the run.
        data: its corpus.

    Raises:
        LabError: the corpus holds too little for the vocabulary, a sentence is longer than a
            batch, or the extra is not installed.
    """

    def __init__(self, spec: TranslationSpec, data: Corpus) -> None:
        self.spec: TranslationSpec = spec
        self.data = data
        self.vocabulary = Vocabulary.learn(
            [*data.train.source, *data.train.target], spec.vocabulary
        )
        self.train = self._encoded("train", data.train, spec.batch_tokens)
        self.validation = self._encoded("validation", data.validation, MEASURED_TOKENS)
        self.test = self._encoded("test", data.test, MEASURED_TOKENS)
        size = Size(
            vocabulary=spec.vocabulary,
            width=spec.width,
            heads=spec.heads,
            layers=spec.layers,
            feed_forward=spec.feed_forward,
            dropout=spec.dropout,
        )
        self.model: Transformer = seeded(lambda: Transformer(size), spec.seed)
        self.criterion = criterion(spec.method, spec.parameters, self.train, spec.vocabulary)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(),
            lr=spec.learning_rate,
            betas=BETAS,
            weight_decay=spec.weight_decay,
        )

    def epoch(self, number: int) -> float:
        order = seeds.generator("order", self.spec.seed, number)
        steps = list(batches(self.train, self.spec.batch_tokens, order))
        total, tokens = 0.0, 0
        for step, batch in enumerate(steps):
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(self.spec, number + step / len(steps))
            hidden = self.model.hidden(batch.source, batch.inputs)
            loss = self.criterion(hidden, self.model.embedding.weight, batch.labels)
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), self.spec.clip)
            self.optimizer.step()
            counted = sum(len(self.train.target[i]) + 1 for i in batch.index.tolist())
            total, tokens = total + loss.item() * counted, tokens + counted
        return total / tokens

    def validate(self) -> Row:
        found = predict_tokens(self.model, self.validation)
        return {
            "validation_nll": float(found.nll.double().mean()),
            "validation_accuracy": float(found.right.double().mean()),
        }

    def finish(
        self, history: list[Row], seconds: float, model_hash: str
    ) -> tuple[TranslationRecord, bytes]:
        spec, test = self.spec, self.test
        scaling = fit_temperature(self.model, self.validation)
        plain = predict_tokens(self.model, test)
        scaled = predict_tokens(self.model, test, temperature=scaling.temperature)
        found = {width: self._searched(width) for width in sorted(spec.beams)}
        texts: dict[str, Any] = {}
        for width, each in found.items():
            statistics = sentence_statistics(each.made.sentences, self.data.test.target)
            texts[f"bleu_statistics_{width}"] = statistics.int().numpy()
        vocabulary = torch.frombuffer(bytearray(self.vocabulary.content()), dtype=torch.uint8)
        arrays = records.pack_arrays(
            **plain.arrays("token_"),
            **scaled.arrays("scaled_token_"),
            **texts,
            vocabulary=vocabulary.numpy(),
        )
        widest = found[max(found)]
        return TranslationRecord(
            format=records.FORMAT,
            spec=spec,
            environment=records.environment(),
            seconds=seconds,
            history=history,
            metrics=plain.metrics(resamples=spec.resamples, seed=spec.seed),
            scaled=scaled.metrics(resamples=spec.resamples, seed=spec.seed),
            temperature=scaling.temperature,
            temperature_at_bound=scaling.at_bound,
            searches=[each.search for each in found.values()],
            signatures=widest.signatures,
            examples=self._examples(widest.made),
            parameters=sum(each.numel() for each in self.model.parameters()),
            peak_memory=peak_memory(),
            arrays_sha256=records.sha256(arrays),
            model_sha256=model_hash,
        ), arrays

    def _encoded(self, part: str, pairs: Pairs, most: int) -> EncodedPairs:
        """The tokens of a part, all of whose sentences fit into a batch."""
        found = encoded(pairs, self.vocabulary)
        more = "allow more by --batch-tokens, or " if part == "train" else ""
        for language, sentences in zip(
            self.data.languages, (found.source, found.target), strict=True
        ):
            for number, tokens in enumerate(sentences, start=1):
                if len(tokens) >= most:
                    raise LabError(
                        f"{self.data.name}: line {number} of its {part} part in {language} has "
                        f"{len(tokens) + 1:,} tokens, its end counted, and a batch holds {most:,}; "
                        f"{more}split the line, and its translation, or remove both"
                    )
        return found

    def _searched(self, width: int) -> _Searched:
        penalty = LengthPenalty(self.spec.penalty)
        made = translate(
            self.model, self.vocabulary, self.data.test.source, width=width, penalty=penalty
        )
        scores = score_text(made.sentences, self.data.test.target)
        words = [len(sentence.split()) for sentence in made.sentences]
        search = Search(
            width=width,
            bleu=scores.bleu,
            chrf=scores.chrf,
            length=sum(words) / len(words),
            forced=made.forced,
        )
        return _Searched(search, made, [scores.bleu_signature, scores.chrf_signature])

    def _examples(self, found: Translations) -> list[SentenceExample]:
        test = self.data.test
        chosen = [len(test) * number // EXAMPLES for number in range(min(EXAMPLES, len(test)))]
        made = [found.tokens[i] for i in chosen]
        sources = self.vocabulary.encode([test.source[i] for i in chosen])
        confidences = said(self.model, EncodedPairs(source=sources, target=made))
        return [
            SentenceExample(
                index=index,
                source=test.source[index],
                reference=test.target[index],
                translation=found.sentences[index],
                tokens=[*self.vocabulary.pieces(tokens), "</s>"],
                confidences=values,
            )
            for index, tokens, values in zip(chosen, made, confidences, strict=True)
        ]


@torch.no_grad()
def said(model: Transformer, pairs: EncodedPairs) -> list[list[float]]:
    """Return the probability of each target's tokens and its end, given those before.

    Args:
        model: in eval mode.
        pairs: sources and what is said of them.
    """
    found = []
    for source, target in zip(pairs.source, pairs.target, strict=True):
        logits: Tensor = model(padded([[*source, END]]), padded([[START, *target]]))[0]
        labels = torch.tensor([*target, END])
        found.append(logits.softmax(-1).gather(-1, labels.unsqueeze(-1)).squeeze(-1).tolist())
    return found
