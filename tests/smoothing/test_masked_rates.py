"""K-1 smoothing and ILS1 where classes are masked: uniform smoothing of rate r K / (K - 1)."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

import softtargets as st
from softtargets.testing import dense_target
from softtargets.testing.compare import random_alive
from tests import reference
from tests.smoothing.cases import batch

K = 7
QUADRATIC = st.QuadraticRate(0.9, 1.5, max_rate=0.6)


def masked_batch(seed):
    """Logits, labels and which classes are alive; the labels' are, of the first row no other."""
    logits, labels = batch(K, seed=seed)
    alive = random_alive(labels, K, seed)
    alive[0] = torch.arange(K) == labels[0]
    return logits, labels, alive


def expected_target(labels, alive, rates):
    """u = r K / (K - 1) is spread evenly over the m living classes, the label's among them."""
    result = np.zeros(alive.shape)
    for n, (label, living) in enumerate(zip(labels.tolist(), alive.numpy(), strict=True)):
        if label >= 0:
            uniform = rates[n] * K / (K - 1)
            result[n, living] = uniform / living.sum()
            result[n, label] += 1 - uniform
    return result


def rates_of(policy, labels, teacher):
    if not isinstance(policy, st.InstanceLabelSmoothing) or policy.rate is not QUADRATIC:
        return np.full(len(labels), 0.3)
    return [
        reference.quadratic_rate(reference.softmax(z)[max(y, 0)], 0.9, 1.5, 0.6)
        for z, y in zip(teacher.numpy(), labels.tolist(), strict=True)
    ]


MAKE = {
    "K-1": lambda: st.LabelSmoothing(0.3, convention="K-1"),
    "K-1 by class": lambda: st.LabelSmoothing(
        torch.full((K,), 0.3, dtype=torch.float64), convention="K-1"
    ),
    "ILS, constant": lambda: st.InstanceLabelSmoothing(0.3),
    "ILS1": lambda: st.InstanceLabelSmoothing(QUADRATIC),
}


@pytest.mark.parametrize("kind", MAKE)
@given(seed=some.integers(0, 99))
def test_targets_losses_and_gradients_are_the_formulas(kind, seed):
    policy = MAKE[kind]()
    logits, labels, alive = masked_batch(seed)
    teacher = logits.flip(0)
    expected = expected_target(labels, alive, rates_of(policy, labels, teacher))
    target = st.Target.from_labels(labels, K, dtype=torch.float64)
    made = policy(target, teacher_logits=teacher)
    for dense in (made.dense(alive), dense_target(made, alive)):
        np.testing.assert_allclose(dense.numpy(), expected, rtol=0, atol=1e-15)

    losses, gradients = np.zeros(len(labels)), np.zeros((len(labels), K))
    for n, living in enumerate(alive.numpy()):
        q = expected[n, living]
        losses[n] = -(q * reference.log_softmax(logits[n].numpy()[living])).sum()
        probs = reference.softmax(logits[n].numpy()[living])
        gradients[n, living] = q.sum() * probs - q
    for filling, mask in ((-torch.inf, None), (1e4, alive)):
        leaf = logits.masked_fill(~alive, filling).requires_grad_()
        criterion = st.CrossEntropyLoss(policy, reduction="none")
        loss = criterion(leaf, labels, teacher_logits=teacher, class_mask=mask)
        (gradient,) = torch.autograd.grad(loss.sum(), leaf)
        np.testing.assert_allclose(loss.detach().numpy(), losses, rtol=0, atol=1e-12)
        np.testing.assert_allclose(gradient.numpy(), gradients, rtol=0, atol=1e-12)


@given(some.floats(0, 0.999 * (K - 1) / K), some.integers(0, 99))
def test_the_conventions_stay_one_family_under_a_mask(rate, seed):
    _, labels, alive = masked_batch(seed)
    target = st.Target.from_labels(labels, K, dtype=torch.float64)
    others = st.LabelSmoothing(rate, convention="K-1")(target)
    everyone = target.smooth(rate * K / (K - 1))
    torch.testing.assert_close(others.dense(alive), everyone.dense(alive), rtol=0, atol=1e-15)
    # A label without a living class beside it keeps everything.
    assert others.dense(alive)[0, labels[0]].item() == pytest.approx(1.0, abs=1e-15)


def test_the_label_may_keep_1_minus_the_rate_of_the_living_classes():
    _, labels, alive = masked_batch(3)
    target = st.Target.from_labels(labels, K, dtype=torch.float64)
    count = alive.sum(-1).double()
    rates = torch.where(count > 1, 0.3 * count / (count - 1), 0)
    dense = target.smooth(rates).dense(alive)
    for n in ((labels >= 0) & (count > 1)).nonzero()[:, 0]:
        assert dense[n, labels[n]].item() == pytest.approx(0.7, abs=1e-15)
        others = alive[n] & (torch.arange(K) != labels[n])
        expected = torch.full_like(dense[n, others], 0.3) / others.sum()
        torch.testing.assert_close(dense[n, others], expected, rtol=0, atol=1e-15)
