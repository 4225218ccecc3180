import hashlib
import sys
import types

import pytest
import torch
from torch import nn

from softtargets.lab.errors import LabError
from softtargets.lab.models import MODELS, build, penultimate, seeded_mlp

LIGHT = ("mlp", "cnn", "lenet", "resnet8", "resnet20")


def weights(model):
    return sum(each.numel() for each in model.parameters())


def digest(model):
    state = b"".join(each.detach().numpy().tobytes() for each in model.parameters())
    return hashlib.sha256(state).hexdigest()[:12]


@pytest.mark.parametrize(
    ("name", "shape", "classes", "count"),
    [
        ("lenet", (28, 28), 10, 61_706),  # LeCun 1998, layers fully connected
        ("resnet20", (3, 32, 32), 10, 0.27e6),  # He 2015, table 6
        ("resnet32", (3, 32, 32), 10, 0.46e6),
        ("resnet56", (3, 32, 32), 10, 0.85e6),
        ("resnet18", (3, 32, 32), 10, 11.17e6),
        ("resnet18", (3, 224, 224), 1000, 11.69e6),  # as published with weights for ImageNet
        ("resnet34", (3, 224, 224), 1000, 21.80e6),
        ("resnet50", (3, 224, 224), 1000, 25.56e6),
    ],
)
def test_weights_are_as_many_as_in_the_papers(name, shape, classes, count):
    tolerance = 0 if count < 1e5 else 0.005e6
    assert abs(weights(build(name, shape, classes, seed=0)) - count) <= tolerance


SHAPES = [(name, (3, 32, 32)) for name in MODELS]
SHAPES += [(name, shape) for name in LIGHT for shape in ((28, 28), (16, 20, 3))]


@pytest.mark.parametrize(("name", "shape"), SHAPES)
def test_the_last_layer_of_the_penultimate_features_is_the_model(name, shape):
    model = build(name, shape, 7, seed=0).eval()
    inputs = torch.randn(2, *shape)
    features, head = penultimate(model)
    with torch.no_grad():
        logits = model(inputs)
        assert logits.shape == (2, 7)
        assert torch.equal(head(features(inputs)), logits)
        assert features(inputs).shape == (2, head.in_features)


@pytest.mark.parametrize("name", LIGHT)
def test_every_weight_learns_and_training_on_one_batch_works(name):
    model = build(name, (8, 8) if name == "mlp" else (1, 28, 28), 4, seed=0)
    shape = (8, 8, 8) if name == "mlp" else (8, 1, 28, 28)
    inputs, labels = torch.randn(shape), torch.arange(8) % 4
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        loss = nn.functional.cross_entropy(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        assert all(each.grad.abs().sum() > 0 for each in model.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("name", LIGHT)
def test_a_seed_decides_the_weights_and_nothing_else_is_drawn(name):
    state = torch.get_rng_state()
    first, again, other = (build(name, (28, 28), 10, seed) for seed in (3, 3, 4))
    assert digest(first) == digest(again) != digest(other)
    assert torch.equal(state, torch.get_rng_state())


def test_weights_of_the_perceptron_are_those_of_earlier_runs():
    assert digest(build("mlp", (8, 8), 10, seed=3)) == digest(seeded_mlp(64, (128, 128), 10, 3))
    assert digest(build("mlp", (8, 8), 10, seed=3)) == "5c0da61afd9f"
    assert digest(build("mlp", (2,), 3, seed=0, hidden=(64,) * 5)) == digest(
        seeded_mlp(2, (64,) * 5, 3, 0)
    )


def test_grey_and_colour_pictures_in_every_layout_are_the_same_to_a_model():
    model = build("resnet8", (3, 20, 24), 5, seed=0).eval()
    last = build("resnet8", (20, 24, 3), 5, seed=0).eval()
    pictures = torch.randn(2, 3, 20, 24)
    torch.testing.assert_close(model(pictures), last(pictures.movedim(1, -1)))
    grey, flat = (build("cnn", shape, 5, seed=0).eval() for shape in ((1, 28, 28), (28, 28)))
    pictures = torch.randn(2, 28, 28)
    assert torch.equal(grey(pictures[:, None]), flat(pictures))


def test_shortcuts_of_small_residual_networks_have_no_weights():
    shortcuts = [
        module.shortcut
        for module in build("resnet20", (3, 32, 32), 10, seed=0).modules()
        if hasattr(module, "shortcut")
    ]
    assert len(shortcuts) == 9
    assert not any(list(each.parameters()) for each in shortcuts)
    ramp = torch.arange(2 * 16.0).reshape(1, 2, 4, 4)
    moved = type(shortcuts[3])(4, 2)(ramp)
    assert moved.shape == (1, 6, 2, 2)
    assert torch.equal(moved[:, 2:4], ramp[:, :, ::2, ::2])
    assert moved.sum() == ramp[:, :, ::2, ::2].sum()


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("resnet19", (3, 32, 32), "unknown model 'resnet19': choose from mlp, cnn, lenet"),
        ("timm:", (3, 32, 32), "unknown model 'timm:'"),
        ("cnn", (64,), r"is for pictures, .* got samples of shape \(64,\); choose mlp"),
        ("resnet8", (3, 4, 9), "needs pictures with sides of 8 or more, got 4 x 9"),
        ("timm:resnet18", (3, 32, 32), "the model timm:resnet18 needs a timm that fits"),
        ("torchvision:resnet18", (3, 32, 32), "needs a torchvision that fits the torch"),
    ],
)
def test_models_that_cannot_be_built(name, shape, message, monkeypatch):
    for library in ("timm", "torchvision", "torchvision.models"):
        monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(LabError, match=message):
        build(name, shape, 10, seed=0)


