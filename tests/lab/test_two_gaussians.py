import math

import pytest
import torch

from softtargets.lab.data import (
    load,
    two_gaussians,
    two_gaussians_dense,
    two_gaussians_probs,
)
from softtargets.lab.data.two_gaussians import DENSE, SPARSE


def bayes(draws):
    """Accuracy, of dense and of sparse samples, and cross-entropy of the Bayes-optimal answer."""
    hits, dense, losses = [], [], []
    for draw in draws:
        data = two_gaussians(draw)
        probs = two_gaussians_probs(data.test.inputs.double() * data.deviation + data.mean)
        hits.append(probs.argmax(-1) == data.test.labels)
        dense.append(two_gaussians_dense(draw))
        losses.append(-probs.gather(1, data.test.labels[:, None]).log())
    hit, where = torch.cat(hits).double(), torch.cat(dense)
    return hit.mean(), hit[where].mean(), hit[~where].mean(), torch.cat(losses).mean()


def test_the_bayes_optimal_answer_is_as_good_as_the_papers():
    accuracy, dense, sparse, loss = map(float, bayes(range(10)))
    assert accuracy == pytest.approx(0.8198, abs=0.005)
    assert dense == pytest.approx(0.8294, abs=0.005)
    assert sparse == pytest.approx(0.7814, abs=0.01)
    assert loss == pytest.approx(0.4444, abs=0.006)


def test_probabilities_are_those_of_the_mixture():
    point = [0.3, -1.1]
    joint = []
    for centre, other in zip(DENSE, SPARSE, strict=True):
        joint.append(0.8 * math.exp(-(math.dist(point, centre) ** 2) / 2)
                     + 0.2 * math.exp(-(math.dist(point, other) ** 2) / 2))  # fmt: skip
    expected = torch.tensor([each / sum(joint) for each in joint], dtype=torch.float64)
    torch.testing.assert_close(two_gaussians_probs(torch.tensor([point]).double())[0], expected)


def test_a_draw_is_a_data_set_like_any_other():
    data = two_gaussians(3)
    assert (len(data.train), len(data.validation), len(data.test)) == (150, 150, 15000)
    assert data.digest == load("two-gaussians?seed=3").digest != two_gaussians(4).digest
    assert torch.bincount(data.train.labels).tolist() == [50, 50, 50]
    assert two_gaussians_dense(3).double().mean() == pytest.approx(0.8, abs=0.01)
    assert not torch.equal(data.train.inputs, data.validation.inputs)
