"""Every option of training, against the same done by hand in a plain loop."""

import copy
import hashlib

import numpy
import pytest
import torch

from softtargets.lab import compare, data, networks
from softtargets.lab.data import augment
from softtargets.lab.errors import LabError
from softtargets.lab.options import Training
from softtargets.lab.records import RunFolder
from softtargets.lab.session import Session, processes
from softtargets.lab.task import Teacher
from softtargets.lab.train import check_checkpoint, run
from tests.lab.small_runs import computed, planned

EPOCHS = 3


def seeded(*parts):
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def smoothed(model, batch, inputs, labels):
    return torch.nn.functional.cross_entropy(model(inputs), labels, label_smoothing=0.1)


def by_hand(
    rates, *, adam=False, clip=None, average=None, shift=None, loss=smoothed, precision=None
):
    """Train the digits' network for 3 epochs of 15 steps and return it, or its average."""
    digits = data.load("digits")
    inputs, labels = digits.train.take(slice(None)), digits.train.labels
    model = networks.build("mlp", (8, 8), 10, 0)
    if adam:
        optimizer = torch.optim.AdamW(model.parameters(), lr=1, weight_decay=0.01)
    else:
        optimizer = torch.optim.SGD(
            model.parameters(), lr=1, momentum=0.9, nesterov=True, weight_decay=5e-4
        )
    mean, updates = copy.deepcopy(model), 0
    for epoch in range(EPOCHS):
        order = torch.randperm(len(labels), generator=seeded("order", 0, epoch))
        draws = seeded("augmentation", 0, epoch)
        for step, batch in enumerate(order.split(64)):
            optimizer.param_groups[0]["lr"] = rates(epoch, step)
            shown = inputs[batch] if shift is None else augment(shift, inputs[batch], draws)
            with torch.autocast("cpu", torch.bfloat16, enabled=precision is not None):
                value = loss(model, batch, shown, labels[batch])
            optimizer.zero_grad()
            value.backward()
            if clip is not None:
                norm = torch.cat([each.grad.flatten() for each in model.parameters()]).norm()
                for each in model.parameters():
                    each.grad *= min(1.0, clip / float(norm))
            optimizer.step()
            updates += 1
            decay = min(average or 0.0, (1 + updates) / (10 + updates))
            with torch.no_grad():
                for ours, theirs in zip(mean.parameters(), model.parameters(), strict=True):
                    ours.mul_(decay).add_(theirs, alpha=1 - decay)
    return mean


def logits_of(model):
    with torch.no_grad():
        return model(data.load("digits").test.take(slice(None)))


def cosine(highest):
    return lambda epoch, step: highest * [1, 0.75, 0.25][epoch]


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ({"optimizer": "adamw"}, {"rates": cosine(1e-3), "adam": True}),
        (
            {"schedule": "constant", "learning_rate": 0.02},
            {"rates": lambda epoch, step: 0.02},
        ),
        (
            {"warm_up": 1, "schedule": "constant", "learning_rate": 0.03},
            {"rates": lambda epoch, step: 0.03 * ((step + 1) / 15 if epoch == 0 else 1)},
        ),
        ({"clip": 0.3, "learning_rate": 0.05}, {"rates": cosine(0.05), "clip": 0.3}),
        ({"average": 0.9, "learning_rate": 0.05}, {"rates": cosine(0.05), "average": 0.9}),
        ({"augment": "shift", "learning_rate": 0.05}, {"rates": cosine(0.05), "shift": "shift"}),
        ({"accumulate": 4, "learning_rate": 0.05}, {"rates": cosine(0.05)}),
    ],
    ids=lambda value: "-".join(map(str, value)),
)
def test_an_option_does_what_it_says(options, arguments, tmp_path):
    folder, _ = computed(tmp_path, options)
    expected = logits_of(by_hand(**arguments))
    usual = logits_of(by_hand(cosine(options.get("learning_rate", 0.1))))
    found = torch.from_numpy(folder.arrays()["test_logits"])
    assert (found - expected).abs().max() < 1e-4
    if "accumulate" not in options:
        assert (found - usual).abs().max() > 0.05


