"""`check_policy`: planted mistakes are found, and what may be refused is."""

from fractions import Fraction

import pytest
import torch

import softtargets as st
from softtargets.smoothing.base import check_not_smoothed
from softtargets.terms import DenseRows, Entries, no_entries
from softtargets.testing import check_policy

K = 5


class Plain(st.AbstractSmoothing):
    """Three tenths go where `away` says; by itself it is sound."""

    def forward(self, target, logits=None, *, teacher_logits=None, inputs=None, index=None):
        check_not_smoothed(target, type(self).__name__)
        return (0.7 * target + 0.3 * self.away(target, logits)).smoothed_from(target)

    def away(self, target, logits):
        return target.map_classes(torch.eye(target.num_classes, dtype=target.dtype).roll(1, 1))


def said(target, rows):
    """A target of full rows, of the mass that the target has."""
    mass = target.mass()
    terms = (DenseRows(rows.to(target.dtype), mass),)
    return st.Target(num_classes=target.num_classes, entries=no_entries(mass), others=terms)


class ReadsIgnored(Plain):
    """NaN of an ignored row spreads: the mean is taken over all rows."""

    def away(self, target, logits):
        mean = torch.softmax(logits.detach().to(target.dtype), -1).mean(0)
        return said(target, mean.expand(*target.batch_shape, -1))


class MovesToTheDead(Plain):
    """A single class is masked for some, and table rows are not what it uses."""

    def away(self, target, logits):
        following = (target.entries.classes + 1) % target.num_classes
        entries = Entries(following, target.entries.weights)
        return st.Target(num_classes=target.num_classes, entries=entries)


class StaysNarrow(Plain):
    """The softmax is taken in the dtype of the logits."""

    def away(self, target, logits):
        counted = ~target.ignored().unsqueeze(-1) & (logits != -torch.inf).any(-1, keepdim=True)
        probs = torch.softmax(torch.where(counted, logits.detach(), 0), -1)
        return said(target, torch.where(counted, probs, 0))


class Widens(Plain):
    """Whatever comes, the target is float64."""

    def away(self, target, logits):
        return super().away(target, logits).to(torch.float64)


class Nonlinear(Plain):
    """Of mixed labels only the first one counts."""

    def away(self, target, logits):
        if target.others:
            raise TypeError("`target` must be labels")
        entries = Entries(target.entries.classes[..., :1], target.mass().unsqueeze(-1))
        return super().away(st.Target(num_classes=target.num_classes, entries=entries), logits)


class RowsDiffer(Plain):
    """Rows of probabilities are smoothed otherwise than their labels."""

    def away(self, target, logits):
        return target if target.others else super().away(target, logits)


class Learner(Plain):
    """Its row is the mean of the last epoch's softmax rows."""

    def __init__(self):
        super().__init__()
        self.register_buffer("row", torch.full((K,), 1 / K, dtype=torch.float64))
        self.total = torch.zeros(K, dtype=torch.float64)

    def away(self, target, logits):
        if self.learning():
            rows = torch.softmax(logits.detach().double(), -1)
            counted = self.counted(target, rows).unsqueeze(-1)
            self.total = self.total + torch.where(counted, rows, 0).sum((0,))
        return target.map_classes(self.row.expand(K, K).to(target.dtype))

    def learning(self):
        return self.training and torch.is_grad_enabled()

    def counted(self, target, rows):
        return ~target.ignored() & rows.isfinite().all(-1)

    def end_epoch(self):
        if bool(self.total.sum() > 0):
            self.row = self.total / self.total.sum()
        self.total = torch.zeros_like(self.total)

    def get_extra_state(self):
        return self.total.clone()

    def set_extra_state(self, state):
        self.total = state.clone()


class LearnsInEval(Learner):
    def learning(self):
        return torch.is_grad_enabled()


class LearnsWithoutGradients(Learner):
    def learning(self):
        return self.training


class LearnsFromIgnored(Learner):
    def counted(self, target, rows):
        return rows.isfinite().any(-1)


class IsPoisoned(Learner):
    def counted(self, target, rows):
        return torch.ones(target.batch_shape, dtype=torch.bool)


class ForgetsTheEpoch(Learner):
    def get_extra_state(self):
        return torch.zeros(K, dtype=torch.float64)


class Doubles(Learner):
    def set_extra_state(self, state):
        self.total = state * 2


class Lists(Learner):
    def get_extra_state(self):
        return [self.total.clone(), "kept"]

    def set_extra_state(self, state):
        self.total = state[0].clone()


class Renames(Learner):
    name = "kept"

    def get_extra_state(self):
        return {"total": self.total.clone(), "name": self.name}

    def set_extra_state(self, state):
        self.total, self.name = state["total"].clone(), "lost"


class Unreadable(Learner):
    def get_extra_state(self):
        return Fraction(1, 2), self.total


class Unwritable(Learner):
    def get_extra_state(self):
        return (lambda: 0), self.total


class Narrow(st.AbstractSmoothing):
    def forward(self, target, logits=None):
        return target.smooth(0.1)


class Inverts(st.AbstractSmoothing):
    def forward(self, target, logits=None, *, teacher_logits=None, inputs=None, index=None):
        torch.linalg.inv(torch.eye(2) * float(logits.detach().isfinite().all()))
        return target.smooth(0.1)


@pytest.mark.parametrize("make", [Plain, Learner, Lists])
def test_sound_policies_pass(make):
    check_policy(make, K, compiles=make is Plain)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Narrow, r"`forward` of a policy must take .*index=None\)`.* 'teacher_logits'"),
        (Inverts, r"Inverts raised \w*Error on ignored rows of NaN: .*inv"),
        (ReadsIgnored, "ignored row of NaN or inf"),
        (MovesToTheDead, "beside masked classes|masked class has mass"),
        (StaysNarrow, r"losses of torch\.float16 logits"),
        (Widens, r"a target of torch\.float32 becomes one of torch\.float64"),
        (Nonlinear, "target of mixed labels"),
        (RowsDiffer, "target of one-hot rows"),
        (LearnsInEval, "what eval or no_grad taught at the end of the epoch"),
        (LearnsWithoutGradients, "what eval or no_grad taught at the end of the epoch"),
        (LearnsFromIgnored, "an ignored row of NaN or inf"),
        (IsPoisoned, "an ignored row of NaN or inf"),
        (ForgetsTheEpoch, "gives another target"),
        (Doubles, "state after state_dict"),
        (Renames, "state after state_dict: .*'lost', expected 'kept'"),
        (Unwritable, r"cannot be read by `torch\.load\(weights_only=True\)`"),
        (Unreadable, r"cannot be read by `torch\.load\(weights_only=True\)`"),
    ],
)
def test_mistakes_are_found(make, message):
    with pytest.raises(AssertionError, match=message):
        check_policy(make, K)
