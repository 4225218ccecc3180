"""Translation runs, as the laboratory computes them."""

import math
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from softtargets.lab.kinds import AbstractKind
from softtargets.lab.records import StoredRun
from softtargets.lab.training_loop import restored, train
from softtargets.lab.translation.corpus import Corpus
from softtargets.lab.translation.record import TranslationRecord
from softtargets.lab.translation.source import load
from softtargets.lab.translation.spec import TranslationSpec
from softtargets.lab.translation.training import Translation


class TranslationKind(AbstractKind):
    """Encoder-decoders on parallel text."""

    spec = TranslationSpec
    record = TranslationRecord

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


KIND = TranslationKind()
