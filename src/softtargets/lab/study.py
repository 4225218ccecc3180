"""What a page says of a comparison beyond its records, kept beside them in `study.json`.

Settings, run ids and what there is to know of the data set: with it, report and summary are made
again where neither the data nor this version's plan is at hand.
"""

from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from softtargets.lab.data import DataSet
from softtargets.lab.errors import LabError
from softtargets.lab.measuring import example_indices
from softtargets.lab.output import STUDY
from softtargets.lab.records import sha256, write_atomically

FORMAT = 1

MOST_TEXTS = 1000
_TALLEST = 512
_LONGEST = 600


class Picture(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sample as an image, `(H, W)` or `(H, W, 3)`, from its lowest value, 0, to 255."""

    shape: tuple[int, ...]
    pixels: bytes

    def array(self) -> NDArray[np.float64]:
        """Return it in [0, 1]."""
        return np.frombuffer(self.pixels, np.uint8).reshape(self.shape) / 255


class TextSummary(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a page shows of a data set of texts.

    Attributes:
        note: how the texts were read, in sentences.
        class_names: of classes 0 to K - 1.
        train: texts of the training samples that runs record targets of, by their numbers.
        test: texts of test samples, all or some that are evenly spread, by their numbers.
    """

    note: str
    class_names: tuple[str, ...]
    train: dict[int, str]
    test: dict[int, str]


class DataSummary(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What there is to know of a data set without having it.

    Attributes:
        name: what to call it in a report.
        digest: hash of contents and split.
        num_classes: K.
        shape: of one sample.
        num_train: samples to train on.
        num_validation: samples for validation.
        num_test: samples for testing.
        wrong_shares: which share of the training labels is wrong, by seed; empty where all are
            right.
        pictures: of the training samples that runs record targets of, by their numbers; none
            where they are no images.
        texts: of a data set of texts.
    """

    name: str
    digest: str
    num_classes: int
    shape: tuple[int, ...]
    num_train: int
    num_validation: int
    num_test: int
    wrong_shares: tuple[float, ...]
    pictures: dict[int, Picture]
    texts: TextSummary | msgspec.UnsetType = msgspec.UNSET


class Study(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A comparison as it was asked for.

    Attributes:
        settings: fields of `softtargets.lab.compare.Settings`.
        data: its data set.
        runs: for each method its run ids, by seed.
        format: version of this structure.
        content_sha256: hash of all of the above.
    """

    settings: dict[str, Any]
    data: DataSummary
    runs: dict[str, list[str]]
    format: int = FORMAT
    content_sha256: str = ""


def describe(data: DataSet, wrong_shares: tuple[float, ...]) -> DataSummary:
    """Return the summary of a data set.

    Args:
        data: the data set.
        wrong_shares: see `DataSummary`.
    """
    indices = example_indices(data).tolist()
    found = {} if data.texts else {index: picture(data, index) for index in indices}
    return DataSummary(
        name=data.name,
        digest=data.digest,
        num_classes=data.num_classes,
        shape=data.shape,
        num_train=len(data.train),
        num_validation=len(data.validation),
        num_test=len(data.test),
        wrong_shares=wrong_shares,
        pictures={index: each for index, each in found.items() if each is not None},
        texts=_texts(data, indices),
    )


def _texts(data: DataSet, indices: list[int]) -> TextSummary | msgspec.UnsetType:
    if data.texts is None:
        return msgspec.UNSET
    assert data.class_names is not None
    total = len(data.texts.test)
    shown = min(total, MOST_TEXTS)
    tested = [place * total // shown for place in range(shown)]
    return TextSummary(
        note=data.texts.note,
        class_names=data.class_names,
        train={index: shortened(data.texts.train[index]) for index in indices},
        test={index: shortened(data.texts.test[index]) for index in tested},
    )


def shortened(text: str) -> str:
    """Return a text as a page shows it: of a long one the beginning, and how much is left out.

    Example:
        >>> shortened("How far is it ?"), shortened(1000 * "a")[-23:]
        ('How far is it ?', '… (400 characters more)')
    """
    left = len(text) - _LONGEST
    return text if left <= 0 else f"{text[:_LONGEST]}… ({left:,} characters more)"


def picture(data: DataSet, index: int) -> Picture | None:
    """Return a training sample as grey or colour image; None if it is neither.

    Args:
        data: the data set.
        index: number of the sample in the training part.
    """
    sample = data.original(index).numpy()
    if sample.ndim == 3 and 1 in (sample.shape[0], sample.shape[-1]):
        sample = sample.squeeze(0 if sample.shape[0] == 1 else -1)
    if sample.ndim == 3 and sample.shape[-1] != 3 and sample.shape[0] == 3:
        sample = np.moveaxis(sample, 0, -1)
    if not (sample.ndim == 2 or (sample.ndim == 3 and sample.shape[-1] == 3)):
        return None
    if min(sample.shape[:2]) < 2 or max(sample.shape[:2]) > _TALLEST:
        return None
    low, high = sample.min(), sample.max()
    pixels = np.round((sample - low) / ((high - low) or 1.0) * 255).astype(np.uint8)
    return Picture(shape=pixels.shape, pixels=pixels.tobytes())


class AnyStudy(Protocol):
    """What is common to the studies of all kinds; each is a frozen `msgspec.Struct`."""

    @property
    def format(self) -> int:
        """Version of the structure."""

    @property
    def content_sha256(self) -> str:
        """Hash of all the rest."""


Kept = TypeVar("Kept", bound=AnyStudy)
Value = TypeVar("Value")


class _Kind(msgspec.Struct, frozen=True):
    """What kind of runs a study is of; one of classifiers does not say."""

    kind: str = "classification"


def write_study(output: Path, study: AnyStudy) -> None:
    """Write the study, sealed by a hash, all of it or nothing.

    Args:
        output: the folder of the comparison.
        study: what was asked for.

    Raises:
        LabError: it cannot be written.
    """
    content = msgspec.json.encode(_sealed(study))
    write_atomically(output / STUDY, msgspec.json.format(content, indent=1) + b"\n")


def read_study(output: Path) -> Study:
    """Return the study of classifiers that was last started in a folder.

    Args:
        output: the folder of the comparison.

    Raises:
        LabError: there is none, or it is not as it was written.
    """
    return read_study_as(output, Study)


def read_study_as(output: Path, kind: type[Kept]) -> Kept:
    """Return the study that was last started in a folder, as what it was written as.

    Args:
        output: the folder of the comparison.
        kind: its type.

    Raises:
        LabError: there is none, or it is not as it was written.
    """
    study = _decoded(output, kind)
    if study.format != FORMAT:
        raise unusable(output, "it belongs to another version")
    if _sealed(study) != study:
        raise unusable(output, "it is not the file that was written")
    return study


def studied_kind(output: Path) -> str:
    """Return of which kind of runs the study is that was last started in a folder.

    Args:
        output: the folder of the comparison.

    Raises:
        LabError: there is none, or it cannot be read.
    """
    return _decoded(output, _Kind).kind


def _decoded(output: Path, kind: type[Value]) -> Value:
    try:
        content = (output / STUDY).read_bytes()
    except FileNotFoundError as error:
        raise LabError(
            f"{output} holds no comparison, {STUDY} is missing; name the folder that was given as "
            "--out of softtargets compare or claims"
        ) from error
    except OSError as error:
        raise LabError(
            f"cannot read {output / STUDY} ({error.strerror}); name the folder that was given as "
            "--out of softtargets compare, or mend its permissions"
        ) from error
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise unusable(output, str(error)) from error


def unusable(output: Path, why: str) -> LabError:
    """Return the error that says why the study in a folder cannot be used, and the way out.

    Args:
        output: the folder of the comparison.
        why: what is wrong with it.
    """
    return LabError(
        f"{output / STUDY} is corrupt: {' '.join(why.split())}; give the command that started the "
        "comparison again, it writes the file anew and computes no finished run"
    )


def _sealed(study: Kept) -> Kept:
    bare = msgspec.structs.replace(cast(msgspec.Struct, study), content_sha256="")
    sealed = msgspec.structs.replace(bare, content_sha256=sha256(msgspec.json.encode(bare)))
    return cast(Kept, sealed)
