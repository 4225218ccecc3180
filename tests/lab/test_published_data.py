"""MNIST and CIFAR: every form that their files come in, tiny ones and those that are there."""

import gzip
import lzma
import struct
import sys
import types
from typing import ClassVar

import numpy as np
import pytest
import torch

from softtargets.lab.data import cifar, load
from softtargets.lab.errors import LabError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (90, 28, 28)).astype(np.uint8)
LABELS = (np.arange(90) % 10).astype(np.uint8)


def idx(array):
    return struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


def mnist(folder, ending="", mark="-"):
    folder.mkdir(parents=True, exist_ok=True)
    write = gzip.compress if ending else bytes
    for stem, start in (("train", 0), ("t10k", 70)):
        part = slice(start, None if start else 70)
        for what, array in (("images", IMAGES[part]), ("labels", LABELS[part])):
            dimensions = array.ndim
            name = f"{stem}-{what}{mark}idx{dimensions}-ubyte{ending}"
            (folder / name).write_bytes(write(idx(array)))
    return folder


def rebuilt(data):
    """The training part of the source, by position; what validates is left out."""
    return data.train.inputs.numpy(), data.positions.numpy()


@pytest.mark.parametrize(("ending", "mark"), [("", "-"), (".gz", "-"), ("", ".")])
@pytest.mark.parametrize(
    ("kind", "inner"), [("mnist", "MNIST/raw"), ("fashion-mnist", "FashionMNIST/raw")]
)
def test_idx_files(tmp_path, kind, inner, ending, mark):
    mnist(tmp_path / inner, ending, mark)
    for folder in (tmp_path, tmp_path / inner):
        data = load(f"{kind}:{folder}")
        assert (len(data.train), len(data.validation), len(data.test)) == (60, 10, 20)
        assert data.shape == (1, 28, 28)
        assert data.num_classes == len(data.class_names) == 10
        stored, positions = rebuilt(data)
        assert np.array_equal(stored[:, 0], IMAGES[positions])
        assert np.array_equal(data.train.labels, LABELS[positions])
        assert np.array_equal(data.test.inputs[:, 0], IMAGES[70:])
        assert "(70 of 60,000 training samples)" in data.name
        expected = (IMAGES[70:] - IMAGES[positions].mean()) / IMAGES[positions].std()
        np.testing.assert_allclose(
            data.test.take(slice(None))[:, 0], expected, rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("suffix", [".npz", ".npz.xz"])
def test_an_npz_file_or_the_folder_of_one(tmp_path, suffix):
    path = tmp_path / f"fashion{suffix}"
    parts = {"x_train": IMAGES[:70], "y_train": LABELS[:70], "x_test": IMAGES[70:]}
    with lzma.open(path, "wb") if suffix.endswith("xz") else path.open("wb") as file:
        np.savez(file, **parts, y_test=LABELS[70:])
    first, second = load(f"fashion-mnist:{path}"), load(f"fashion-mnist:{tmp_path}")
    assert first.digest == second.digest != load(str(path)).digest
    assert first.shape == (1, 28, 28)
    np.savez(tmp_path / "b.npz", **parts, y_test=LABELS[70:])
    with pytest.raises(LabError, match=r"holds 2 npz files, b.npz and fashion"):
        load(f"fashion-mnist:{tmp_path}")
    np.savez(tmp_path / "b.npz", x_train=IMAGES[:70] / 255, y_train=LABELS[:70],
             x_test=IMAGES[70:], y_test=LABELS[70:])  # fmt: skip
    with pytest.raises(LabError, match=r"x_train of MNIST must be uint8 .* got float64"):
        load(f"mnist:{tmp_path / 'b.npz'}")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("train-images-idx3-ubyte", lambda b: b[:-1], r"must have 54,896 bytes .* got 54,895"),
        ("train-images-idx3-ubyte", lambda b: b"\0\0\x08\x01" + b[4:], "begin with .* 00000803"),
        ("train-images-idx3-ubyte", lambda b: b"", "of 3 dimensions, got nothing"),
        ("t10k-labels-idx1-ubyte", lambda b: b[:-1] + b"\x0a", "labels must be 0 .. 9, got 10"),
        ("t10k-labels-idx1-ubyte", lambda b: idx(LABELS[:3]), "20 images and .* 3 labels"),
        ("train-labels-idx1-ubyte", lambda b: idx(LABELS[:0]), "must have .* bytes for shape"),
        ("t10k-images-idx3-ubyte", None, "has no t10k-images-idx3-ubyte, with .gz or without"),
    ],
)
def test_idx_files_that_are_damaged(tmp_path, name, change, message):
    path = mnist(tmp_path) / name
    content = path.read_bytes()
    path.unlink()
    if change is not None:
        path.write_bytes(change(content))
    with pytest.raises(LabError, match=message) as error:
        load(f"mnist:{tmp_path}")
    assert str(tmp_path) in str(error.value)


