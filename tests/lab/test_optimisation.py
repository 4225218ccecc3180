"""Learning rates and averages against torch's own schedulers and a recursion written out."""

import copy

import pytest
import torch

from softtargets.lab.averaging import AveragedModel
from softtargets.lab.optimisation import learning_rate, optimizer
from softtargets.lab.spec import RunSpec

EPOCHS, STEPS = 12, 7
SCHEDULERS = torch.optim.lr_scheduler


def spec(**fields):
    usual = {"data": "", "data_hash": "", "method": "ls", "parameters": {}, "seed": 0, "noise": 0.0}
    return RunSpec(**(usual | {"epochs": EPOCHS, "learning_rate": 0.4} | fields))


def rates(spec):
    return [
        learning_rate(spec, epoch, step, STEPS)
        for epoch in range(spec.epochs)
        for step in range(STEPS)
    ]


def torchs(make, *, by_step):
    """What a scheduler of torch sets, step by step."""
    parameters = [torch.nn.Parameter(torch.zeros(1))]
    sgd = torch.optim.SGD(parameters, lr=0.4)
    scheduler, found = make(sgd), []
    for _ in range(EPOCHS):
        for _ in range(STEPS):
            found.append(sgd.param_groups[0]["lr"])
            sgd.step()
            if by_step and len(found) < EPOCHS * STEPS:
                scheduler.step()
        if not by_step:
            scheduler.step()
    return found


def warmed(make):
    """Epochs 0 and 1 rise linearly, step by step; from then on, what `make` says of 10 epochs."""
    rising = [0.4 * (step + 1) / (2 * STEPS) for step in range(2 * STEPS)]
    return [*rising, *torchs(make, by_step=False)[: 10 * STEPS]]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {},
            lambda: torchs(lambda sgd: SCHEDULERS.CosineAnnealingLR(sgd, EPOCHS), by_step=False),
        ),
        (
            {"schedule": "step"},
            lambda: torchs(lambda sgd: SCHEDULERS.MultiStepLR(sgd, [6, 9]), by_step=False),
        ),
        ({"schedule": "constant"}, lambda: [0.4] * (EPOCHS * STEPS)),
        (
            {"schedule": "one-cycle"},
            lambda: torchs(
                lambda sgd: SCHEDULERS.OneCycleLR(
                    sgd, 0.4, EPOCHS * STEPS, cycle_momentum=False
                ),
                by_step=True,
            ),
        ),
        (
            {"warm_up": 2},
            lambda: warmed(lambda sgd: SCHEDULERS.CosineAnnealingLR(sgd, EPOCHS - 2)),
        ),
        (
            {"warm_up": 2, "schedule": "step"},
            lambda: warmed(lambda sgd: SCHEDULERS.MultiStepLR(sgd, [5, 8])),
        ),
    ],
)  # fmt: skip
def test_learning_rates_are_those_of_torch(fields, expected):
    assert rates(spec(**fields)) == pytest.approx(expected(), abs=1e-12)


@pytest.mark.parametrize("epochs", [1, 2, 3])
@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("schedule", ["cosine", "step", "one-cycle", "constant"])
def test_short_runs_have_rates_between_0_and_the_highest(epochs, steps, schedule):
    short = spec(epochs=epochs, schedule=schedule)
    found = [learning_rate(short, e, s, steps) for e in range(epochs) for s in range(steps)]
    assert all(0 < rate <= 0.4 for rate in found)


def test_optimisers_are_torchs_with_the_settings_of_the_spec():
    parameters = [torch.nn.Parameter(torch.zeros(1))]
    adam = optimizer(spec(optimizer="adamw", momentum=0.8, weight_decay=0.3), parameters)
    assert type(adam) is torch.optim.AdamW
    [group] = adam.param_groups
    assert (group["betas"], group["weight_decay"], group["lr"]) == ((0.8, 0.999), 0.3, 0.4)
    [group] = optimizer(spec(), parameters).param_groups
    assert (group["momentum"], group["nesterov"], group["weight_decay"]) == (0.9, True, 5e-4)
    [group] = optimizer(spec(momentum=0.0), parameters).param_groups
    assert (group["momentum"], group["nesterov"]) == (0.0, False)


def test_an_average_is_its_recursion_and_its_buffers_are_the_models():
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    averaged = AveragedModel(model, 0.5)
    expected = [weights.detach().double() for weights in model.parameters()]
    for t in range(1, 12):
        with torch.no_grad():
            for weights in model.parameters():
                weights.normal_()
        model(torch.randn(5, 3))
        if t == 6:  # saved and restored on the way
            saved = copy.deepcopy(averaged.state_dict())
            averaged = AveragedModel(torch.nn.Sequential(*map(copy.deepcopy, model)), 0.5)
            averaged.load_state_dict(saved)
        averaged.update(model)
        decay = min(0.5, (1 + t) / (10 + t))
        expected = [
            decay * mean + (1 - decay) * weights.detach().double()
            for mean, weights in zip(expected, model.parameters(), strict=True)
        ]
    for mean, weights in zip(expected, averaged.model.parameters(), strict=True):
        torch.testing.assert_close(weights.double(), mean, atol=1e-6, rtol=0)
        assert not weights.requires_grad
    for ours, theirs in zip(averaged.model.buffers(), model.buffers(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"optimizer": "adam"}, "`optimizer` must be one of sgd, adamw, got 'adam'"),
        ({"schedule": "linear"}, "`schedule` must be one of cosine, step, one-cycle, constant"),
        ({"precision": "int8"}, "`precision` must be one of float32, bfloat16, float16"),
        ({"device": "tpu"}, "`device` must be one of cpu, cuda, got 'tpu'"),
        ({"precision": "float16"}, "`precision` float16 needs .* CUDA device; take bfloat16"),
        ({"learning_rate": 0.0}, "`learning_rate` must be positive and finite, got 0.0"),
        ({"learning_rate": float("nan")}, "`learning_rate` must be positive and finite, got nan"),
        ({"learning_rate": True}, "`learning_rate` must be positive and finite, got True"),
        ({"momentum": 1.0}, r"`momentum` must be in \[0, 1\), got 1.0"),
        ({"weight_decay": -1e-4}, "`weight_decay` must be at least 0 and finite"),
        ({"average": 1.0}, r"`average` must be in \(0, 1\), got 1.0"),
        ({"clip": 0.0}, "`clip` must be positive and finite"),
        ({"batch_size": 0}, "`batch_size` must be a whole number from 1 to 1000000, got 0"),
        ({"accumulate": 1.5}, "`accumulate` must be a whole number .* got 1.5"),
        ({"patience": True}, "`patience` must be a whole number .* got True"),
        ({"warm_up": EPOCHS}, "`warm_up` must leave epochs to train in, got 12 of 12"),
        ({"warm_up": 1, "schedule": "one-cycle"}, "`warm_up` does not go with .* one-cycle"),
        ({"hidden": (8,), "model": "cnn"}, "`hidden` is for the model mlp, and cnn has layers"),
        ({"batch_size": 7, "accumulate": 4, "ranks": 2}, "`batch_size` must give each part .* 8"),
    ],
)  # fmt: skip
def test_a_spec_of_training_that_makes_no_sense(fields, message):
    with pytest.raises(ValueError, match=message):
        spec(**fields)
