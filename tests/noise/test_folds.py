import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

import softtargets as st


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


class Recorder:
    """A model that answers with the labels of its training samples' numbers, and notes calls."""

    def __init__(self, num_classes):
        self.num_classes = num_classes
        self.trained, self.asked = [], []

    def fit(self, inputs, labels):
        self.trained.append((inputs.flatten().tolist(), labels.tolist()))

        def predict(inputs):
            self.asked.append(inputs.flatten().tolist())
            rows = torch.eye(self.num_classes)[inputs.flatten().long() % self.num_classes]
            return rows.requires_grad_()

        return predict


@given(some.integers(2, 4), some.integers(2, 6), some.integers(0, 99), some.integers(6, 40))
def test_every_sample_is_predicted_once_by_a_model_that_has_not_seen_it(
    num_classes, folds, seed, size
):
    labels = torch.randint(num_classes, (num_classes * size,), generator=generator(seed))
    labels = torch.cat([labels, torch.arange(num_classes).repeat(folds)])
    inputs = torch.arange(len(labels)).reshape(-1, 1, 1)
    model = Recorder(num_classes)
    probs = st.noise.out_of_fold_probs(
        model.fit, inputs, labels, num_classes, folds=folds, generator=generator(seed)
    )
    asked = [number for fold in model.asked for number in fold]
    assert sorted(asked) == list(range(len(labels)))
    assert len(model.asked) == folds
    for (seen, given_labels), held in zip(model.trained, model.asked, strict=True):
        assert sorted(seen + held) == list(range(len(labels)))
        assert given_labels == labels[seen].tolist()
    assert probs.dtype == torch.float64
    assert not probs.requires_grad
    assert probs.argmax(-1).tolist() == [n % num_classes for n in range(len(labels))]
    sizes = [len(held) for held in model.asked]
    assert max(sizes) - min(sizes) <= 1
    for label in range(num_classes):
        of_class = [int((labels[held] == label).sum()) for held in model.asked]
        assert max(of_class) - min(of_class) <= 1


def test_the_generator_alone_deals_out_the_samples():
    labels, inputs = torch.arange(3).repeat(20), torch.arange(60)
    before = torch.get_rng_state()

    def asked(seed):
        model = Recorder(3)
        st.noise.out_of_fold_probs(model.fit, inputs, labels, 3, generator=generator(seed))
        return model.asked

    assert asked(0) == asked(0)
    assert asked(0) != asked(1)
    assert torch.equal(torch.get_rng_state(), before)


def constant(answer):
    return lambda inputs, labels: lambda inputs: answer(len(inputs))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"fit": None}, TypeError, "`fit` must be callable as fit"),
        ({"fit": lambda x, y: None}, TypeError, "`fit` must return a callable .* got NoneType"),
        ({"fit": constant(lambda n: [0.5] * n)}, TypeError, "of fold 0` must be a floating"),
        ({"fit": constant(lambda n: torch.ones(n, 3))}, ValueError, r"\(12, 2\), .* got \(12, 3\)"),
        ({"fit": constant(lambda n: torch.ones(n - 1, 2))}, ValueError, r"got \(11, 2\); predict"),
        ({"fit": constant(lambda n: torch.ones(n, 2))}, ValueError, "row 0 sums to 2 .* softmax"),
        ({"fit": constant(lambda n: torch.full((n, 2), torch.nan))}, ValueError, "must be finite"),
        ({"inputs": [1.0]}, TypeError, "`inputs` must be a tensor, got list; pass sample numbers"),
        ({"inputs": torch.zeros(3)}, ValueError, r"got \(3,\) and \(60,\)"),
        ({"labels": torch.zeros(60)}, TypeError, "`labels` must hold integers"),
        ({"labels": torch.full((60,), -100)}, ValueError, "got -100 at 0; drop samples"),
        ({"folds": 1}, ValueError, "`folds` must be at least 2, got 1"),
        ({"folds": 2.0}, TypeError, "`folds` must be an integer, got float"),
        ({"folds": 31}, ValueError, "at least 31 of every class .* got 30 of class 0; take fewer"),
        ({"num_classes": 1}, ValueError, "needs at least 2 classes"),
        ({"generator": 0}, TypeError, "must be a torch.Generator"),
    ],
    ids=lambda x: str(x)[:30] if isinstance(x, str) else "",
)
def test_arguments(arguments, error, message):
    given = {
        "fit": constant(lambda n: torch.full((n, 2), 0.5)),
        "inputs": torch.arange(60),
        "labels": torch.arange(2).repeat(30),
        "num_classes": 2,
        "generator": generator(),
        **arguments,
    }
    with pytest.raises(error, match=message):
        st.noise.out_of_fold_probs(**given)
