import lzma

import numpy as np
import pytest
import torch

from softtargets.lab import data
from softtargets.lab.data.dataset import Scale, Split
from softtargets.lab.errors import LabError


def arrays(classes=3, train=60, test=12):
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(0, 255, (train, 4, 4)).astype(np.uint8),
        "y_train": np.arange(train) % classes,
        "x_test": rng.integers(0, 255, (test, 4, 4)).astype(np.uint8),
        "y_test": np.arange(test) % classes,
    }


def test_training_samples_know_their_place_in_the_source(tmp_path):
    from sklearn.datasets import load_digits

    digits = data.load("digits")
    images, labels = load_digits(return_X_y=True)
    assert digits.total == len(labels) == 1797
    assert np.array_equal(labels[digits.positions], digits.train.labels)
    shown = digits.train.inputs.double() * digits.deviation + digits.mean
    assert np.allclose(images[digits.positions].reshape(-1, 8, 8), shown, atol=1e-4)
    given = arrays()
    np.savez(tmp_path / "a.npz", **given)
    loaded = data.load(str(tmp_path / "a.npz"))
    assert loaded.total == 60
    assert np.array_equal(given["y_train"][loaded.positions], loaded.train.labels)


def test_noisy_labels_are_those_of_the_training_samples(tmp_path):
    given = arrays()
    np.savez(tmp_path / "a.npz", **given)
    noisy = np.random.default_rng(1).integers(0, 3, 60)
    np.save(tmp_path / "n.npy", noisy)
    np.savez(tmp_path / "one.npz", human=noisy)
    np.savez(tmp_path / "two.npz", worse=noisy, best=given["y_train"])
    np.savez(tmp_path / "more.npz", y_train=noisy, other=given["y_train"])
    plain = data.load(str(tmp_path / "a.npz"))
    assert plain.noisy is None
    digests = set()
    for name in ("n.npy", "one.npz", "one.npz:human", "two.npz:worse", "more.npz"):
        loaded = data.load(str(tmp_path / "a.npz"), str(tmp_path / name))
        assert loaded.digest == plain.digest
        assert np.array_equal(loaded.noisy, noisy[plain.positions])
        digests.add(loaded.noisy_digest)
    assert len(digests) == 1
    other = data.load(str(tmp_path / "a.npz"), str(tmp_path / "two.npz:best"))
    assert other.noisy_digest not in digests


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(59, int), "must hold one integer for each of the 60 samples that a draws"),
        (np.zeros((60, 1), int), r"got int64 of shape \(60, 1\)"),
        (np.zeros(60), "one integer for each of the 60 .* got float64"),
        (np.full(60, 3), r"labels must be 0 .. 2 as in a, got 3 .. 3"),
        (np.full(60, -1), r"labels must be 0 .. 2 as in a, got -1 .. -1"),
    ],
)
def test_noisy_labels_that_do_not_fit(tmp_path, labels, message):
    np.savez(tmp_path / "a.npz", **arrays())
    np.save(tmp_path / "n.npy", labels)
    with pytest.raises(LabError, match=message):
        data.load(str(tmp_path / "a.npz"), str(tmp_path / "n.npy"))


def test_noisy_labels_that_cannot_be_read(tmp_path):
    np.savez(tmp_path / "a.npz", **arrays())
    np.savez(tmp_path / "two.npz", worse=np.zeros(60, int), best=np.zeros(60, int))
    (tmp_path / "text.npy").write_text("1 2 3")
    np.savez(tmp_path / "none.npz")
    for name, message in {
        "text.npy": "cannot be read as noisy labels",
        "missing.npy": "cannot be read as noisy labels",
        "none.npz": "cannot be read as noisy labels",
        "two.npz": "holds the arrays worse, best; name one of them, as .*two.npz:worse",
        "two.npz:worst": "holds the arrays worse, best; name one of them",
    }.items():
        with pytest.raises(LabError, match=message):
            data.load(str(tmp_path / "a.npz"), str(tmp_path / name))


def test_digits_is_split_by_class_without_overlap_and_the_same_each_time():
    first, second = data.load("digits"), data.load("digits")
    assert (len(first.train), len(first.validation), len(first.test)) == (898, 300, 599)
    assert first.digest == second.digest
    assert torch.equal(first.test.inputs, second.test.inputs)
    whole = torch.cat(
        [part.inputs.flatten(1) for part in (first.train, first.validation, first.test)]
    )
    assert len(whole.unique(dim=0)) == 1797
    for part in (first.train, first.validation, first.test):
        shares = torch.bincount(part.labels, minlength=10) / len(part)
        assert shares.sub(0.1).abs().max() < 0.01
    assert first.train.inputs.mean().abs() < 1e-5
    assert first.train.inputs.std() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("suffix", [".npz", ".npz.xz"])
def test_arrays_from_a_file(tmp_path, suffix):
    path = tmp_path / f"shapes{suffix}"
    with lzma.open(path, "wb") if suffix.endswith("xz") else path.open("wb") as file:
        np.savez(file, **arrays())
    loaded = data.load(str(path))
    assert loaded.name == "shapes"
    assert loaded.num_classes == 3
    assert (len(loaded.train), len(loaded.validation), len(loaded.test)) == (51, 9, 12)
    restored = loaded.test.inputs * loaded.deviation + loaded.mean
    np.testing.assert_allclose(restored.numpy(), arrays()["x_test"], atol=1e-3)


