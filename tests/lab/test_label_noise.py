"""Wrong training labels: how they are drawn, what is recorded of them, and what stays as it was."""

import json

import msgspec
import numpy as np
import pytest
import torch

from softtargets import noise
from softtargets.lab import compare, data, summary
from softtargets.lab.errors import LabError
from softtargets.lab.label_noise import denoised, parse_mapping, training_labels, wrong_share
from softtargets.lab.models import seeded_mlp
from softtargets.lab.seeds import generator
from softtargets.lab.task import Task

MAPPING = ((3, 5), (9, 1))


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


def planned(digits, **changes):
    settings = compare.Settings(methods=("hard",), seeds=1, epochs=2, **changes)
    [spec] = compare.plan(settings, digits)
    return spec


@pytest.mark.parametrize(
    ("kind", "mapping"),
    [("symmetric", ()), ("pair", ()), ("asymmetric", MAPPING), ("instance", ())],
)
def test_labels_are_flipped_by_kind_rate_and_seed(digits, kind, mapping):
    spec = planned(digits, noise=0.3, noise_kind=kind, noise_map=mapping)
    truth, drawn = digits.train.labels, generator("noise", 0)
    expected = {
        "symmetric": lambda: noise.symmetric(truth, 0.3, 10, generator=drawn),
        "pair": lambda: noise.pair(truth, 0.3, 10, generator=drawn),
        "asymmetric": lambda: noise.asymmetric(truth, 0.3, {3: 5, 9: 1}, 10, generator=drawn),
        "instance": lambda: noise.instance_dependent(
            digits.train.inputs, truth, 0.3, 10, generator=drawn
        ),
    }[kind]()
    labels = training_labels(spec, digits)
    assert torch.equal(labels, expected.labels)
    assert wrong_share(spec, digits) == pytest.approx(float(expected.flipped.double().mean()))
    task = Task(parameters={}, num_classes=10, labels=labels, epochs=1, true_labels=truth)
    assert torch.allclose(task.transition, expected.transition, atol=1e-12)