def test_a_compressed_file_that_ends_early(tmp_path):
    path = mnist(tmp_path, ".gz") / "train-images-idx3-ubyte.gz"
    content = path.read_bytes()
    for damaged in (content[:-20], b"not compressed", content[:100]):
        path.write_bytes(damaged)
        with pytest.raises(LabError, match=r"train-images.* is damaged or cannot be read"):
            load(f"mnist:{tmp_path}")


@pytest.fixture
def small_cifar(monkeypatch):
    monkeypatch.setattr(cifar, "TRAIN", 1500)
    monkeypatch.setattr(cifar, "TEST", 300)


def records(count, label_bytes, classes, seed):
    rows = np.random.default_rng(seed).integers(0, 256, (count, label_bytes + 3072))
    rows[:, :label_bytes] = 0
    rows[:, label_bytes - 1] = np.arange(count) % classes
    return rows.astype(np.uint8)


def binary_cifar10(folder, batches=(1, 2, 3, 4, 5)):
    folder.mkdir(parents=True, exist_ok=True)
    written = {number: records(300, 1, 10, number) for number in batches}
    for number, rows in written.items():
        rows.tofile(folder / f"data_batch_{number}.bin")
    records(300, 1, 10, 9).tofile(folder / "test_batch.bin")
    names = [f"kind{number}" for number in range(10)]
    (folder / "batches.meta.txt").write_text("\n".join(names) + "\n\n")
    return written


@pytest.mark.usefixtures("small_cifar")
@pytest.mark.parametrize("batches", [(1, 2, 3, 4, 5), (2, 4)])
def test_cifar10_in_binary(tmp_path, batches):
    written = binary_cifar10(tmp_path / "cifar-10-batches-bin", batches)
    data = load(f"cifar10:{tmp_path}")
    assert data.digest == load(f"cifar10:{tmp_path}/cifar-10-batches-bin").digest
    assert (len(data.train) + len(data.validation), data.total) == (300 * len(batches), 1500)
    assert len(data.validation) == 30 * len(batches)
    assert data.class_names[9] == "kind9"
    assert data.shape == (3, 32, 32)
    part = "" if len(batches) == 5 else " (training files 2, 4 of 5)"
    assert data.name == "CIFAR-10" + part
    for image, label, place in zip(
        data.train.inputs, data.train.labels, data.positions, strict=True
    ):
        row = written[int(place) // 300 + 1][int(place) % 300]
        assert int(label) == row[0]
        assert np.array_equal(image.flatten(), row[1:])


@pytest.mark.usefixtures("small_cifar")
def test_human_labels_belong_to_positions(tmp_path):
    written = binary_cifar10(tmp_path, (1, 3))
    truth = np.zeros(1500, np.uint8)
    for number, rows in written.items():
        truth[(number - 1) * 300 : number * 300] = rows[:, 0]
    noisy = np.random.default_rng(1).integers(0, 10, 1500)
    np.savez(tmp_path / "n.npz", clean=truth, worse=noisy)
    data = load(f"cifar10:{tmp_path}?noisy_labels=n.npz:worse")
    assert np.array_equal(data.noisy, noisy[data.positions])
    assert torch.equal(data.noisy, load(f"cifar10:{tmp_path}", "n.npz:worse").noisy)
    np.savez(tmp_path / "n.npz", clean=(truth + 1) % 10, worse=noisy)
    with pytest.raises(LabError, match=r"'clean' differs from the labels of CIFAR-10 .* in 540 of"):
        load(f"cifar10:{tmp_path}?noisy_labels=n.npz:worse")
    with pytest.raises(LabError, match="noisy labels were given twice"):
        load(f"cifar10:{tmp_path}?noisy_labels=n.npz:worse", "n.npz:worse")


@pytest.mark.usefixtures("small_cifar")
def test_cifar100_in_binary_has_fine_labels(tmp_path):
    rows = records(1500, 2, 100, 0)
    rows.tofile(tmp_path / "train.bin")
    records(300, 2, 100, 1).tofile(tmp_path / "test.bin")
    data = load(f"cifar100:{tmp_path}")
    assert data.num_classes == 100
    assert data.class_names is None
    assert np.array_equal(data.train.labels, rows[data.positions, 1])


@pytest.mark.usefixtures("small_cifar")
@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("data_batch_2.bin", lambda b: b[:-5], "must hold 300 records of 3,073 bytes, 921,900"),
        ("data_batch_2.bin", lambda b: b"\x0b" + b[1:], "labels 0 .. 9, got 0 .. 11; is it of"),
        ("test_batch.bin", None, "test_batch.bin is missing or cannot be read"),
    ],
)
def test_binary_files_that_are_damaged(tmp_path, name, change, message):
    binary_cifar10(tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).unlink()
    if change is not None:
        (tmp_path / name).write_bytes(change(content))
    with pytest.raises(LabError, match=message):
        load(f"cifar10:{tmp_path}")