def test_bfloat16_is_of_the_forward_pass_alone(tmp_path):
    folder, record = computed(tmp_path, {"precision": "bfloat16", "learning_rate": 0.05})

    def loss(model, batch, inputs, labels):
        logits = model(inputs)
        assert logits.dtype == torch.bfloat16
        return torch.nn.functional.cross_entropy(logits.float(), labels, label_smoothing=0.1)

    expected = logits_of(by_hand(cosine(0.05), precision="bfloat16", loss=loss))
    found = torch.from_numpy(folder.arrays()["test_logits"])
    assert (found - expected).abs().max() < 0.01
    assert (found - logits_of(by_hand(cosine(0.05)))).abs().max() > 1e-3
    assert {each.dtype for each in folder.model_state().values()} == {torch.float32}
    assert record.history[-1].validation_accuracy > 0.8


def test_a_batch_in_parts_is_the_batch(tmp_path):
    """MixUp and OLS see the whole batch, or its sums: losses are the same to 1e-6."""
    for method in ("mixup", "ols"):
        whole, parts = (
            computed(tmp_path, {"learning_rate": 0.02} | options, method=method)[1].history
            for options in ({}, {"accumulate": 5})
        )
        for ours, theirs in zip(parts, whole, strict=True):
            assert ours.loss == pytest.approx(theirs.loss, abs=1e-6)
            assert ours.validation_nll == pytest.approx(theirs.validation_nll, abs=2e-6)


def test_a_run_that_stops_early_keeps_its_best_weights(tmp_path):
    told = []
    options = {"patience": 2, "schedule": "constant", "learning_rate": 0.5}
    folder, record = computed(tmp_path, options, epochs=30, method="hard", on_epoch=told.append)
    values = [epoch.validation_nll for epoch in record.history]
    assert len(values) < 30
    assert values.index(min(values)) == len(values) - 3
    assert told == [*range(len(values) + 1), 30]
    arrays = {name: torch.from_numpy(array) for name, array in folder.arrays().items()}
    kept = torch.nn.functional.cross_entropy(
        arrays["validation_logits"], arrays["validation_labels"]
    )
    assert float(kept) == pytest.approx(min(values), abs=1e-6)
    assert min(values) < values[-1] - 0.01


def test_the_first_samples_are_measured(tmp_path):
    _, whole = computed(tmp_path, {}, epochs=1)
    folder, part = computed(tmp_path, {"measured": 100}, epochs=1)
    digits, spec = planned({}, epochs=1)
    model = networks.network(spec, digits)
    model.load_state_dict(folder.model_state())
    with torch.no_grad():
        predicted = model(digits.train.take(slice(0, 100))).argmax(-1)
    expected = (predicted == digits.train.labels[:100]).double().mean()
    assert part.history[0].train_accuracy == pytest.approx(float(expected), abs=1e-9)
    assert part.history[0].train_accuracy != whole.history[0].train_accuracy
    assert part.history[0].validation_nll == whole.history[0].validation_nll


def test_kept_features_and_layer_make_the_logits(tmp_path):
    folder, _ = computed(tmp_path, {"keep_features": True, "average": 0.5}, epochs=1)
    arrays = folder.arrays()
    assert arrays["test_features"].dtype == numpy.float32
    made = arrays["test_features"] @ arrays["head_weight"].T + arrays["head_bias"]
    numpy.testing.assert_allclose(made, arrays["test_logits"], atol=1e-4)