def broken(**changes):
    return {name: value for name, value in (arrays() | changes).items() if value is not None}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (broken(y_test=None), "no array 'y_test'"),
        (
            broken(y_train=np.arange(60) // 2 * 0.5),
            r"y_train must hold integers, got float64 of shape \(60,\); row 2 is 0.5, which is",
        ),
        (broken(y_train=np.full(60, np.nan)), "row 0 is nan, which is no class"),
        (broken(y_train=np.full(60, np.inf)), "row 0 is inf, which is no class"),
        (broken(y_train=np.arange(60) % 3 * 1.0), r"got float64 .*; save .astype\(int\) of it"),
        (broken(y_train=np.arange(60) < 30), r"got bool .*; save .astype\(int\) of it"),
        (broken(y_train=np.array(["cat"] * 60)), "hold integers, got <U3 .*; number the classes"),
        (broken(y_train=np.ones(60, complex)), "complex128 .*; save the number of each sample's"),
        (
            broken(y_train=np.eye(3)[np.arange(60) % 3]),
            r"one label per sample, .*\(60, 3\); of one-hot rows save .argmax\(-1\)",
        ),
        (broken(y_test=np.eye(3, dtype=bool)[np.arange(12) % 3]), r"y_test .*; of one-hot rows"),
        (broken(y_train=np.full((60, 2), 0.5)), "save the number of one class for each sample"),
        (broken(y_train=np.ones((60, 3), int)), "save the number of one class for each sample"),
        (broken(y_train=np.array(0)), "save the number of one class for each sample"),
        (broken(y_train=np.ones((60, 1), int)), r"one label per sample, .* save .ravel\(\) of it"),
        (broken(y_train=np.zeros(0, int)), r"got int64 of shape \(0,\); it is empty: save the"),
        (
            broken(y_test=np.full(12, -1)),
            "labels must be 0 .. K - 1, y_test holds -1; number the classes from 0, and drop",
        ),
        (broken(y_train=np.arange(60) % 3 * 2), "class 1 has 0; number the classes without gaps"),
        (broken(y_train=np.zeros(60, int), y_test=np.zeros(12, int)), "at least 2 classes"),
        (broken(x_test=np.zeros((12, 5))), "must have one shape"),
        (broken(y_train=np.arange(59)), "x_train must hold numbers of shape \\(59"),
        (broken(y_train=np.arange(60)), "too few for 60 classes"),
        (broken(x_test=np.full((12, 4), np.nan)), "got nan in row 0, the first of 12; fill"),
        (
            broken(x_train=np.array([[0.0, 1], [2, 3], [4, -np.inf]] * 20)),
            "x_train must be finite, got -inf in row 2, the first of 20; .* x_train and y_train",
        ),
        (broken(y_train=np.arange(60) * 10**9), "too few for 59000000001 classes"),
        (broken(y_test=np.full(12, 2**64 - 1, np.uint64)), "too few for 18446744073709551616 c"),
        (broken(x_train=np.zeros((60, 0)), x_test=np.zeros((12, 0))), "must hold numbers, got"),
        (broken(x_train=np.full((60, 4), 1e300)), r"up to 1e\+30 in size, got 1e\+300"),
        (
            broken(x_train=np.arange(240).reshape(60, 4) * 1e-20, x_test=np.full((12, 4), 1e25)),
            "must fit into float32",
        ),
        (broken(x_test=np.array([{}] * 12, dtype=object)), "cannot be read"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path, content, message):
    path = tmp_path / "bad.npz"
    np.savez(path, **content)
    with pytest.raises(LabError, match=message):
        data.load(str(path))


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    for name in ("bad.npz", "bad.npz.xz"):
        path = tmp_path / name
        path.write_bytes(b"not an archive")
        with pytest.raises(LabError, match="cannot be read"):
            data.load(str(path))


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    def refuse(self, *arguments, **options):
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "mine.npz"
    np.savez(path, **arrays())
    monkeypatch.setattr("pathlib.Path.open", refuse)  # root may read what forbids it
    with pytest.raises(LabError, match=r"cannot read .*mine\.npz \(Permission denied\); name a"):
        data.load(str(path))


def test_a_single_array_is_refused(tmp_path):
    path = tmp_path / "single.npy"
    np.save(path, np.zeros(3))
    with pytest.raises(LabError, match="cannot be read as an npz file"):
        data.load(str(path))


def test_an_unknown_name_says_what_there_is():
    with pytest.raises(LabError, match="no data set 'digit': give one of digits, or the path"):
        data.load("digit")
    with pytest.raises(LabError, match="no data set 'aaa"):
        data.load("a" * 5000)


def test_fashion_mnist(shared_data):
    loaded = data.load(str(shared_data / "fashion_mnist" / "fashion_mnist_29k.npz.xz"))
    assert (len(loaded.train), len(loaded.validation), len(loaded.test)) == (24857, 4143, 10000)
    assert loaded.num_classes == 10


def test_taking_samples_leaves_them_as_they_are():
    scale = Scale(mean=torch.tensor(2.0), deviation=torch.tensor(4.0))
    for dtype in (torch.float32, torch.uint8):
        split = Split(
            inputs=torch.full((3, 2), 10, dtype=dtype), labels=torch.zeros(3), scale=scale
        )
        for _ in range(2):
            assert torch.equal(split.take(slice(None)), torch.full((3, 2), 2.0))


def test_a_table_of_texts_is_told_how_it_is_named(tmp_path):
    (table := tmp_path / "mails.csv").write_text("text,label\nhello,a\n")
    with pytest.raises(LabError, match=rf"or name a table of texts text:{table}"):
        data.load(str(table))
