"""Settings of methods that comparisons leave alone and claims do not."""

import pytest
import torch

from softtargets.lab.epoch import end_epoch
from softtargets.lab.methods import METHODS
from softtargets.lab.task import Task
from softtargets.losses import CrossEntropyLoss
from softtargets.smoothing import OnlineLabelSmoothing
from softtargets.target import Target

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = [torch.randn(12, 3, generator=GENERATOR) for _ in range(6)]
LABELS = torch.arange(12) % 3


def criterion(method, **parameters):
    task = Task(parameters=parameters, num_classes=3, labels=LABELS, epochs=4, true_labels=LABELS)
    return METHODS[method].build(task).train()


def matrix(module):
    return next(m for m in module.modules() if isinstance(m, OnlineLabelSmoothing)).matrix.clone()


def test_a_negative_rate_is_reached_by_a_warm_up():
    loss = criterion("ls", rate=-0.6, warm_up=0.5)
    targets, whole = [], Target.from_labels(LABELS, 3)
    for _ in range(4):
        targets.append(float(loss.smoothing(whole, LOGITS[0]).dense()[0, 0]))
        end_epoch(loss)
    # The label keeps 1 - rate + rate / K: rates 0, -0.3, -0.6, -0.6.
    assert targets == pytest.approx([1.0, 1.2, 1.4, 1.4])


def test_online_smoothing_learns_every_so_many_steps_whatever_the_epochs():
    ours = criterion("ols", hard_weight=0.5, period=2.0)
    theirs = OnlineLabelSmoothing(3, 0.5)
    plain = CrossEntropyLoss(theirs).train()
    for step, logits in enumerate(LOGITS, start=1):
        leaf = logits.clone().requires_grad_()
        expected = plain(logits.clone().requires_grad_(), LABELS)
        assert torch.equal(ours(leaf, LABELS), expected)
        if step % 2 == 0:
            theirs.end_epoch()
        assert torch.equal(matrix(ours), theirs.matrix)
        if step == 3:
            end_epoch(ours)
            assert torch.equal(matrix(ours), theirs.matrix)
    copy = criterion("ols", hard_weight=0.5, period=2.0)
    copy.load_state_dict(ours.state_dict())
    assert int(copy.steps) == len(LOGITS)
    assert torch.equal(matrix(copy), matrix(ours))


def test_online_smoothing_learns_at_the_end_of_epochs_unless_asked_otherwise():
    ours = criterion("ols", hard_weight=0.5)
    before = matrix(ours)
    ours(LOGITS[0].clone().requires_grad_(), LABELS)
    assert torch.equal(matrix(ours), before)
    end_epoch(ours)
    assert not torch.equal(matrix(ours), before)


def test_online_smoothing_learns_from_wrong_predictions_if_asked_to():
    rows = []
    for correct_only in (1.0, 0.0):
        ours = criterion("ols", hard_weight=0.5, correct_only=correct_only)
        ours(LOGITS[0].clone().requires_grad_(), LABELS)
        end_epoch(ours)
        rows.append(matrix(ours))
    probs = LOGITS[0].softmax(-1)
    every = torch.stack([probs[k == LABELS].mean(0) for k in range(3)])
    assert torch.allclose(rows[1], every, atol=1e-6)
    assert not torch.allclose(rows[0], every, atol=1e-3)


def test_teacher_and_student_at_one_temperature():
    loss = criterion("distill", temperature=4.0, hard_weight=0.0, matched=1.0)
    ours = loss(LOGITS[0], LABELS, teacher_logits=LOGITS[1])
    teacher = (LOGITS[1] / 4).double().softmax(-1)
    student = (LOGITS[0] / 4).double().log_softmax(-1)
    divergence = (teacher * (teacher.log() - student)).sum(-1).mean()
    assert float(ours) == pytest.approx(16 * float(divergence), rel=1e-5)
