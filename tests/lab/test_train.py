"""Whole runs, computed again in a plain loop with dense targets, torch's SGD and autograd."""

import hashlib
import math

import msgspec
import pytest
import torch

from softtargets.lab import compare, data, train
from softtargets.lab.errors import LabError
from softtargets.lab.methods import METHODS
from softtargets.lab.records import RunFolder

EPOCHS, BATCH, CLASSES = 3, 64, 10
SETTINGS = compare.Settings(seeds=1, epochs=EPOCHS, noise=0.1)


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    compare.use_threads(1)
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


def onehot(labels):
    return torch.eye(CLASSES)[labels]


class Hard:
    def targets(self, labels, batch, logits):
        return onehot(labels)

    def end_epoch(self):
        pass


class Even(Hard):
    """LS: 0.9 on the label and 0.1 / K on every class."""

    def targets(self, labels, batch, logits):
        return 0.9 * onehot(labels) + 0.1 / CLASSES


class Online(Hard):
    """OLS: half the label, half the average of last epoch's right predictions of that class."""

    def __init__(self):
        self.matrix = torch.full((CLASSES, CLASSES), 1 / CLASSES)
        self.seen = [[] for _ in range(CLASSES)]

    def targets(self, labels, batch, logits):
        for label, row in zip(labels.tolist(), logits.detach(), strict=True):
            if int(row.argmax()) == label:
                self.seen[label].append(row.softmax(-1))
        return 0.5 * onehot(labels) + 0.5 * self.matrix[labels]

    def end_epoch(self):
        rows = zip(self.seen, self.matrix, strict=True)
        self.matrix = torch.stack([torch.stack(new).mean(0) if new else old for new, old in rows])
        self.seen = [[] for _ in range(CLASSES)]


class Instance(Hard):
    """ILS: the teacher says how much moves (or a tenth does), and where to (or evenly)."""

    def __init__(self, logits, temperature, *, how_much, where):
        self.confidence = (logits / temperature).softmax(-1)
        self.plain = logits.softmax(-1)
        self.how_much, self.where = how_much, where

    def targets(self, labels, batch, logits):
        rows = []
        for label, sample in zip(labels.tolist(), batch.tolist(), strict=True):
            p = float(self.confidence[sample, label])
            rate = min(1.5 * (p - 0.95) ** 2, 0.2) if self.how_much else 0.1
            spread = self.plain[sample].clone() if self.where else torch.ones(CLASSES)
            spread[label] = 0
            row = rate * spread / spread.sum()
            row[label] = 1 - rate
            rows.append(row)
        return torch.stack(rows)


def targets_of(method, recorded, digits):
    """The targets of a method, its teacher's logits from the recorded weights of the hard run."""
    plain = {"hard": Hard, "ls": Even, "ols": Online}
    if method in plain:
        return plain[method]()
    [(folder, record)] = recorded.runs["hard"]
    teacher = network()
    weights = folder.model_state().values()
    teacher.load_state_dict(dict(zip(teacher.state_dict(), weights, strict=True)))
    with torch.no_grad():
        logits = teacher(digits.train.inputs.flatten(1))
    how_much, where = method in ("ils1", "ils"), method in ("ils2", "ils")
    return Instance(logits, record.temperature, how_much=how_much, where=where)


def given_labels(digits):
    """The labels after noise, drawn as documented: `softtargets.noise` has tests of its own."""
    from softtargets.noise import symmetric

    return symmetric(digits.train.labels, 0.1, CLASSES, generator=seeded("noise", 0)).labels


def trained(policy, digits):
    """Return test logits after Nesterov SGD with a cosine schedule, in the documented order."""
    inputs, labels = digits.train.inputs.flatten(1), given_labels(digits)
    model = network()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    for epoch in range(EPOCHS):
        optimizer.param_groups[0]["lr"] = 0.1 * 0.5 * (1 + math.cos(math.pi * epoch / EPOCHS))
        order = torch.randperm(len(labels), generator=seeded("order", 0, epoch))
        for batch in order.split(BATCH):
            logits = model(inputs[batch])
            target = policy.targets(labels[batch], batch, logits)
            loss = -(target * logits.log_softmax(-1)).sum(-1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        policy.end_epoch()
    with torch.no_grad():
        return model(digits.test.inputs.flatten(1))


@pytest.mark.parametrize("method", METHODS)
def test_a_run_is_what_a_plain_loop_computes(method, recorded, digits):
    [arrays] = recorded.arrays(method)
    expected = trained(targets_of(method, recorded, digits), digits)
    assert (torch.from_numpy(arrays["test_logits"]) - expected).abs().max() < 1e-4


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