def test_a_teacher_sees_the_augmented_samples(tmp_path):
    digits = data.load("digits")
    teacher = networks.build("mlp", (8, 8), 10, 7)
    taught = Teacher(logits=torch.zeros(len(digits.train), 10), temperature=1.0, model=teacher)
    options = {"augment": "shift", "learning_rate": 0.05}
    folder, _ = computed(tmp_path, options, method="distill-ls", teacher=taught)

    def loss(model, batch, inputs, labels):
        with torch.no_grad():
            said = teacher(inputs).softmax(-1)
        return torch.nn.functional.cross_entropy(model(inputs), said)

    expected = logits_of(by_hand(cosine(0.05), shift="shift", loss=loss))
    found = torch.from_numpy(folder.arrays()["test_logits"])
    assert (found - expected).abs().max() < 1e-4


def test_runs_of_before_keep_their_names():
    """Renamed runs would all be computed again."""
    settings = compare.Settings(seeds=1)
    names = [spec.run_id for spec in compare.plan(settings, data.load("digits"))]
    assert names == [
        "hard-seed0-508ea48af91a",
        "ls-seed0-2ba74f93a6d7",
        "ols-seed0-6567b026e7f7",
        "ils1-seed0-41fc806ce7b8",
        "ils2-seed0-edd08fc4b4bc",
        "ils-seed0-1673e798713d",
    ]
    spelled = {"model": "mlp", "optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 5e-4}
    assert planned(spelled, epochs=40)[1].run_id in names


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": -1.0}, "--learning-rate must be positive and finite, got -1.0"),
        ({"batch_size": 2, "accumulate": 3}, r"--batch-size .* \(--accumulate times --ranks\)"),
        ({"precision": "float16"}, "--precision float16 needs"),
    ],
)
def test_options_that_make_no_sense_are_named_as_on_the_command_line(options, message):
    with pytest.raises(LabError, match=message):
        compare.Settings(training=Training(**options))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"model": "vgg"}, "unknown model 'vgg'"), ({"augment": "blur"}, "unknown augmentation")],
)
def test_names_are_checked_before_anything_is_computed(options, message, tmp_path):
    digits, spec = planned(options)
    with pytest.raises(LabError, match=message):
        check_checkpoint(spec, digits, RunFolder(tmp_path, spec.run_id))


def test_a_run_for_several_processes_needs_them(tmp_path, monkeypatch):
    digits, spec = planned({"ranks": 2})
    with pytest.raises(LabError, match=r"is for 2 ranks, got 1; start as many with --ranks"):
        run(spec, digits, RunFolder(tmp_path, spec.run_id), None)
    settings = compare.Settings(training=Training(ranks=2))
    with pytest.raises(LabError, match=r"--ranks 2 does not go with --on processes:2"):
        compare.compare(settings, tmp_path, on="processes:2")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(LabError, match="torchrun has started 2 processes, --ranks says 1"):
        processes(1).__enter__()


def test_a_last_batch_that_batch_normalisation_cannot_use(tmp_path, monkeypatch):
    layers = torch.nn.Flatten(), torch.nn.Linear(64, 10), torch.nn.BatchNorm1d(10)
    monkeypatch.setattr(networks, "build", lambda *given: torch.nn.Sequential(*layers))
    with pytest.raises(LabError, match=r"a part of one sample .* choose another --batch-size"):
        computed(tmp_path, {"batch_size": 69})  # 898 = 13 * 69 + 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there(tmp_path):
    digits, spec = planned({"device": "cuda"})
    with pytest.raises(LabError, match=r"--device cuda needs .* has 0; leave it out"):
        run(spec, digits, RunFolder(tmp_path, spec.run_id), None)


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("samples", [1, 2, 7, 64])
def test_ranks_share_a_batch_out(ranks, count, samples):
    sessions = [Session(torch.device("cpu"), rank=rank, ranks=ranks) for rank in range(ranks)]
    parts = [part for each in sessions for part in each.parts(samples, count)]
    assert len(parts) == ranks * count
    assert [index for part in parts for index in range(samples)[part]] == list(range(samples))
