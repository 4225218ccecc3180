"""Images and masks from folders and archives: what is read, and what is refused."""

import io
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from softtargets.lab.errors import LabError
from softtargets.lab.segmentation import data as reading
from softtargets.lab.segmentation.data import load
from softtargets.lab.segmentation.files import tree
from tests.lab.segmentation.scenes import (
    CLASSES,
    HEIGHT,
    VOID,
    WIDTH,
    encoded,
    files,
    packed,
    scene,
    written,
)


def word(path, options=""):
    return f"segmentation:{path}?ignore={VOID}" + (f"&{options}" if options else "")


def same(one, other):
    assert (one.digest, one.class_names) == (other.digest, other.class_names)
    for part in ("train", "validation", "test"):
        left, right = getattr(one, part), getattr(other, part)
        assert torch.equal(left.images, right.images)
        assert torch.equal(left.masks, right.masks)


def test_pixels_and_void_are_what_was_written(tmp_path):
    found = load(word(written(tmp_path, files())))
    assert (len(found.train), len(found.validation), len(found.test)) == (6, 3, 3)
    assert found.num_classes == CLASSES
    assert found.size == (HEIGHT, WIDTH)
    assert found.ignore_index == VOID
    assert found.left_out == ()
    for i in range(6):
        image, mask = scene(i)
        assert np.array_equal(found.train.images[i].permute(1, 2, 0).numpy(), image)
        assert np.array_equal(found.train.masks[i].numpy(), mask)
    assert found.train.void == 6 * 2 * WIDTH
    assert found.train.names == tuple(f"train/{i:03}.png" for i in range(6))
    inputs = found.train.inputs(slice(0, 2))
    assert inputs.dtype == torch.float32
    torch.testing.assert_close(inputs, found.train.images[:2] / 127.5 - 1)


@pytest.mark.parametrize("prefix", ["", "set/"])
def test_folder_archive_and_both_layouts_agree(tmp_path, prefix):
    folder = load(word(written(tmp_path / "folder", files("annot"))))
    below = load(word(written(tmp_path / "below", files("below"))))
    held = {f"{prefix}{name}": content for name, content in files("annot").items()}
    same(folder, below)
    same(folder, load(word(packed(tmp_path / "all.tar", held))))


def test_camvid_has_its_classes_and_void(tmp_path):
    found = load(f"camvid:{written(tmp_path, files())}")
    assert found.num_classes == found.ignore_index == 11
    assert found.class_names[3] == "road"


def test_classes_from_a_file_a_number_or_the_masks(tmp_path):
    folder = written(tmp_path, files())
    assert load(word(folder)).class_names == ("class 0", "class 1", "class 2")
    assert load(word(folder, "classes=5")).num_classes == 5
    (folder / "classes.txt").write_text("ground\nbar\ndisc\nnone\n")
    assert load(word(folder)).class_names == ("ground", "bar", "disc", "none")
    with pytest.raises(LabError, match=r"`classes` of the data is 5, and .*classes\.txt has 4"):
        load(word(folder, "classes=5"))
    (folder / "classes.txt").write_text("ground\n\ndisc\n")
    with pytest.raises(LabError, match=r"classes\.txt must hold the names of 2 to 255 classes"):
        load(word(folder))


def test_files_that_cannot_be_read(tmp_path):
    folder = written(tmp_path, files())
    (folder / "classes.txt").write_bytes(b"ground\nb\xe4r\n")
    with pytest.raises(LabError, match=r"classes\.txt, line 2: byte 2 .* is not UTF-8; convert"):
        load(word(folder))
    (folder / "classes.txt").write_text("ground\nbär\n", encoding="utf-16")
    with pytest.raises(LabError, match=r"classes\.txt is UTF-16, .* `iconv -f UTF-16 -t UTF-8`"):
        load(word(folder))
    with pytest.raises(LabError, match=r"train/gone\.png cannot be read \(.*\); copy it again"):
        tree(folder).read("train/gone.png")


