"""Translation runs, as the laboratory computes them."""

from collections.abc import Callable
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

    def perform(
        self, spec: TranslationSpec, data: Corpus, root: Path, on_epoch: Callable[[int], None]
    ) -> None:
        folder = StoredRun(root, spec.run_id, TranslationRecord)
        train(Translation(spec, data), folder, on_epoch)

    def check_checkpoint(self, spec: TranslationSpec, data: Corpus, folder: StoredRun[Any]) -> None:
        if folder.checkpoint() is not None:
            restored(Translation(spec, data), folder)


KIND = TranslationKind()
