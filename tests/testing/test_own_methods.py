"""`check_penalty` and `check_head`: shipped methods pass, planted mistakes are found."""

import pytest
import torch

import softtargets as st
from softtargets.losses import reduce, smoothed_target
from softtargets.testing import check_head, check_penalty

K = 5


@pytest.mark.parametrize(
    "make",
    [
        lambda: st.MarginPenalty(0.5),
        lambda: st.ConfidencePenalty(0.4),
        lambda: st.ConfidencePenalty(0.4, threshold=1.2),
        st.ZipfPenalty,
        lambda: st.ACLSPenalty(0.5),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_shipped_penalties_pass(make, seed):
    check_penalty(make, K, seed=seed, compiles=seed == 0)


@pytest.mark.parametrize(
    "make",
    [
        st.CrossEntropyLoss,
        lambda: st.CrossEntropyLoss(0.1, penalty=st.MarginPenalty(0.5)),
        lambda: st.CrossEntropyLoss(st.MaxSup(0.2)),
        lambda: st.CrossEntropyLoss(st.LabelSmoothing(0.2, convention="K-1")),
        st.FocalLoss,
        lambda: st.FocalLoss("flsd-53", smoothing=0.1),
        st.GeneralizedCrossEntropyLoss,
        lambda: st.GeneralizedCrossEntropyLoss(0.3, smoothing=0.1),
        st.SymmetricCrossEntropyLoss,
        lambda: st.SymmetricCrossEntropyLoss(0.0, smoothing=0.1),
    ],
)
def test_shipped_heads_pass(make):
    check_head(make, K)


class Plain(st.AbstractPenalty):
    def values(self, logits, target, alive):
        return logits.masked_fill(~alive, 0).square().mean(-1)


class ReadsTheDead(st.AbstractPenalty):
    def values(self, logits, target, alive):
        return logits.square().mean(-1)


class OneNumber(st.AbstractPenalty):
    def values(self, logits, target, alive):
        return logits.masked_fill(~alive, 0).square().mean()


class PrefersAClass(st.AbstractPenalty):
    def values(self, logits, target, alive):
        return logits.masked_fill(~alive, 0)[..., 0]


class CountsIgnored(st.AbstractPenalty):
    def values(self, logits, target, alive):
        raise NotImplementedError

    def forward(self, logits, target, alive=None):
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return wide.nan_to_num(0, 0, 0).square().mean(-1)


class StaysHalf(st.AbstractPenalty):
    def values(self, logits, target, alive):
        raise NotImplementedError

    def forward(self, logits, target, alive=None):
        return logits.square().mean(-1)


class Infinite(st.AbstractPenalty):
    def values(self, logits, target, alive):
        return torch.where(alive, logits, 0).sum(-1) / 0


class ReadsRows(Plain):
    def values(self, logits, target, alive):
        return super().values(logits, target, alive) * (2 if target.given.others else 1)


class DividesMixtures(Plain):
    def values(self, logits, target, alive):
        heaviest = target.given.entries.weights.amax(-1)
        return super().values(logits, target, alive) / (heaviest > 0.9)


class ForgetsItself(Plain):
    def __init__(self):
        super().__init__()
        self.step_size = torch.rand(())

    def values(self, logits, target, alive):
        return super().values(logits, target, alive) * self.step_size


class Branches(st.AbstractPenalty):
    def values(self, logits, target, alive):
        size = logits.masked_fill(~alive, 0).square().mean(-1)
        return size if float(size.detach().sum()) > 0 else -size


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (ReadsTheDead, "not finite"),
        (OneNumber, "ignored rows"),
        (PrefersAClass, "renamed classes"),
        (CountsIgnored, "an ignored row has"),
        (StaysHalf, "values of torch.float16 logits are torch.float16"),
        (Infinite, "not finite"),
        (ReadsRows, "of one-hot rows"),
        (DividesMixtures, "not finite"),
        (ForgetsItself, "values after state_dict|what the loss is raised by"),
        (lambda: torch.nn.Identity(), "must extend `AbstractPenalty`"),
    ],
)
def test_mistakes_in_penalties_are_found(make, message):
    check_penalty(Plain, K)
    with pytest.raises(AssertionError, match=message):
        check_penalty(make, K)


def test_a_penalty_that_cannot_be_compiled_is_found():
    check_penalty(Branches, K, compiles=False)
    with pytest.raises(AssertionError, match=r"Branches raised .* under torch\.compile"):
        check_penalty(Branches, K)


class Squares(torch.nn.Module):
    """The squared error of the probabilities, with one mistake or none."""

    def __init__(self, mistake=None):
        super().__init__()
        self.mistake = mistake

    def forward(self, logits, target):
        view, built = smoothed_target(
            logits,
            target,
            None,
            class_dim=1,
            ignore_index=-100,
            training=self.training or self.mistake == "eval",
        )
        if self.mistake == "mixed" and built.entries.classes.shape[-1] > 1:
            built = st.Target.from_labels(built.entries.classes[..., 0], view.shape[-1])
        wide = view.to(torch.promote_types(view.dtype, torch.float32))
        alive = wide != -torch.inf
        living = alive.any(-1)
        counted = living & ~built.ignored()
        if self.mistake != "poison":
            wide = torch.where(counted.unsqueeze(-1), wide, 0)
        if self.mistake == "half":
            wide = wide.to(logits.dtype)
        losses = (wide.softmax(-1) - built.dense(alive)).square()
        if self.mistake == "class":
            losses = losses * torch.arange(1, losses.shape[-1] + 1)
        losses = losses.sum(-1)
        if self.mistake != "ignored":
            losses = torch.where(counted, losses, 0)
        if self.mistake == "rows":
            return losses
        if self.mistake == "mean":
            return losses.mean()
        return reduce(losses, built.mass(), living, built.ignored, "mean")


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ("poison", "not finite"),
        ("half", "loss of torch.float16 logits, computed in float32"),
        ("class", "renamed classes"),
        ("ignored", "ignored rows"),
        ("mean", "ignored rows"),
        ("mixed", "of mixed labels and of their rows"),
        ("eval", "in eval mode depends on the smoothing"),
    ],
)
def test_mistakes_in_heads_are_found(mistake, message):
    check_head(Squares, K)
    with pytest.raises(AssertionError, match=message):
        check_head(lambda: Squares(mistake), K)


def test_rows_are_no_mean():
    with pytest.raises(AssertionError, match="Squares raised RuntimeError on labels"):
        check_head(lambda: Squares("rows"), K)


class Fragile(Plain):
    def values(self, logits, target, alive):
        if not bool(alive.all()):
            raise RuntimeError("singular")
        return super().values(logits, target, alive)


def test_what_a_method_raises_is_said_with_where():
    with pytest.raises(AssertionError, match=r"Fragile raised RuntimeError on .*: singular"):
        check_penalty(Fragile, K)
    with pytest.raises(AssertionError, match="`make_head` raised TypeError when it was called"):
        check_head(lambda: st.FocalLoss(colour=1), K)
