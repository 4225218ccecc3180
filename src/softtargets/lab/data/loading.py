"""From a name or a path to a data set."""

from contextlib import suppress
from pathlib import Path

import numpy as np
from msgspec import UNSET

from softtargets.lab.data.arrays import ARRAYS, npz_contents
from softtargets.lab.data.assembly import Contents, Part, assemble, stratified
from softtargets.lab.data.cifar import cifar_contents, whole_cifar
from softtargets.lab.data.dataset import DataSet
from softtargets.lab.data.encoding import encoded
from softtargets.lab.data.folder import SIZE, folder_contents
from softtargets.lab.data.idx import mnist_contents, whole_mnist
from softtargets.lab.data.noisy_labels import with_noisy
from softtargets.lab.data.parquet import parquet_contents
from softtargets.lab.data.source import DOWNLOADED, Source
from softtargets.lab.data.subset import reduced
from softtargets.lab.data.text import text_contents
from softtargets.lab.data.torchvision_files import torchvision_parts
from softtargets.lab.data.two_gaussians import two_gaussians_contents
from softtargets.lab.errors import LabError


def load(source: Source | str, noisy_labels: str | None = None) -> DataSet:
    """Return the data set that a source names, held in memory.

    Args:
        source: `"digits"` (1,797 handwritten digits of 8 x 8, bundled with scikit-learn), the
            path of an `.npz` or `.npz.xz` file with the arrays `x_train` (N, ...), `y_train` (N,),
            `x_test` and `y_test`, of a `.parquet` file, or another `Source`.
        noisy_labels: path of an `.npy` file with labels to train on instead of `y_train`, one for
            each (of digits, for each of the 1,797); those of validation samples are not read. Or
            of an `.npz` file that holds them alone, or as `y_train`; `PATH:NAME` names another of
            its arrays. A path that leads nowhere is tried from the folder of the data.

    Raises:
        LabError: no such data set or file, or a file that does not hold what it should; noisy
            labels that do not fit the data.

    Example:
        >>> data = load("digits?samples=100")
        >>> len(data.train), len(data.validation), len(data.test), data.shape
        (100, 300, 599, (8, 8))
    """
    if isinstance(source, str):
        source = Source.parse(source)
    contents = reduced(_contents(source), source)
    data = encoded(contents, source) if source.name == "text" else assemble(contents)
    if source.noisy_labels is not UNSET:
        if noisy_labels is not None:
            raise LabError(
                f"noisy labels were given twice, {source.noisy_labels} with the data and "
                f"{noisy_labels}; leave one of them out"
            )
        noisy_labels = source.noisy_labels
    if noisy_labels is None:
        return data
    return with_noisy(data, _beside(source, noisy_labels))


def _contents(source: Source) -> Contents:
    match source.name:
        case "digits":
            return _digits()
        case "two-gaussians":
            return two_gaussians_contents(source.seed)
        case "arrays":
            return _array_contents(source)
        case "folder":
            size = SIZE if source.size is UNSET else source.size
            return folder_contents(source.location, size, source.seed)
        case "text":
            return text_contents(source)
        case _:
            return _published_contents(source)


def _digits() -> Contents:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8)
    places = np.arange(len(labels))
    rest, test = stratified(places, labels, 1 / 3)
    train, validation = stratified(rest, labels[rest], 1 / 4)
    whole = Part(inputs=images, labels=labels)
    return Contents(
        name="digits",
        train=whole.select(train),
        validation=whole.select(validation),
        test=whole.select(test),
        positions=train,
        total=len(labels),
    )


def _array_contents(source: Source) -> Contents:
    path, found = source.location, False
    with suppress(OSError):  # as a name that is too long
        found = path.is_file()
    if not found:
        missing = ", nor a file of that name" if path.suffix in (".npz", ".parquet") else ""
        raise LabError(
            f"no data set {str(path)!r}{missing}: give one of digits, or the path of an "
            f".npz file with the arrays {', '.join(ARRAYS)}, or of a .parquet file, or "
            f"two-gaussians, or KIND:PATH with KIND one of {', '.join(DOWNLOADED)}, folder, text, "
            "camvid, segmentation, translation"
        )
    return parquet_contents(path) if path.suffix == ".parquet" else npz_contents(path)


def _published_contents(source: Source) -> Contents:
    """MNIST and CIFAR: files that are there first, then torchvision's."""
    kind, folder = source.name, source.location
    cifar = kind.startswith("cifar")
    with suppress(OSError):
        found = cifar_contents(kind, folder) if cifar else mnist_contents(kind, folder)
        if found is not None:
            return found
    unpacked = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}.get(kind)
    there = unpacked is not None and (folder / unpacked).is_dir()
    if not source.download and not there:
        raise LabError(
            f"{kind}: {folder} {'holds none of its files' if folder.is_dir() else 'is missing'}; "
            f"put the official {'binary' if cifar else 'idx'} files there, or add ?download=yes "
            "to let torchvision fetch them"
        )
    train, test = torchvision_parts(kind, folder, download=source.download)
    return whole_cifar(kind, train, test) if cifar else whole_mnist(kind, train, test)


def _beside(source: Source, noisy_labels: str) -> str:
    """Return the path of noisy labels, beside the data if it is not there as it stands."""
    if source.path is UNSET:
        return noisy_labels
    place = source.location if source.location.is_dir() else source.location.parent
    for path in (noisy_labels, noisy_labels.rpartition(":")[0]):
        if path and Path(path).is_file():
            return noisy_labels
        if path and (place / path).is_file():
            return str(place / noisy_labels)
    return noisy_labels
