import copy

import pytest
import torch
from torch import nn

from softtargets.lab.models import build
from softtargets.lab.synthetic.networks import Lesson, Networks, Schooling, train

SCHOOLING = Schooling(epochs=60, patience=3)


def models(count):
    return [build("mlp", (2,), 3, seed, hidden=(16, 16, 16)).double() for seed in range(count)]


def lesson(count, samples=30):
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randn(count, 2 * samples, 2, generator=generator, dtype=torch.float64)
    truth = (numbers.sum(-1) > 0).long() + (numbers[..., 0] > 0.5).long()
    flipped = torch.rand(truth.shape, generator=generator) < 0.2
    truth = torch.where(flipped, (truth + 1) % 3, truth)
    targets = 0.9 * nn.functional.one_hot(truth[:, :samples], 3).double() + 0.1 / 3
    return Lesson(numbers[:, :samples], targets, numbers[:, samples:], truth[:, samples:])


def alone(model, lesson, schooling):
    """The same in plain PyTorch: the best weights, their validation NLL and their epoch."""
    model = copy.deepcopy(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=schooling.learning_rate)
    least, best, at = torch.inf, None, 0
    for epoch in range(1, schooling.epochs + 1):
        loss = nn.functional.cross_entropy(model(lesson.inputs[0]), lesson.targets[0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            nll = nn.functional.cross_entropy(model(lesson.held_out[0]), lesson.truth[0])
        if nll < least:
            least, best, at = float(nll), copy.deepcopy(model), epoch
        if epoch - at >= schooling.patience:
            break
    return best, least, at


def test_logits_are_those_of_the_models():
    single = models(4)
    inputs = lesson(4).inputs
    together = Networks.stacked(single).logits(inputs)
    for model, rows, logits in zip(single, inputs, together, strict=True):
        torch.testing.assert_close(logits, model(rows))


def test_each_network_is_trained_as_if_alone():
    single, whole = models(12), lesson(12)
    trained = train(Networks.stacked(single), whole, SCHOOLING)
    logits = trained.networks.logits(whole.inputs)
    for place, model in enumerate(single):
        own = whole.take(torch.tensor([place]))
        best, least, at = alone(model, own, SCHOOLING)
        assert int(trained.epochs[place]) == at
        assert float(trained.validation_nll[place]) == pytest.approx(least, rel=1e-9)
        torch.testing.assert_close(logits[place], best(own.inputs[0]), rtol=1e-7, atol=1e-9)
    assert len(set(trained.epochs.tolist())) > 3  # they stopped at different times


def test_the_last_epoch_can_be_the_best():
    single, whole = models(3), lesson(3)
    schooling = Schooling(epochs=4, patience=10)
    trained = train(Networks.stacked(single), whole, schooling)
    expected = [
        alone(model, whole.take(torch.tensor([place])), schooling)[2]
        for place, model in enumerate(single)
    ]
    assert trained.epochs.tolist() == expected
    assert 4 in expected


def test_the_given_networks_stay_as_they_are():
    networks, whole = Networks.stacked(models(2)), lesson(2)
    before = [each.clone() for each in networks.parameters()]
    train(networks, whole, SCHOOLING)
    assert all(map(torch.equal, networks.parameters(), before))


def test_lessons_are_joined_in_order():
    whole = lesson(5)
    first, second = whole.take(torch.tensor([0, 1])), whole.take(torch.tensor([2, 3, 4]))
    assert torch.equal(Lesson.joined([first, second]).targets, whole.targets)
    assert torch.equal(Lesson.joined([first, second]).truth, whole.truth)
