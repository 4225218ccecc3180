"""Whole runs, computed again in a plain loop with dense targets, torch's SGD and autograd."""

import hashlib
import math
from functools import partial

import msgspec
import numpy
import pytest
import torch

from softtargets import calibration
from softtargets.lab import compare, data, train
from softtargets.lab.errors import LabError
from softtargets.lab.methods import METHODS
from softtargets.lab.records import RunFolder
from tests.lab import plain

EPOCHS, BATCH, CLASSES, RATE = 3, 64, 10, 0.02
SETTINGS = compare.Settings(methods=tuple(METHODS), seeds=1, epochs=EPOCHS, noise=0.1)


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    compare.use_threads(1)
    spec_of = compare._spec
    with pytest.MonkeyPatch.context() as patch:
        # At the usual rate some methods blow up rounding; a slower run is as good a test.
        patch.setattr(
            compare,
            "_spec",
            lambda *given: msgspec.structs.replace(spec_of(*given), learning_rate=RATE),
        )
        # Nothing here looks at intervals, which take most of the time of so short a run.
        patch.setattr(calibration, "evaluate", partial(calibration.evaluate, bootstrap=2))
        return compare.compare(SETTINGS, tmp_path_factory.mktemp("runs"))


def seeded(*parts):
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def network():
    """64 - 128 - 128 - 10 with ReLU, torch's initial weights under the run's seed."""
    torch.manual_seed(seeded("weights", 0).initial_seed())
    return torch.nn.Sequential(
        torch.nn.Linear(64, 128),
        torch.nn.ReLU(),
        torch.nn.Linear(128, 128),
        torch.nn.ReLU(),
        torch.nn.Linear(128, CLASSES),
    )


def teacher_of(method, recorded, digits):
    """A teacher's logits of the training data, from its recorded weights, and temperature."""
    [(folder, record)] = recorded.runs[METHODS[method].teacher or "hard"]
    teacher = network()
    weights = folder.model_state().values()
    teacher.load_state_dict(dict(zip(teacher.state_dict(), weights, strict=True)))
    with torch.no_grad():
        return teacher(digits.train.inputs.flatten(1)), record.temperature


def given_labels(digits):
    """The labels after noise, drawn as documented: `softtargets.noise` has tests of its own."""
    from softtargets.noise import symmetric

    return symmetric(digits.train.labels, 0.1, CLASSES, generator=seeded("noise", 0)).labels


def trained(method, digits):
    """Return test logits after Nesterov SGD with a cosine schedule, in the documented order."""
    inputs, labels = digits.train.inputs.flatten(1), given_labels(digits)
    model = network()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=RATE, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    for epoch in range(EPOCHS):
        optimizer.param_groups[0]["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * epoch / EPOCHS))
        order = torch.randperm(len(labels), generator=seeded("order", 0, epoch))
        mixing = seeded("mixing", 0, epoch)
        for batch in order.split(BATCH):
            loss = method.loss(model, inputs[batch], labels[batch], batch, mixing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        method.end_epoch()
    with torch.no_grad():
        return model(digits.test.inputs.flatten(1))


@pytest.mark.parametrize("method", METHODS)
def test_a_run_is_what_a_plain_loop_computes(method, recorded, digits):
    [arrays] = recorded.arrays(method)
    truth, taught = digits.train.labels, teacher_of(method, recorded, digits)
    estimated = torch.from_numpy(arrays.get("transition_estimated", numpy.eye(CLASSES)))
    given = plain.Given(given_labels(digits), truth, *taught, EPOCHS, estimated)
    expected = trained(plain.METHODS[method](given), digits)
    assert (torch.from_numpy(arrays["test_logits"]) - expected).abs().max() < 1e-4


def test_the_noise_is_estimated_out_of_fold_by_hard_labels(recorded, digits):
    """Folds and counting are `softtargets.noise`'s, which has tests of its own."""
    from softtargets.noise import estimate_transition, out_of_fold_probs

    def fit(inputs, labels):
        model = network()
        optimizer = torch.optim.SGD(
            model.parameters(), lr=RATE, momentum=0.9, nesterov=True, weight_decay=0.01
        )
        for epoch in range(10):
            optimizer.param_groups[0]["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * epoch / 10))
            order = torch.randperm(len(labels), generator=seeded("order", 0, epoch))
            for batch in order.split(BATCH):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(model(inputs[batch]), labels[batch]).backward()
                optimizer.step()
        return torch.no_grad()(lambda inputs: model(inputs).double().softmax(-1))

    inputs, labels, truth = (
        digits.train.inputs.flatten(1),
        given_labels(digits),
        digits.train.labels,
    )
    generator = seeded("folds", 0)
    probs = out_of_fold_probs(fit, inputs, labels, CLASSES, folds=5, generator=generator)
    expected = estimate_transition(probs, labels, method="confident").numpy()
    [arrays], [record] = recorded.arrays("forward-est"), recorded.records("forward-est")
    numpy.testing.assert_allclose(arrays["transition_estimated"], expected, atol=1e-12)
    drawn = numpy.zeros((CLASSES, CLASSES))
    numpy.add.at(drawn, (truth.numpy(), labels.numpy()), 1)
    drawn /= drawn.sum(-1, keepdims=True)
    numpy.testing.assert_allclose(arrays["transition_drawn"], drawn, atol=1e-12)
    error = numpy.abs(expected - drawn).sum(-1).mean()
    assert record.transition_error == pytest.approx(error)
    assert 0 < error < 0.5 * numpy.abs(drawn - numpy.eye(CLASSES)).sum(-1).mean()
    for method in ("hard", "forward"):
        [other] = recorded.records(method)
        assert other.transition_error is msgspec.UNSET
        assert not {name for name in recorded.arrays(method)[0] if name.startswith("transition")}


@pytest.mark.parametrize("method", ["hard", "ols"])
@pytest.mark.parametrize("learning_rate", [1e6, 1e25])
def test_a_run_that_diverges_says_so_and_keeps_nothing(method, learning_rate, digits, tmp_path):
    specs = {spec.method: spec for spec in compare.plan(SETTINGS, digits)}
    spec = msgspec.structs.replace(specs[method], learning_rate=learning_rate)
    folder = RunFolder(tmp_path, spec.run_id)
    with pytest.raises(LabError, match=rf"{method}-seed0-.* diverged after . of 3 epochs: .*again"):
        train.run(spec, digits, folder, None)
    assert not folder.done
    assert folder.checkpoint() is None