class Foreign(nn.Module):
    """A model of a library, whose last layer has a name of its own."""

    def __init__(self, channels=3, classes=1000):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(channels * 64, 12), nn.Tanh())
        self.classifier = nn.Sequential(nn.Dropout(0.5), nn.Linear(12, classes))

    def forward(self, inputs):
        return self.classifier(self.body(inputs))


@pytest.fixture
def libraries(monkeypatch):
    """Stand-ins for timm and torchvision, which note what they are asked for."""
    asked = []

    def create_model(name, *, pretrained, in_chans, num_classes):
        asked.append((name, pretrained))
        return Foreign(in_chans, num_classes)

    def get_model(name, weights):
        asked.append((name, weights))
        if name != "small":
            raise ValueError(f"Unknown model {name}")
        return Foreign()

    for library, name, function in (
        ("timm", "create_model", create_model),
        ("torchvision.models", "get_model", get_model),
    ):
        module = types.ModuleType(library)
        setattr(module, name, function)
        monkeypatch.setitem(sys.modules, library, module)
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    return asked


@pytest.mark.parametrize("name", ["timm:small", "torchvision:small"])
def test_models_of_other_libraries(libraries, name):
    model = build(name, (3, 8, 8), 6, seed=1).eval()
    inputs = torch.randn(2, 3, 8, 8)
    features, head = penultimate(model)
    with torch.no_grad():
        assert model(inputs).shape == (2, 6)
        assert torch.equal(head(features(inputs)), model(inputs))
    assert features(inputs).shape == (2, 12)
    assert digest(model) == digest(build(name, (3, 8, 8), 6, seed=1))
    features(inputs).sum().backward()
    assert model.model.body[1].weight.grad.abs().sum() > 0
    build(f"{name}+pretrained", (3, 8, 8), 6, seed=1)
    not_pretrained, pretrained = libraries[0][1], libraries[-1][1]
    assert not not_pretrained
    assert pretrained in (True, "DEFAULT")


def test_models_that_other_libraries_refuse(libraries):
    with pytest.raises(LabError, match="torchvision:huge cannot be built: Unknown model huge"):
        build("torchvision:huge", (3, 8, 8), 6, seed=1)
    with pytest.raises(LabError, match="want pictures of 3 channels, got 1"):
        build("torchvision:small", (8, 8), 6, seed=1)


def test_models_of_several_outputs_are_refused_when_they_train(libraries, monkeypatch):
    monkeypatch.setattr(Foreign, "forward", lambda self, inputs: (inputs, inputs))
    model = build("timm:small", (3, 8, 8), 6, seed=1)
    with pytest.raises(LabError, match="timm:small has several outputs, a tuple; choose one"):
        model(torch.zeros(2, 3, 8, 8))


def test_the_last_linear_layer_must_be_what_the_output_comes_from():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, inputs):
            return self.layer(self.layer(inputs))

    features, _ = penultimate(Twice())
    with pytest.raises(LabError, match=r"of Twice must be called once .* it was called 2 times"):
        features(torch.zeros(1, 3))
    with pytest.raises(LabError, match=r"ReLU has no nn.Linear to be its last layer"):
        penultimate(nn.ReLU())