def test_scaled_images_are_means_and_masks_are_nearest(tmp_path):
    found = load(word(written(tmp_path, files()), "size=16x16"))
    assert found.size == (16, 16)
    image, mask = scene(0)
    expected = np.asarray(Image.fromarray(image).resize((16, 16), Image.Resampling.BILINEAR))
    assert np.array_equal(found.train.images[0].permute(1, 2, 0).numpy(), expected)
    columns = ((np.arange(16) + 0.5) * WIDTH / 16).astype(int)
    assert np.array_equal(found.train.masks[0].numpy(), mask[:, columns])


def test_palette_masks_hold_numbers(tmp_path):
    held = files()
    plain = load(word(written(tmp_path / "plain", held)))
    picture = Image.fromarray(scene(0)[1]).convert("P")
    picture.putdata(scene(0)[1].flatten().tolist())
    path = tmp_path / "palette.png"
    picture.save(path)
    held["trainannot/000.png"] = path.read_bytes()
    same(plain, load(word(written(tmp_path / "palette", held))))


def test_files_that_belong_to_no_part_are_named_and_hidden_ones_are_not(tmp_path):
    held = files() | {"README.txt": b"x", "train/notes.txt": b"x", ".cache/000.png": b"x"}
    assert load(word(written(tmp_path, held))).left_out == ("README.txt", "train/notes.txt")


def linked(path, kind, target):
    """An archive whose last image and mask are links."""
    packed(path, files())
    with tarfile.open(path, "a") as archive:
        for folder in ("train", "trainannot"):
            member = tarfile.TarInfo(f"{folder}/900.png")
            member.type, member.linkname = kind, target.format(folder)
            archive.addfile(member)
    return path


@pytest.mark.parametrize(
    ("kind", "target"), [(tarfile.LNKTYPE, "{}/000.png"), (tarfile.SYMTYPE, "000.png")]
)
def test_links_in_an_archive_are_what_they_lead_to(tmp_path, kind, target):
    found = load(word(linked(tmp_path / "x.tar", kind, target)))
    assert found.train.names[-1] == "train/900.png"
    assert torch.equal(found.train.images[-1], found.train.images[0])
    assert torch.equal(found.train.masks[-1], found.train.masks[0])


def test_links_that_lead_nowhere_are_named(tmp_path):
    path = linked(tmp_path / "x.tar", tarfile.SYMTYPE, "nothing.png")
    with pytest.raises(LabError, match=r"train/900\.png is a link to a file that is not there"):
        load(word(path))
    path = linked(tmp_path / "y.tar", tarfile.FIFOTYPE, "")
    with pytest.raises(LabError, match=r"train/900\.png is no file; pack what it leads to"):
        load(word(path))
    folder = written(tmp_path / "x", files())
    for part in ("train", "trainannot"):
        (folder / part / "900.png").symlink_to("nothing.png")
    with pytest.raises(LabError, match=r"train/900\.png cannot be read .*; copy it again"):
        load(word(folder))


def test_an_archive_whose_compressed_middle_is_damaged(tmp_path):
    path = tmp_path / "x.txz"
    with tarfile.open(path, "w:xz") as archive:
        archive.add(written(tmp_path / "x", files()), "x")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 20] = bytes(20)
    path.write_bytes(content)
    with pytest.raises(LabError, match=r"x\.txz cannot be read as a tar archive \(Corrupt"):
        load(word(path))


def test_an_archive_whose_middle_looks_like_its_end_is_damaged(tmp_path):
    path = tmp_path / "x.tgz"
    with tarfile.open(path, "w:gz", compresslevel=0) as archive:
        archive.add(written(tmp_path / "x", files()), "x")
    with tarfile.open(path) as archive:
        header = archive.getmembers()[-1].tobuf()[:100].rstrip(b"\0")
    content = bytearray(path.read_bytes())
    place = content.index(header)
    content[place : place + tarfile.BLOCKSIZE] = bytes(tarfile.BLOCKSIZE)
    path.write_bytes(content)
    with pytest.raises(LabError, match=r"x\.tgz cannot be read as a tar archive \(CRC"):
        load(word(path))


