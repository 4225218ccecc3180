"""Folders of pictures and Parquet tables."""

import sys

import numpy as np
import pytest

from softtargets.lab.data import folder as folders
from softtargets.lab.data import load
from softtargets.lab.errors import LabError

RNG = np.random.default_rng(0)


@pytest.fixture
def picture():
    return pytest.importorskip("PIL.Image", reason="pictures are read by Pillow")


def fill(image, root, classes=3, each=8, suffix="png", shade=40):
    """Every picture of class k is `shade * (k + 1)` all over, but for its first pixel."""
    for number in range(classes):
        place = root / f"class {number}"
        place.mkdir(parents=True)
        for index in range(each):
            pixels = np.full((10, 14, 3), shade * (number + 1), np.uint8)
            image.fromarray(pixels).save(place / f"{index}.{suffix}")
    return root


def test_a_folder_with_parts(tmp_path, picture):
    fill(picture, tmp_path / "birds" / "train")
    fill(picture, tmp_path / "birds" / "test", each=2, suffix="bmp")
    data = load(f"folder:{tmp_path / 'birds'}?size=8")
    assert (data.name, data.shape, data.num_classes) == ("birds", (3, 8, 8), 3)
    assert data.class_names == ("class 0", "class 1", "class 2")
    assert (len(data.train), len(data.validation), len(data.test)) == (20, 4, 6)
    for part in (data.train, data.validation, data.test):
        shades = part.inputs.flatten(1).unique(dim=1)
        assert np.array_equal(shades[:, 0], 40 * (part.labels + 1))
    assert np.array_equal(np.repeat([0, 1, 2], 8)[data.positions], data.train.labels)
    assert data.memory == 30 * 3 * 64


def test_a_folder_without_parts_is_divided_by_a_seed(tmp_path, picture):
    fill(picture, tmp_path, each=10, suffix="jpg")
    first, again = load(f"folder:{tmp_path}?size=16"), load(f"folder:{tmp_path}?size=16")
    other = load(f"folder:{tmp_path}?size=16&seed=1")
    assert first.digest == again.digest
    assert first.positions.tolist() == again.positions.tolist() != other.positions.tolist()
    assert (len(first.train), len(first.validation), len(first.test)) == (20, 4, 6)
    assert first.total == 30
    assert np.bincount(first.test.labels).tolist() == [2, 2, 2]
    assert load(f"folder:{tmp_path}").shape == (3, 64, 64)