def grid(pictures, rows):
    """Put `(N, 32, 32, 3)` pictures into one, row by row."""
    columns = len(pictures) // rows
    tiles = pictures.reshape(rows, columns, 32, 32, 3).transpose(0, 2, 1, 3, 4)
    return tiles.reshape(rows * 32, columns * 32, 3)


def grids(folder, kind, there, factor=1, **changes):
    image = pytest.importorskip("PIL.Image", reason="grids are read by Pillow")
    classes, per_file = (10, 50) if kind == "cifar10" else (100, 500)
    stem, first = ("data_batch_", 1) if kind == "cifar10" else ("train_", 0)
    test = "test_batch" if kind == "cifar10" else "test"
    arrays = {
        "y_train": (np.arange(5 * per_file) % classes).astype(np.uint8),
        "y_test": (np.arange(per_file) % classes).astype(np.uint8),
        "class_names": np.array([f"class {number}" for number in range(classes)]),
    } | changes
    np.savez(folder / "labels.npz", **arrays)
    written = {}
    for name in [*(f"{stem}{number + first}" for number in there), test]:
        pictures = RNG.integers(0, 256 // factor, (per_file, 32, 32, 3)).astype(np.uint8)
        image.fromarray(grid(pictures, 10)).save(
            folder / f"{name}.webp", lossless=True, quality=0, method=0
        )
        written[name] = pictures * np.uint8(factor)
    return written


@pytest.mark.parametrize(("kind", "factor"), [("cifar10", 1), ("cifar100", 3)])
def test_grids_of_pictures(tmp_path, kind, factor):
    written = grids(tmp_path, kind, (1, 4), factor)
    data = load(f"{kind}:{tmp_path}")
    per_file = data.total // 5
    assert data.name.endswith("(training files 2, 5 of 5)")
    assert data.class_names[3] == "class 3"
    pictures = list(written.values())
    stored = dict(zip((1, 4), pictures, strict=False))
    assert np.array_equal(data.test.inputs.permute(0, 2, 3, 1), pictures[-1])
    assert np.array_equal(data.train.labels, data.positions.numpy() % data.num_classes)
    for image, place in zip(data.train.inputs, data.positions.tolist(), strict=True):
        original = stored[place // per_file][place % per_file]
        assert np.array_equal(image.permute(1, 2, 0), original)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": np.zeros(41, np.uint8)}, "must be a grid of 41 pictures .* 160 x 320 pixels"),
        ({"y_train": np.zeros(201, np.uint8)}, "must hold the labels of 5 equal files, got 201"),
        ({"y_train": np.full(200, 10)}, r"labels.npz: y_train must hold labels 0 .. 9, got 10"),
        ({"y_train": np.zeros(200)}, "one integer per picture, got float64"),
        ({"y_test": np.zeros(0, int)}, "must hold labels in an array 'y_test'"),
    ],
)
def test_grids_that_do_not_fit_their_labels(tmp_path, changes, message):
    grids(tmp_path, "cifar10", (0,), **changes)
    with pytest.raises(LabError, match=message):
        load(f"cifar10:{tmp_path}")