def test_masks_of_one_class_tell_no_number_of_classes(tmp_path):
    # Black and white, where white is what void has unless it is set.
    held = {
        name: content if "annot" not in name else encoded(255 * (scene(0)[1] == 1).astype(np.uint8))
        for name, content in files().items()
    }
    folder = written(tmp_path, held)
    with pytest.raises(
        LabError, match=r"000\.png and all others .* hold one class, 0, or are void"
    ):
        load(f"segmentation:{folder}")
    assert load(f"segmentation:{folder}?classes=2").num_classes == 2


def test_a_stray_value_makes_no_hundred_classes(tmp_path):
    held = files()
    stray = scene(3)[1].copy()
    stray[8, 8] = 99
    held["trainannot/003.png"] = encoded(stray)
    folder = written(tmp_path, held)
    message = r"003\.png holds the value 99, and no training mask holds 3, 4, 5, 6, 7 and others"
    with pytest.raises(LabError, match=message):
        load(word(folder))
    assert load(word(folder, "classes=100")).num_classes == 100


def damaged(change):
    held = files()
    change(held)
    return held


def frames(count):
    """An animated picture."""
    buffer = io.BytesIO()
    first, *others = (Image.fromarray(scene(seed)[1]) for seed in range(count))
    first.save(buffer, "GIF", save_all=True, append_images=others)
    return buffer.getvalue()


def replaced(name, content):
    return lambda held: held.update({name: content})


BAD = {
    "no mask": (
        lambda held: held.pop("trainannot/002.png"),
        r"train/002\.png has no mask; put one named 002 into .*trainannot, or take the image out",
    ),
    "no image": (
        lambda held: held.pop("val/001.png"),
        r"valannot/001\.png is the mask of no image; add the image 001, or take the mask out",
    ),
    "no masks at all": (
        lambda held: [held.pop(name) for name in list(held) if name.startswith("testannot")],
        r"has test but no masks for it; put them into testannot",
    ),
    "no part": (
        lambda held: [held.pop(name) for name in list(held) if name.startswith("val")],
        r"has no validation part: no folders val with valannot or val/images with val/masks",
    ),
    "twice": (
        lambda held: held.update(files("below")),
        r"has train images twice, in train and train/images; leave one of them there",
    ),
    "one name": (
        lambda held: held.update({"train/000.jpg": held["train/000.png"]}),
        r"train/000\.jpg and .*train/000\.png have one name; rename one",
    ),
    "sizes": (
        replaced("valannot/000.png", encoded(scene(0, 20, 12)[1])),
        r"val/000\.png is 20 x 16 and its mask .*valannot/000\.png 20 x 12; they must have one",
    ),
    "another size": (
        lambda held: held.update(
            {
                "test/001.png": encoded(scene(0, 24, 16)[0]),
                "testannot/001.png": encoded(scene(0, 24, 16)[1]),
            }
        ),
        r"test/001\.png is 24 x 16, others are 20 x 16; scale all to one size, as \?size=20x16",
    ),
    "a value": (
        replaced("testannot/002.png", encoded(np.full((16, 20), 7, dtype=np.uint8))),
        r"testannot/002\.png: 320 pixels are no class, one has the value 7; values must be 0 to 2",
    ),
    "a large value": (
        replaced("testannot/002.png", encoded(np.full((16, 20), 300, dtype=np.uint16))),
        r"testannot/002\.png: 320 pixels are no class, one has the value 300",
    ),
    "colours": (
        replaced("trainannot/000.png", encoded(scene(0)[0])),
        r"trainannot/000\.png has colours \(mode RGB\) where a mask has the number of a class",
    ),
    "no picture": (
        replaced("train/003.png", b"no picture"),
        r"train/003\.png cannot be read as a picture .*; mend it, or take image and mask out",
    ),
    "cut": (
        lambda held: held.update({"train/003.png": held["train/003.png"][:200]}),
        r"train/003\.png cannot be read as a picture",
    ),
    "frames": (
        lambda held: (held.pop("valannot/001.png"), held.update({"valannot/001.gif": frames(2)})),
        r"valannot/001\.gif cannot be read as a picture \(it holds 2 frames, one is expected\)",
    ),
    "all void": (
        lambda held: held.update(
            {
                name: encoded(np.full((16, 20), VOID, dtype=np.uint8))
                for name in held
                if name.startswith("valannot")
            }
        ),
        r"valannot/000\.png and all others of its part are void \(11\)",
    ),
    "empty": (
        lambda held: [
            held.update({name.replace(".png", ".txt"): held.pop(name)})
            for name in list(held)
            if name.startswith("test")
        ],
        r"testannot holds no pictures; their names must end in",
    ),
}


