"""Sources as words, and parts of data sets."""

import hashlib

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from softtargets.lab import compare
from softtargets.lab.data import KINDS, Source, load
from softtargets.lab.errors import LabError


@pytest.mark.parametrize(
    "text",
    [
        "digits",
        "two-gaussians",
        "two-gaussians?seed=7",
        "a/b.npz",
        "b.npz.xz?samples=30&seed=2",
        "C:\\data\\x.parquet",
        "what?.npz",
        "arrays:mnist:old.npz",
        "cifar10:/some where/cifar?samples=1000&noisy_labels=cifar10n.npz:worse",
        "mnist:m?download=yes",
        "folder:birds?size=32&imbalance=12.5",
        "text:trec?samples=600&words=20&text=question&label=fine",
    ],
)
def test_words_are_read_and_written(text):
    source = Source.parse(text)
    assert str(source) == text
    assert msgspec.json.decode(msgspec.json.encode(source), type=Source) == source


@given(
    path=st.text(min_size=1),
    name=st.sampled_from([kind for kind in KINDS if kind not in ("digits", "two-gaussians")]),
    samples=st.one_of(st.just(msgspec.UNSET), st.integers(1, 10**9)),
)
def test_every_source_that_can_be_made_is_read_back(path, name, samples):
    try:
        source = Source(name=name, path=path, samples=samples)
    except LabError:
        return
    assert Source.parse(str(source)) == source


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mnist", "mnist needs a path, as mnist:PATH"),
        ("folder:", "folder needs a path"),
        ("", "`data` must name a data set, got ''; give digits, the path of an .npz or .parquet"),
        ("?samples=3", "`data` must name a data set, got '\\?samples=3'; give digits"),
        ("digits:x", "digits has no path, got 'x'; leave it out"),
        ("digits?sample=3", "options of the data must be samples, .* got sample=3"),
        ("digits?samples=3&samples=4", "each once"),
        ("digits?samples=many", "`samples` of the data must be a whole number, got 'many'"),
        ("digits?samples=0", "`samples` of the data must be 1 or more, got 0"),
        ("digits?imbalance=x", "`imbalance` of the data must be a number, got 'x'"),
        ("digits?imbalance=1", "must be above 1 and up to 1e6, .* got 1.0"),
        ("digits?imbalance=nan", "must be above 1 and up to 1e6, .* got nan"),
        ("digits?imbalance=3&samples=9", "exclude each other"),
        ("digits?seed=1", "`seed` decides nothing of digits without samples or imbalance"),
        ("digits?seed=-1", "`seed` of the data must be 0 or more, got -1"),
        ("digits?size=9", "`size` is for pictures in a folder, not for digits"),
        ("folder:x?size=5000", "`size` of the data must be up to 1024, got 5000"),
        ("text", "text needs a path, as text:PATH"),
        ("text:x?words=0", "`words` of the data must be 1 or more, got 0"),
        ("digits?words=9", "`words` is for tables of texts, not for digits; leave it out"),
        ("folder:x?label=y", "`label` is for tables of texts, not for folder"),
        ("digits?download=yes", "`download` is for mnist, .* not for digits"),
        ("mnist:x?download=1", "`download` of the data must be yes or no, got '1'"),
    ],
)
def test_words_that_name_no_source(text, message):
    with pytest.raises(LabError, match=message):
        Source.parse(text)


def test_sources_that_cannot_be_written():
    with pytest.raises(LabError, match="a path must not end as options do"):
        Source(name="arrays", path="x?seed=1")
    with pytest.raises(LabError, match="unknown kind of data 'moons': choose from digits"):
        Source(name="moons")


def test_a_balanced_part_is_drawn_by_its_seed():
    whole = load("digits")
    parts = [load(f"digits?samples=105&seed={seed}") for seed in (0, 0, 1)]
    assert parts[0].digest == parts[1].digest
    assert len({whole.digest, parts[0].digest, parts[2].digest}) == 3
    for part in parts:
        assert torch.bincount(part.train.labels).tolist() == [11] * 5 + [10] * 5
        assert torch.equal(part.test.labels, whole.test.labels)
        assert torch.equal(part.validation.labels, whole.validation.labels)
        assert set(part.positions.tolist()) < set(whole.positions.tolist())
        assert part.train.take(slice(None)).mean().abs() < 1e-6
    assert parts[2].name == "digits, 105 training samples, seed 1"
    more = load("digits?samples=205")
    assert set(parts[0].positions.tolist()) < set(more.positions.tolist())


def test_a_long_tail_falls_exponentially():
    whole, part = load("digits"), load("digits?imbalance=10")
    counts = torch.bincount(part.train.labels).tolist()
    largest = int(torch.bincount(whole.train.labels).min())
    assert counts == [int(largest * 10 ** (-number / 9) + 1e-6) for number in range(10)]
    assert counts[0] == largest == 87
    assert counts[9] == 8
    assert part.name == "digits, long tail 10"


def test_parts_that_cannot_be_drawn(tmp_path):
    with pytest.raises(LabError, match=r"`samples` wants 100 of class 0, .* has 89; ask for fewer"):
        load("digits?samples=1000")
    with pytest.raises(LabError, match="class 1 would keep no sample to train on"):
        load("digits?samples=1")
    with pytest.raises(LabError, match="class 9 would keep no sample"):
        load("digits?imbalance=100")


def test_positions_of_a_part_choose_its_noisy_labels(tmp_path):
    noisy = np.random.default_rng(0).integers(0, 10, 1797)
    np.save(tmp_path / "n.npy", noisy)
    part = load(f"digits?samples=50&noisy_labels={tmp_path / 'n.npy'}")
    assert np.array_equal(part.noisy, noisy[part.positions])


def test_a_comparison_takes_noisy_labels_by_its_own_setting():
    with pytest.raises(LabError, match="give noisy labels by --noisy-labels"):
        compare.Settings(data="digits?noisy_labels=n.npy")


def test_contents_decide_the_digest_as_they_always_did():
    assert load("digits").digest == "bb8e911b1928a9af"
    flat = load("digits").train.inputs.numpy().tobytes()
    assert hashlib.sha256(flat).hexdigest()[:12] == "d0d225610fcf"
