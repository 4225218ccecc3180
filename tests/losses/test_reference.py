"""LS, OLS and ILS losses and gradients equal the papers' formulas in float64 to 1e-10."""

import numpy as np
import pytest
import torch

import softtargets as st
from tests import reference

N, K = 12, 5
REDUCTIONS = ["mean", "sum", "none"]
WEIGHT = torch.tensor([0.5, 2.0, 1.0, 0.0, 1.5], dtype=torch.float64)


def batch(seed=0, n=N):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, K, generator=generator, dtype=torch.float64)
    labels = torch.randint(K, (n,), generator=generator)
    labels[::5] = -100
    return logits, labels


def given(labels):
    rows = [np.zeros(K) if y == -100 else reference.one_hot(y, K) for y in labels.tolist()]
    return np.array(rows)


def rows_of(labels, make):
    rows = [np.zeros(K) if y == -100 else make(i, y) for i, y in enumerate(labels.tolist())]
    return np.array(rows)


def assert_equals_reference(criterion, logits, labels, targets, weight, reduction, **keywords):
    leaf = logits.clone().requires_grad_()
    loss = criterion(leaf, labels, **keywords)
    loss.sum().backward()
    expected, gradient = reference.cross_entropy(
        logits.numpy(), targets, given(labels), weight, reduction
    )
    np.testing.assert_allclose(loss.detach().numpy(), expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(leaf.grad.numpy(), gradient, rtol=1e-10, atol=1e-10)


PRIOR = np.array([0.1, 0.2, 0.3, 0.15, 0.25])
ROWS = np.array([np.roll(PRIOR, i) for i in range(K)])
POLICIES = {
    "K": (lambda: st.LabelSmoothing(0.1), {"rate": 0.1}),
    "K-1": (
        lambda: st.LabelSmoothing(0.1, convention="K-1"),
        {"rate": 0.1, "convention": "K-1"},
    ),
    "prior": (
        lambda: st.LabelSmoothing(0.2, torch.tensor(PRIOR)),
        {"rate": 0.2, "prior": PRIOR},
    ),
    "row prior": (
        lambda: st.LabelSmoothing(0.2, torch.tensor(ROWS)),
        {"rate": 0.2, "prior": ROWS},
    ),
    "negative": (lambda: st.LabelSmoothing(-0.4, allow_negative=True), {"rate": -0.4}),
}


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("policy", POLICIES)
def test_label_smoothing(policy, reduction, weight):
    make, arguments = POLICIES[policy]
    logits, labels = batch()
    targets = rows_of(labels, lambda _, y: reference.smoothed(y, K, **arguments))
    criterion = st.CrossEntropyLoss(make(), weight=weight, reduction=reduction)
    assert_equals_reference(criterion, logits, labels, targets, weight, reduction)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_label_smoothing_of_one_hot_rows_and_float32_labels(reduction):
    logits, labels = batch()
    targets = rows_of(labels, lambda _, y: reference.smoothed(y, K, 0.25))
    criterion = st.CrossEntropyLoss(0.25, weight=WEIGHT, reduction=reduction)
    for dtype in (torch.float64, torch.float32, torch.float16):
        one_hot = torch.tensor(given(labels), dtype=dtype)
        leaf = logits.clone().requires_grad_()
        loss = criterion(leaf, one_hot)
        expected, _ = reference.cross_entropy(
            logits.numpy(), targets, given(labels), WEIGHT, reduction
        )
        np.testing.assert_allclose(loss.detach().numpy(), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("layout", ["(K,)", "(N, K, d)", "(N, K, H, W)", "class_dim=-1"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_layouts(layout, reduction):
    logits, labels = batch()
    if layout == "(K,)":
        logits, labels = logits[1:2], labels[1:2]
    targets = rows_of(labels, lambda _, y: reference.smoothed(y, K, 0.1))
    expected, gradient = reference.cross_entropy(
        logits.numpy(), targets, given(labels), WEIGHT, reduction
    )
    batch_shape = {"(K,)": (), "(N, K, d)": (3, 4), "(N, K, H, W)": (2, 3, 2)}.get(layout, (3, 4))
    shaped = logits.reshape(*batch_shape, K)
    class_dim = -1 if layout == "class_dim=-1" else 1
    if layout.startswith("(N"):
        shaped = shaped.movedim(-1, 1).contiguous()
    leaf = shaped.clone().requires_grad_()
    criterion = st.CrossEntropyLoss(0.1, weight=WEIGHT, reduction=reduction, class_dim=class_dim)
    loss = criterion(leaf, labels.reshape(batch_shape))
    loss.sum().backward()
    ours = leaf.grad.movedim(1, -1) if layout.startswith("(N") else leaf.grad
    assert loss.shape == (batch_shape if reduction == "none" else ())
    np.testing.assert_allclose(loss.detach().numpy().ravel(), np.ravel(expected), 1e-10, 1e-10)
    np.testing.assert_allclose(ours.numpy().reshape(-1, K), gradient, 1e-10, 1e-10)


def test_ignore_index_inside_the_classes():
    logits, labels = batch()
    labels = labels.clamp(min=0)
    ignored = torch.where(labels == 2, -100, labels)
    targets = rows_of(ignored, lambda _, y: reference.smoothed(y, K, 0.1))
    expected, _ = reference.cross_entropy(logits.numpy(), targets, given(ignored), WEIGHT)
    for target in (labels, torch.eye(K, dtype=torch.float64)[labels]):
        loss = st.cross_entropy(logits, target, smoothing=0.1, weight=WEIGHT, ignore_index=2)
        assert loss.item() == pytest.approx(expected, rel=1e-12)


ONLINE = {
    "default": {},
    "hard weight": {"hard_weight": 0.7},
    "fine-grained": {"hard_weight": 1.0, "soft_weight": 1.0, "max_confidence": 0.55},
    "zeros": {"initial": "zeros"},
    "all samples": {"correct_only": False},
    "momentum": {"momentum": 0.9},
    "zeros with momentum": {"initial": "zeros", "momentum": 0.5},
    "min_count": {"min_count": 4},
}


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("setting", ONLINE)
def test_online_label_smoothing_over_epochs(setting, reduction):
    arguments = ONLINE[setting]
    policy = st.OnlineLabelSmoothing(K, **arguments)
    criterion = st.CrossEntropyLoss(policy, weight=WEIGHT, reduction=reduction)
    paper = reference.OnlineSmoothing(K, **arguments)
    for epoch in range(3):
        for step in range(4):
            logits, labels = batch(seed=10 * epoch + step)
            # Class 4 is never right in the first epoch, class 0 has no label in the second.
            if epoch == 0:
                logits[:, 4] -= 20
            if epoch == 1:
                labels = torch.where(labels == 0, 1, labels)
            targets = paper.targets(logits.numpy(), labels.numpy())
            assert_equals_reference(criterion, logits, labels, targets, WEIGHT, reduction)
        policy.end_epoch()
        paper.end_epoch()
        np.testing.assert_allclose(policy.matrix.numpy(), paper.matrix, rtol=1e-10, atol=1e-10)
    assert policy.epochs == 3


def test_the_online_cases_differ():
    """Each setting moves the final matrix, so that the test above can fail for it."""
    finals = []
    for arguments in ONLINE.values():
        paper = reference.OnlineSmoothing(K, **arguments)
        for epoch in range(3):
            for step in range(4):
                logits, labels = batch(seed=10 * epoch + step)
                paper.targets(logits.numpy(), labels.numpy())
            paper.end_epoch()
        finals.append(np.append(paper.matrix.ravel(), [paper.hard_weight, paper.soft_weight]))
    assert len({tuple(f.round(12)) for f in finals}) >= len(ONLINE) - 1


QUADRATIC = (0.9, 1.5, 0.2)
INSTANCE = {
    "ILS1": (
        lambda: st.InstanceLabelSmoothing(st.QuadraticRate(*QUADRATIC[:2]), "uniform", 2.0),
        {"rate": QUADRATIC, "spread": "uniform", "temperature": 2.0},
    ),
    "ILS1, own temperature": (
        lambda: st.InstanceLabelSmoothing(
            st.QuadraticRate(0.9, 1.5, 1.0, temperature=3.0), "uniform", 2.0
        ),
        {"rate": (0.9, 1.5, 1.0), "spread": "uniform", "rate_temperature": 3.0},
    ),
    "ILS2": (
        lambda: st.InstanceLabelSmoothing(0.1, "teacher", 2.0),
        {"rate": 0.1, "spread": "teacher", "temperature": 2.0},
    ),
    "ILS": (
        lambda: st.InstanceLabelSmoothing(st.QuadraticRate(*QUADRATIC[:2]), "teacher", 2.0),
        {"rate": QUADRATIC, "spread": "teacher", "temperature": 2.0},
    ),
    "constant, uniform": (
        lambda: st.InstanceLabelSmoothing(0.1),
        {"rate": 0.1, "spread": "uniform"},
    ),
}


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("method", INSTANCE)
def test_instance_label_smoothing(method, reduction, weight):
    make, arguments = INSTANCE[method]
    logits, labels = batch()
    teacher_logits, _ = batch(seed=7)
    teacher = teacher_logits.numpy()
    targets = rows_of(labels, lambda i, y: reference.instance_smoothed(y, teacher[i], **arguments))
    criterion = st.CrossEntropyLoss(make(), weight=weight, reduction=reduction)
    assert_equals_reference(
        criterion, logits, labels, targets, weight, reduction, teacher_logits=teacher_logits
    )


def test_instance_label_smoothing_of_images():
    make, arguments = INSTANCE["ILS"]
    logits, labels = batch()
    teacher_logits, _ = batch(seed=7)
    targets = rows_of(
        labels, lambda i, y: reference.instance_smoothed(y, teacher_logits[i].numpy(), **arguments)
    )
    expected, _ = reference.cross_entropy(logits.numpy(), targets, given(labels))
    images, teacher_images = (
        x.reshape(2, 3, 2, K).movedim(-1, 1) for x in (logits, teacher_logits)
    )
    loss = st.CrossEntropyLoss(make())(
        images, labels.reshape(2, 3, 2), teacher_logits=teacher_images
    )
    assert loss.item() == pytest.approx(expected, rel=1e-10)