@pytest.mark.parametrize("archive", [False, True])
@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_named_with_its_file(tmp_path, name, archive):
    change, message = BAD[name]
    held = damaged(change)
    path = packed(tmp_path / "x.tar", held) if archive else written(tmp_path / "x", held)
    with pytest.raises(LabError, match=message):
        load(word(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("voc:x", r"segmentation data must be camvid:PATH or segmentation:PATH, got voc:x"),
        ("camvid", r"segmentation data must be camvid:PATH"),
        ("camvid:x?classes=3", r"options of camvid must be size, each once, got classes=3"),
        ("segmentation:x?size=4x4&size=4x4", r"each once|`size` of the data"),
        ("segmentation:x?size=20", r"`size` of the data must be WIDTHxHEIGHT from 16 to 4096"),
        ("segmentation:x?size=20x5000", r"`size` of the data must be WIDTHxHEIGHT"),
        ("segmentation:x?ignore=-1", r"`ignore` of the data must be a whole number from 0 to 255"),
        ("segmentation:x?classes=1", r"`classes` of the data must be a whole number from 2 to 255"),
        ("segmentation:/no/such", r"/no/such is neither a folder nor a tar archive"),
    ],
)
def test_words_that_name_nothing(text, message):
    with pytest.raises(LabError, match=message):
        load(text)


def test_a_file_that_is_no_archive_and_one_that_is_cut(tmp_path):
    path = tmp_path / "x.tar"
    path.write_bytes(b"no archive" * 100)
    with pytest.raises(LabError, match=r"x\.tar cannot be read as a tar archive"):
        load(word(path))
    whole = packed(path, files()).read_bytes()
    path.write_bytes(whole[: len(whole) // 2 + 300])
    with pytest.raises(LabError, match=r"x\.tar cannot be read as a tar archive"):
        load(word(path))
    # After a whole file nothing but the mark at the end is missing.
    path.write_bytes(whole.rstrip(b"\0") + bytes(-len(whole.rstrip(b"\0")) % 512))
    with pytest.raises(LabError, match=r"ends without its end mark; copy it again"):
        load(word(path))


def test_more_than_memory_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "physical_memory", lambda: 20_000)
    with pytest.raises(LabError, match=r"12 images of 20 x 16 need .* choose a smaller size, as"):
        load(word(written(tmp_path, files())))


def test_the_digest_knows_every_pixel_class_and_order(tmp_path):
    first = load(word(written(tmp_path / "1", files())))
    held = files()
    mask = scene(0)[1]
    mask[8, 8] = (mask[8, 8] + 1) % 3
    held["trainannot/000.png"] = encoded(mask)
    assert load(word(written(tmp_path / "2", held))).digest != first.digest
    assert load(word(tmp_path / "1", "classes=4")).digest != first.digest
    held = files()
    swap = [f"{folder}/00{i}.png" for folder in ("train", "trainannot") for i in (0, 1)]
    held |= {swap[0]: held[swap[1]], swap[1]: held[swap[0]]}
    held |= {swap[2]: held[swap[3]], swap[3]: held[swap[2]]}
    assert load(word(written(tmp_path / "3", held))).digest != first.digest


def test_camvid_itself(shared_data):
    path = shared_data / "camvid" / "camvid.tar"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    found = load(f"camvid:{path}?size=120x90")
    assert (len(found.train), len(found.validation), len(found.test)) == (367, 101, 233)
    assert found.left_out == ()
    share = torch.bincount(found.train.masks.flatten().long(), minlength=12).double()
    share /= share.sum()
    assert found.class_names[int(share.argmax())] == "road"
    assert 0.03 < float(share[11]) < 0.05