def test_grids_that_are_damaged(tmp_path):
    grids(tmp_path, "cifar100", (0,), 1)
    with pytest.raises(LabError, match="must hold values divided by 3, up to 85, got 255"):
        load(f"cifar100:{tmp_path}")
    path = tmp_path / "train_0.webp"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(LabError, match=r"train_0.webp cannot be read as a picture"):
        load(f"cifar100:{tmp_path}")
    (tmp_path / "labels.npz").write_bytes(b"no archive")
    with pytest.raises(LabError, match=r"labels.npz cannot be read as an npz file"):
        load(f"cifar100:{tmp_path}")


def test_a_place_without_files_says_what_to_do(tmp_path):
    with pytest.raises(LabError, match=r"holds none of its files; put the official binary files"):
        load(f"cifar10:{tmp_path}")
    with pytest.raises(LabError, match=r"is missing; put the official idx files .* \?download=yes"):
        load(f"mnist:{tmp_path / 'nowhere'}")


class Loader:
    """What torchvision's data sets are to us."""

    asked: ClassVar[list[tuple[str, bool, bool]]] = []

    def __init__(self, root, train, download):
        self.asked.append((root, train, download))
        self.data = RNG.integers(0, 256, (100, 32, 32, 3)).astype(np.uint8)
        self.targets = (np.arange(100) % 10).tolist()


class Interrupted:
    def __init__(self, root, train, download):
        raise OSError("connection reset")


def torchvision_with(monkeypatch, loader):
    module, datasets = types.ModuleType("torchvision"), types.ModuleType("torchvision.datasets")
    module.datasets = datasets
    datasets.CIFAR10 = datasets.MNIST = loader
    monkeypatch.setitem(sys.modules, "torchvision", module)
    monkeypatch.setitem(sys.modules, "torchvision.datasets", datasets)


def test_torchvision_downloads_only_when_asked(tmp_path, monkeypatch):
    torchvision_with(monkeypatch, Loader)
    monkeypatch.setattr(Loader, "asked", [])
    with pytest.raises(LabError, match="holds none of its files"):
        load(f"cifar10:{tmp_path}")
    assert Loader.asked == []
    data = load(f"cifar10:{tmp_path}?download=yes")
    assert data.name == "CIFAR-10"
    assert data.shape == (3, 32, 32)
    assert (len(data.train), len(data.validation), len(data.test)) == (90, 10, 100)
    (tmp_path / "cifar-10-batches-py").mkdir()
    load(f"cifar10:{tmp_path}")
    root = str(tmp_path)
    assert Loader.asked == [
        (root, True, True), (root, False, True), (root, True, False), (root, False, False)
    ]  # fmt: skip


def test_a_download_that_is_interrupted(tmp_path, monkeypatch):
    torchvision_with(monkeypatch, Interrupted)
    with pytest.raises(LabError, match=r"could not be downloaded \(connection reset\); what is w"):
        load(f"mnist:{tmp_path}?download=yes")


def test_no_torchvision_to_download_with(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(LabError, match="only be downloaded or unpacked by a torchvision that fits"):
        load(f"cifar10:{tmp_path}?download=yes")


def test_fashion_mnist_as_images(shared_data):
    data = load(f"fashion-mnist:{shared_data / 'fashion_mnist'}")
    assert (len(data.train), len(data.validation), len(data.test)) == (24857, 4143, 10000)
    assert data.memory == 39_000 * 784
    assert data.class_names[9] == "ankle boot"
    assert data.mean.item() == pytest.approx(72.9, abs=0.1)  # the whole set's is 72.94


def test_cifar10_with_human_labels(shared_data):
    pytest.importorskip("PIL", reason="its pictures are read by Pillow")
    folder = shared_data / "cifar10"
    data = load(f"cifar10:{folder}?noisy_labels=cifar10n.npz:worse")
    there = len(list(folder.glob("data_batch_*.webp")))
    assert len(data.train) + len(data.validation) == 10_000 * there
    assert float((data.noisy != data.train.labels).double().mean()) == pytest.approx(
        0.4021, abs=0.01
    )
    assert data.class_names[0] == "airplane"
    assert data.train.take(slice(None)).mean().abs() < 1e-5