def test_a_transition_keeps_a_class_without_samples():
    labels, truth = torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1])
    task = Task(parameters={}, num_classes=3, labels=labels, epochs=1, true_labels=truth)
    expected = torch.tensor([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert torch.equal(task.transition.float(), expected)


def test_fields_of_noise_are_in_a_spec_that_uses_them_alone(digits):
    encoded = [
        msgspec.to_builtins(planned(digits, **changes))
        for changes in (
            {},
            {"noise": 0.2},
            {"noise": 0.2, "noise_kind": "pair"},
            {"noise": 0.2, "noise_kind": "asymmetric", "noise_map": MAPPING},
        )
    ]
    added = [set(each) & {"noise_kind", "noise_map", "noisy_labels"} for each in encoded]
    assert added == [set(), set(), {"noise_kind"}, {"noise_kind", "noise_map"}]
    # As an earlier version has named them.
    settings = compare.Settings(methods=("hard",), seeds=1, epochs=7, noise=0.2)
    assert compare.plan(settings, digits)[0].run_id == "hard-seed0-04da87f30b0c"


def test_a_record_without_noise_says_nothing_of_it(tmp_path):
    comparison = compare.compare(compare.Settings(methods=("ls",), seeds=1, epochs=1), tmp_path)
    [(folder, _)] = comparison.runs["ls"]
    content = json.loads((folder.path / "record.json").read_text())
    assert set(content) == {
        "format", "spec", "environment", "seconds", "history", "metrics", "scaled", "temperature",
        "temperature_at_bound", "examples", "arrays_sha256", "model_sha256", "content_sha256",
        "peak_memory",
    }  # fmt: skip
    assert set(content["spec"]) == {
        "data", "data_hash", "method", "parameters", "seed", "noise", "epochs", "teacher", "hidden",
        "batch_size", "learning_rate", "momentum", "weight_decay",
    }  # fmt: skip
    [row] = summary.summarise(comparison)
    assert (row.denoising, row.denoising_difference) == ({}, {})


def test_denoising_is_counted_by_sample():
    rng = np.random.default_rng(0)
    predicted, labels, truth = torch.from_numpy(rng.integers(0, 4, (3, 500)))
    found = denoised(predicted, labels, truth)
    rows = list(zip(predicted.tolist(), labels.tolist(), truth.tolist(), strict=True))
    assert found.clean == sum(y == t for p, y, t in rows)
    assert found.clean_as_true == sum(p == t for p, y, t in rows if y == t)
    assert found.mislabelled == 500 - found.clean
    assert found.as_true == sum(p == t for p, y, t in rows if y != t)
    assert found.as_given == sum(p == y for p, y, t in rows if y != t)


@pytest.fixture(scope="module")
def noisy_runs(tmp_path_factory, digits):
    folder = tmp_path_factory.mktemp("noisy")
    labels = np.zeros(digits.total, np.int64)
    labels[digits.positions] = noise.pair(
        digits.train.labels, 0.4, 10, generator=generator("test")
    ).labels
    np.save(folder / "human.npy", labels)
    settings = compare.Settings(
        methods=("hard", "ls", "forward"),
        seeds=2,
        epochs=2,
        noisy_labels=str(folder / "human.npy"),
    )
    return compare.compare(settings, folder / "out"), labels[digits.positions]


def test_a_run_on_labels_of_a_file_records_what_became_of_them(noisy_runs, digits):
    comparison, given = noisy_runs
    labels, truth = torch.from_numpy(given), digits.train.labels
    read = data.load("digits", comparison.settings.noisy_labels)
    for folder, record in comparison.runs["ls"]:
        assert torch.equal(training_labels(record.spec, read), labels)
        model = seeded_mlp(64, (128, 128), 10, 0)
        model.load_state_dict(folder.model_state())
        predicted = model(digits.train.inputs).argmax(-1)
        assert record.denoising == denoised(predicted, labels, truth)
        example = record.examples[0]
        assert (example.label, example.true_label) == (given[example.index], truth[example.index])


def test_the_summary_has_shares_by_seed_and_their_means(noisy_runs, tmp_path):
    comparison, _ = noisy_runs
    rows = summary.summarise(comparison)
    summary.write_summary(comparison, rows, tmp_path / "summary.json")
    written = json.loads((tmp_path / "summary.json").read_text())
    assert msgspec.convert(written["rows"], list[summary.Row]) == rows
    assert written["settings"]["noisy_labels"] == "human.npy"
    base = written["values"]["hard"]["denoising"]
    for row in rows:
        values = written["values"][row.method]["denoising"]
        assert {key: summary.mean_over_seeds(each) for key, each in values.items()} == row.denoising
        for seed, record in enumerate(comparison.records(row.method)):
            parts = [values[key][seed] for key in ("as_true", "as_given", "as_other")]
            assert sum(parts) == pytest.approx(1)
            counts = record.denoising
            assert values["as_true"][seed] == counts.as_true / counts.mislabelled
            assert values["clean_as_true"][seed] == counts.clean_as_true / counts.clean
        if row.method != "hard":
            gaps = [a - b for a, b in zip(values["as_true"], base["as_true"], strict=True)]
            assert row.denoising_difference["as_true"] == summary.mean_over_seeds(gaps)


def test_validation_and_test_labels_stay_clean(noisy_runs, digits):
    comparison, _ = noisy_runs
    for arrays in comparison.arrays("ls"):
        assert np.array_equal(arrays["validation_labels"], digits.validation.labels)
        assert np.array_equal(arrays["test_labels"], digits.test.labels)


def test_noise_that_cannot_be_undone_is_found_before_anything_is_computed(digits, tmp_path):
    labels = np.zeros(digits.total, np.int64)
    labels[digits.positions] = digits.train.labels // 2  # classes in pairs: a singular transition
    np.save(tmp_path / "n.npy", labels)
    settings = compare.Settings(
        methods=("hard", "backward"), seeds=1, epochs=1, noisy_labels=str(tmp_path / "n.npy")
    )
    with pytest.raises(LabError, match=r"backward cannot be trained on these labels: .* leave it"):
        compare.compare(settings, tmp_path / "out")
    assert not list((tmp_path / "out" / "runs").iterdir())


def test_a_class_with_fewer_labels_than_folds_is_found_before_anything_is_computed(
    digits, tmp_path
):
    labels = np.zeros(digits.total, np.int64)
    given = digits.train.labels.numpy().copy()
    given[np.flatnonzero(given == 7)[4:]] = 0
    labels[digits.positions] = given
    np.save(tmp_path / "n.npy", labels)
    settings = compare.Settings(
        methods=("hard", "forward-est"), seeds=1, epochs=1, noisy_labels=str(tmp_path / "n.npy")
    )
    message = r"forward-est cannot estimate .* got 4 of class 7; .* leave it out of --methods"
    with pytest.raises(LabError, match=message):
        compare.compare(settings, tmp_path / "out")
    assert not list((tmp_path / "out" / "runs").iterdir())


def test_noise_of_a_file_is_estimated_and_goes_on_after_an_interrupt(noisy_runs, tmp_path):
    settings = compare.Settings(
        methods=("forward-est",),
        seeds=1,
        epochs=2,
        noisy_labels=noisy_runs[0].settings.noisy_labels,
    )

    def interrupt(spec, epoch):
        if epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare.compare(settings, tmp_path / "torn", compare.Progress(epoch=interrupt))
    torn = compare.compare(settings, tmp_path / "torn")
    whole = compare.compare(settings, tmp_path / "whole")
    [ours], [theirs] = torn.arrays("forward-est"), whole.arrays("forward-est")
    assert ours.keys() == theirs.keys() >= {"transition_estimated", "transition_drawn"}
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    [row] = summary.summarise(torn)
    assert row.transition_error.value == torn.records("forward-est")[0].transition_error


def test_mappings():
    assert parse_mapping(()) == ()
    assert parse_mapping(("9:1", "3:5")) == MAPPING
    for wrong in ("9", "9:", ":1", "a:1", "9:-1", "9:1:2"):
        with pytest.raises(LabError, match="--noise-map must hold pairs FROM:TO"):
            parse_mapping((wrong,))
    with pytest.raises(LabError, match="each class once before the colon"):
        parse_mapping(("9:1", "9:2"))


@pytest.mark.parametrize("pair", [(3, 10), (10, 3), (3, 3)])
def test_a_mapping_leads_to_another_class(tmp_path, pair):
    settings = compare.Settings(
        methods=("hard",), seeds=1, noise=0.2, noise_kind="asymmetric", noise_map=(pair,)
    )
    message = rf"from one of the classes 0 .. 9 to another, got {pair[0]}:{pair[1]}"
    with pytest.raises(LabError, match=message):
        compare.compare(settings, tmp_path)
