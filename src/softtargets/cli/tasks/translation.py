"""`softtargets compare` on parallel text."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from msgspec import structs

from softtargets.cli.parameters import Count, Names, words
from softtargets.cli.tasks.running import compare_task
from softtargets.lab.errors import LabError
from softtargets.lab.translation.methods import DEFAULT, METHODS
from softtargets.lab.translation.spec import TranslationSpec

_METHODS = f"names separated by commas or spaces, or all: {', '.join(METHODS)}."
_USUAL: dict[str, Any] = {each.name: each.default for each in structs.fields(TranslationSpec)}


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How every model of a comparison is trained and asked for translations.

    Attributes:
        learning_rate: of AdamW, at its highest; it falls along a cosine.
        warm_up: share of all steps in which the rate rises from 0 first.
        weight_decay: decoupled.
        clip: largest norm of the gradient.
        batch_tokens: the most positions of a batch on either side.
        vocabulary: number of subwords, learned from the training part.
        width: of embeddings and hidden states.
        heads: of each attention.
        layers: of the encoder, and of the decoder.
        feed_forward: width inside each feed-forward block.
        dropout: of embeddings and of each block's output.
        beams: widths of the searches that test sentences are translated with.
        penalty: exponent of the length penalty.
    """

    learning_rate: float = _USUAL["learning_rate"]
    warm_up: float = _USUAL["warm_up"]
    weight_decay: float = _USUAL["weight_decay"]
    clip: float = _USUAL["clip"]
    batch_tokens: Count = _USUAL["batch_tokens"]
    vocabulary: Count = _USUAL["vocabulary"]
    width: Count = _USUAL["width"]
    heads: Count = _USUAL["heads"]
    layers: Count = _USUAL["layers"]
    feed_forward: Count = _USUAL["feed_forward"]
    dropout: float = _USUAL["dropout"]
    beams: Names = tuple(map(str, _USUAL["beams"]))
    penalty: float = _USUAL["penalty"]


def compare(
    *,
    data: str,
    methods: Annotated[Names, Parameter(help=_METHODS)] = DEFAULT,
    seeds: Count = 2,
    epochs: Count = 8,
    out: Annotated[Path, Parameter(name="--out")] = Path("runs/compare"),
    on: str = "inline",
    threads: Count = 1,
    training: Options | None = None,
) -> int:
    """Train the same translation model with several kinds of targets and show what each did.

    The model is a short Transformer, trained from nothing on the corpus alone. Prints BLEU by beam
    width, chrF, and of next tokens NLL, accuracy and calibration errors before and after
    temperature scaling, and writes OUT/report.html and OUT/summary.json. Runs that are already in
    OUT are not computed again; an interrupted comparison goes on where it stopped.

    Args:
        data: translation:FOLDER with train.LANGUAGE, val.LANGUAGE and test*.LANGUAGE, each with
            .gz or not; options follow as "translation:FOLDER?source=en&target=de&test=NAME", see
            docs/translation.md.
        methods: names in `softtargets.lab.translation.methods.METHODS`, or all.
        seeds: seeds per method, counted from 0.
        epochs: passes over the training data.
        out: folder for the runs and the report.
        on: where to compute: inline, processes:N for N processes of this machine, ray, or
            ray://HOST:PORT for a Ray cluster.
        threads: threads torch computes a run with; the same number gives the same results.
        training: how the models are trained.
    """
    options = asdict(training or Options())
    compare_task(
        "translation",
        data=data,
        methods=methods,
        seeds=seeds,
        epochs=epochs,
        options=options | {"beams": _widths(options["beams"])},
        out=out,
        on=on,
        threads=threads,
    )
    return 0


def _widths(texts: tuple[str, ...]) -> tuple[int, ...]:
    given = words(texts)
    if not given or not all(each.isdecimal() for each in given):
        raise LabError(f"--beams must be whole numbers, as 1,4, got {' '.join(texts) or 'none'}")
    return tuple(int(each) for each in given)
