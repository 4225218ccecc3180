"""What a translation run leaves."""

import msgspec

from softtargets.lab.task_record import TaskRecord
from softtargets.lab.translation.spec import TranslationSpec


class Search(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Test sentences translated by beam search.

    Attributes:
        width: of the beam.
        bleu: of the whole, in percent.
        chrf: the same.
        length: mean number of words of a translation.
        forced: translations that ended at the limit and not of themselves.
    """

    width: int
    bleu: float
    chrf: float
    length: float
    forced: int


class SentenceExample(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A test sentence and its translation by the widest beam.

    Attributes:
        index: number of the sentence.
        source: to translate.
        reference: a person's translation.
        translation: the model's.
        tokens: of it, as text, its end "</s>" the last.
        confidences: the model's probability of each token, given those before it.
    """

    index: int
    source: str
    reference: str
    translation: str
    tokens: list[str]
    confidences: list[float]


class TranslationRecord(TaskRecord, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A finished translation run.

    Attributes:
        spec: what was run.
        searches: by width.
        signatures: sacrebleu's, of BLEU and chrF.
        examples: a few test sentences, the same for every run on a corpus.
        parameters: how many the model has.
    """

    spec: TranslationSpec
    searches: list[Search]
    signatures: list[str]
    examples: list[SentenceExample]
    parameters: int
