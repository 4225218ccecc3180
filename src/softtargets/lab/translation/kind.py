"""Translation runs, as the laboratory computes and compares them."""

import math
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from softtargets.lab import seeds
from softtargets.lab.records import StoredRun
from softtargets.lab.summary import METRICS, Metric
from softtargets.lab.task_kind import AbstractTaskKind, Reference, TaskData
from softtargets.lab.training_loop import restored, train
from softtargets.lab.translation.baselines import copied, unigram_nll, unigrams
from softtargets.lab.translation.batches import encoded
from softtargets.lab.translation.corpus import Corpus, Pairs
from softtargets.lab.translation.methods import BASELINE, DEFAULT, METHODS
from softtargets.lab.translation.record import TranslationRecord
from softtargets.lab.translation.score import score_text
from softtargets.lab.translation.source import load
from softtargets.lab.translation.spec import TranslationSpec
from softtargets.lab.translation.training import Translation
from softtargets.lab.translation.vocabulary import END, Vocabulary

_SCALED = (
    "negative_log_likelihood",
    "expected_calibration_error",
    "expected_calibration_error_debiased",
)
_OF_TOKENS = ("accuracy", *_SCALED)
CHRF = Metric(key="chrf", title="chrF", higher_is_better=True, digits=2)


class TranslationKind(AbstractTaskKind):
    """Encoder-decoders on parallel text."""

    spec = TranslationSpec
    record = TranslationRecord
    methods = METHODS
    baseline = BASELINE
    default = DEFAULT

    def load(self, source: str) -> Corpus:
        return load(source)

    @property
    def missing(self) -> str:
        if all(find_spec(name) for name in ("tokenizers", "sacrebleu")):
            return ""
        return "translation needs tokenizers and sacrebleu; pip install 'softtargets[translation]'"

    def steps(self, spec: TranslationSpec, data: Corpus) -> int:
        # At least: how many subwords there are is known when the vocabulary is learned.
        words = sum(len(sentence.split()) + 1 for sentence in data.train.target)
        return spec.epochs * math.ceil(words / spec.batch_tokens)

    def perform(
        self, spec: TranslationSpec, data: Corpus, root: Path, on_epoch: Callable[[int], None]
    ) -> None:
        folder = StoredRun(root, spec.run_id, TranslationRecord)
        train(Translation(spec, data), folder, on_epoch)

    def check_checkpoint(self, spec: TranslationSpec, data: Corpus, folder: StoredRun[Any]) -> None:
        if folder.checkpoint() is not None:
            restored(Translation(spec, data), folder)

    def metrics(self, spec: TranslationSpec) -> tuple[Metric, ...]:
        ends = dict.fromkeys((max(spec.beams), min(spec.beams)))
        return (
            *(bleu(width) for width in ends),
            CHRF,
            *(metric for key in _OF_TOKENS for metric in METRICS if metric.key == key),
        )

    def values(self, record: TranslationRecord, *, scaled: bool) -> dict[str, float]:
        if scaled:
            return {key: record.scaled[key].value for key in _SCALED}
        return {
            **{f"bleu_{each.width}": each.bleu for each in record.searches},
            "chrf": max(record.searches, key=lambda each: each.width).chrf,
            **{key: record.metrics[key].value for key in _OF_TOKENS},
        }

    def describe(self, data: Corpus) -> TaskData:
        source, target = data.languages
        parts = (
            (data.train, "to train on"),
            (data.validation, "for validation"),
            (data.test, "for testing"),
        )
        counts = ", ".join(f"{len(pairs):,} {words}" for pairs, words in parts)
        source_words, target_words = (
            sum(len(sentence.split()) for sentence in side)
            for side in (data.train.source, data.train.target)
        )
        return TaskData(
            name=f"{data.name}, {source} to {target}",
            digest=data.digest,
            test=len(data.test),
            facts=[
                ("Sentences", f"{counts}; none was left out or cut."),
                (
                    "Words to train on",
                    f"{source_words:,} in {source}, {target_words:,} in {target}.",
                ),
            ],
        )

    def references(self, data: Corpus, spec: TranslationSpec) -> list[Reference]:
        vocabulary = Vocabulary.learn([*data.train.source, *data.train.target], spec.vocabulary)
        train, test = (encoded(pairs, vocabulary).target for pairs in (data.train, data.test))
        drawn = unigrams(data.train, data.test.source, seeds.generator("unigrams", 0))
        nll = unigram_nll(train, test, END, vocabulary.size)
        return [
            Reference(
                title="copying",
                summary="The source sentence as its own translation.",
                values=_scores(copied(data.test.source), data.test, spec.beams),
            ),
            Reference(
                title="unigrams",
                summary="Words drawn as often as they occur in training translations, and the NLL "
                "of tokens at their own frequencies.",
                values=_scores(drawn, data.test, spec.beams) | {"negative_log_likelihood": nll},
            ),
        ]


def bleu(width: int) -> Metric:
    """Return the metric of translations by a beam of some width."""
    return Metric(key=f"bleu_{width}", title=f"BLEU beam {width}", higher_is_better=True, digits=2)


def _scores(sentences: list[str], test: Pairs, beams: Sequence[int]) -> dict[str, float]:
    scores = score_text(sentences, test.target)
    return {f"bleu_{width}": scores.bleu for width in beams} | {"chrf": scores.chrf}


KIND = TranslationKind()