def test_pictures_are_cut_to_the_middle_and_turned_upright(tmp_path, picture):
    fill(picture, tmp_path, classes=2, each=10)
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 200
    wide[:4, 8:16] = 100
    exif = picture.Exif()
    exif[0x0112] = 3  # upside down
    picture.fromarray(wide).save(tmp_path / "class 0" / "0.png", exif=exif)
    pixels = folders.read_picture(tmp_path / "class 0" / "0.png", 8)
    assert pixels.shape == (8, 8, 3)
    assert pixels[0].min() >= 190
    assert pixels[-1].max() <= 110


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_picture_that_cannot_be_read_is_named(tmp_path, picture, suffix):
    fill(picture, tmp_path, suffix=suffix)
    bad = tmp_path / "class 1" / f"3.{suffix}"
    whole = bad.read_bytes()
    for content in (b"no picture", whole[: len(whole) // 2], b""):
        bad.write_bytes(content)
        with pytest.raises(LabError, match=r"class 1.3\.\w+ cannot be read as a picture .* mend"):
            load(f"folder:{tmp_path}?size=8")


def test_a_picture_of_too_many_pixels_is_refused(tmp_path, picture, monkeypatch):
    fill(picture, tmp_path)
    monkeypatch.setattr(picture, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(LabError, match=r"class 0.0.png cannot be read as a picture"):
        load(f"folder:{tmp_path}?size=8")


def test_folders_that_do_not_fit(tmp_path, picture, monkeypatch):
    def refused(root, message, options=""):
        with pytest.raises(LabError, match=message):
            load(f"folder:{root}{options}")

    refused(tmp_path / "none", "is no folder; pictures are looked for in .*none/CLASS")
    refused(tmp_path, "must hold a folder for each of at least 2 classes, got none")
    fill(picture, tmp_path / "a" / "train")
    refused(tmp_path / "a", "has a folder train and none named test, val, validation")
    fill(picture, tmp_path / "a" / "test", classes=2)
    refused(tmp_path / "a", "must hold the same classes, class 2 is in one")
    (tmp_path / "a" / "test" / "class 2").mkdir()
    refused(tmp_path / "a", "class 2 holds no pictures; their names must end in .jpg")
    refused(fill(picture, tmp_path / "b", each=3), "class 0 must hold 4 pictures or more, got 3")
    refused(fill(picture, tmp_path / "c", each=5), "15 pictures are too few for 3 classes")
    fill(picture, tmp_path / "d")
    monkeypatch.setattr(folders, "physical_memory", lambda: 1000)
    refused(
        tmp_path / "d",
        r"24 pictures of 8 x 8 need .*; choose a smaller size, as .size=4",
        "?size=8",
    )


def test_pillow_is_named_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(LabError, match=r"need Pillow; pip install 'softtargets\[images\]'"):
        load(f"folder:{tmp_path}")


@pytest.fixture
def write():
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet is read by pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")

    def written(path, **columns):
        parquet.write_table(pyarrow.table(columns), path)
        return path

    return written


def columns(rows=60):
    features = np.random.default_rng(0).normal(size=(rows, 3))
    return {
        "a": features[:, 0],
        "b": features[:, 1].astype(np.float32),
        "c": np.arange(rows),
        "label": np.arange(rows) % 3,
    }


def test_a_table_is_divided_by_class(tmp_path, write):
    given = columns()
    data = load(str(write(tmp_path / "t.parquet", **given)))
    assert (data.name, data.shape, data.num_classes, data.total) == ("t", (3,), 3, 60)
    assert (len(data.train), len(data.validation), len(data.test)) == (41, 7, 12)
    rows = data.positions.numpy()
    assert np.array_equal(given["label"][rows], data.train.labels)
    restored = data.train.inputs * data.deviation + data.mean
    for place, name in enumerate("abc"):
        np.testing.assert_allclose(restored[:, place], given[name][rows], atol=1e-5)
    assert set(restored[:, 2].round().int().tolist()) == set(rows.tolist())


def test_a_column_says_what_is_for_testing_and_lists_are_features(tmp_path, write):
    given = columns()
    lists = [list(row) for row in np.stack([given["a"], given["c"]], 1)]
    parts = ["test" if number >= 48 else "train" for number in range(60)]
    path = write(tmp_path / "t.parquet", x=lists, label=given["label"], split=parts)
    data = load(f"arrays:{path}")
    restored = data.test.inputs * data.deviation + data.mean
    np.testing.assert_allclose(restored[:, 1], np.arange(48, 60), atol=1e-5)
    assert data.positions.max() < 48


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": None}, "must have rows with a column 'label' .* got columns a, b, c and 60"),
        ({"label": np.zeros(60)}, "label must hold whole numbers, got float64; number the cl"),
        ({"label": [None] * 60}, "label must hold numbers, got null; number the classes"),
        ({"label": np.arange(60)}, "a fifth of every class cannot be kept for testing"),
        ({"label": np.zeros(60, int)}, "at least 2 classes"),
        ({"a": ["word"] * 60}, "a must hold numbers, got (large_)?string; encode it, or drop it"),
        ({"a": [1.0] * 59 + [None]}, "a holds 1 nulls; fill them in"),
        ({"a": [np.inf] * 60}, "a must be finite, it is not in row 0, the first of 60; fill in"),
        ({"a": [[1.0]] * 59 + [[]]}, "a must hold lists of one length in every row"),
        ({"split": ["train"] * 59 + ["dev"]}, "split must hold train or test .* got 'dev'"),
    ],
)
def test_tables_that_do_not_fit(tmp_path, write, changes, message):
    content = {name: each for name, each in (columns() | changes).items() if each is not None}
    with pytest.raises(LabError, match=message):
        load(str(write(tmp_path / "t.parquet", **content)))


def test_a_table_that_ends_early(tmp_path, write):
    path = write(tmp_path / "t.parquet", **columns())
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(LabError, match="is no whole Parquet file"):
        load(str(path))


def test_pyarrow_is_named_where_it_is_missing(tmp_path, monkeypatch):
    (tmp_path / "t.parquet").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(LabError, match=r"need pyarrow; pip install 'softtargets\[parquet\]'"):
        load(str(tmp_path / "t.parquet"))
