"""Promise 5.7: what cannot be right is an error that names the argument, the rule, the value and
the way out; 5.9: negative rates need an opt-in.
"""

import math

import pytest
import torch
from torch.nn import functional

import softtargets as st

N, K = 8, 5


def batch():
    return 2 * torch.randn(N, K), torch.randint(K, (N,))


class _Unmarked(st.AbstractSmoothing):
    def forward(self, target, logits=None, *, teacher_logits=None, inputs=None, index=None):
        return target * 1.0


class _Dense(st.AbstractSmoothing):
    def forward(self, target, logits=None, *, teacher_logits=None, inputs=None, index=None):
        return target.dense()


@pytest.mark.parametrize("policy", [_Unmarked, _Dense])
def test_a_policy_must_return_a_marked_target(policy):
    with pytest.raises(TypeError, match="must return a `Target` marked as smoothed"):
        st.CrossEntropyLoss(policy())(torch.randn(8, 5), torch.randint(5, (8,)))


class TestErrors:  # 5.7
    def test_5_7_rates(self):
        logits, labels = batch()
        with pytest.raises(ValueError, match=r"`rate` must be in \[0, 1\], got 1\.3"):
            st.cross_entropy(logits, labels, smoothing=1.3)
        for build in (st.LabelSmoothing, st.CrossEntropyLoss):
            with pytest.raises(ValueError, match=r"got -0\.1.*`allow_negative=True`"):
                build(-0.1)
        with pytest.raises(TypeError, match="`smoothing` must be None, a rate"):
            st.CrossEntropyLoss("0.1")
        with pytest.raises(TypeError, match="`smoothing` must be None, a rate"):
            st.CrossEntropyLoss(True)

    def test_5_7_schedules_go_into_a_policy(self):
        logits, labels = batch()
        schedule = st.Schedule.linear(0.0, 0.1, 5)
        calls = [
            lambda: st.CrossEntropyLoss(schedule),
            lambda: st.cross_entropy(logits, labels, smoothing=schedule),
            lambda: st.cross_entropy_with_metrics(logits, labels, smoothing=schedule),
            lambda: st.LinearCrossEntropyLoss(schedule),
            lambda: st.FocalLoss(smoothing=schedule),
            lambda: st.focal_loss(logits, labels, smoothing=schedule),
            lambda: st.DiceLoss(schedule),
            lambda: st.dice_loss(logits, labels, smoothing=schedule, per="batch"),
            lambda: st.SequenceCrossEntropyLoss(schedule),
            lambda: st.DistillationLoss(smoothing=schedule),
        ]
        for call in calls:
            with pytest.raises(TypeError, match=r"got a Schedule; .* `LabelSmoothing\(schedule\)`"):
                call()

    def test_5_7_torchs_arguments(self):
        with pytest.raises(TypeError, match=r"`label_smoothing`; .*`CrossEntropyLoss\(0\.1\)`"):
            st.CrossEntropyLoss(label_smoothing=0.1)
        with pytest.raises(TypeError, match=r"class weights go into `weight=`"):
            st.CrossEntropyLoss(torch.ones(K))
        with pytest.raises(TypeError, match=r"`size_average`; use `reduction="):
            st.CrossEntropyLoss(size_average=True)
        with pytest.raises(TypeError, match=r"no argument `rate`"):
            st.CrossEntropyLoss(rate=0.1)

    def test_5_7_labels(self):
        logits, labels = batch()
        labels[4] = K
        with pytest.raises(ValueError, match=r"0 \.\. 4 \(5 classes\), got 5 at \(4,\); .*ignore"):
            st.cross_entropy(logits, labels)
        with pytest.raises(ValueError, match=r"got -1 at \(4,\)"):
            st.cross_entropy(logits, labels.clamp(max=0) - 1 * (labels == K))
        with pytest.raises(TypeError, match=r"`target` must hold integers, got torch.bool"):
            st.cross_entropy(logits, labels > 2)
        rows = functional.one_hot(labels % K, K).bool()
        calls = [
            lambda: st.cross_entropy(logits, rows),
            lambda: st.binary_cross_entropy_with_logits(logits, rows),
            lambda: st.Target.from_probs(rows),
        ]
        for call in calls:
            with pytest.raises(TypeError, match=r"got torch\.bool; .*`\.float\(\)`") as caught:
                call()
            assert "Target.from" not in str(caught.value)
        for plain in (labels.tolist(), labels.numpy()):
            with pytest.raises(TypeError, match=r"labels, prob.*; .* `torch\.as_tensor\(labels\)`"):
                st.cross_entropy(logits, plain)
        noisy = st.noise.symmetric(labels % K, 0.2, K, generator=torch.Generator())
        with pytest.raises(TypeError, match=r"got NoisyLabels; pass its `\.labels`"):
            st.cross_entropy(logits, noisy)
        with pytest.raises(TypeError, match=r"got NoisyLabels; pass its `\.transition`"):
            st.ForwardCorrection(noisy)
        with pytest.raises(ValueError, match=r"one sample of 8 classes; .*`BCEWithLogitsLoss`"):
            st.cross_entropy(logits[:, 0], labels % 2)
        mask = torch.ones(1, N, dtype=torch.long)
        with pytest.raises(TypeError, match=r"`padding_mask` .*`attention_mask == 0`"):
            st.sequence_cross_entropy(logits[None], labels[None] % K, padding_mask=mask)

    def test_5_7_shapes(self):
        logits, labels = batch()
        with pytest.raises(ValueError, match=r"labels of shape \(8,\) .* got \(8, 1\)"):
            st.cross_entropy(logits, labels.unsqueeze(-1))
        with pytest.raises(ValueError, match=r"got \(8, 5\); .* rows must be floating point"):
            st.cross_entropy(logits, functional.one_hot(labels, K))
        with pytest.raises(ValueError, match=r"probabilities of the logits' shape .* got \(8, 4\)"):
            st.cross_entropy(logits, torch.rand(N, K - 1))
        with pytest.raises(ValueError, match=r"batch shape \(8,\) and 5 classes .* \(8,\) and 4"):
            st.cross_entropy(logits, st.Target.from_labels(labels % 4, 4))
        with pytest.raises(ValueError, match=r"`class_dim` must be a dimension .* 2, got 2"):
            st.cross_entropy(logits, labels, class_dim=2)
        with pytest.raises(ValueError, match=r"`logits` must have shape .* a scalar"):
            st.cross_entropy(torch.tensor(1.0), labels)
        with pytest.raises(TypeError, match=r"`logits` must be a floating point tensor"):
            st.cross_entropy(logits.long(), labels)

    def test_5_7_rows_that_are_no_distribution(self):
        logits, _ = batch()
        probs = torch.rand(N, K)
        options = st.LossOptions(validate=True)
        with pytest.raises(ValueError, match=r"must hold distributions .* apply softmax"):
            st.cross_entropy(logits, probs, options=options)
        st.cross_entropy(logits, torch.softmax(probs, -1), options=options)
        with pytest.raises(ValueError, match=r"mass .* must be > 0, .* logits, apply softmax"):
            st.cross_entropy(logits, probs.log())

    def test_5_7_options(self):
        logits, labels = batch()
        with pytest.raises(ValueError, match=r'`reduction` must be "mean", "sum" or "none"'):
            st.CrossEntropyLoss(reduction="average")
        with pytest.raises(ValueError, match=r'`normalizer` replaces .* got "?\'?sum'):
            st.cross_entropy(logits, labels, reduction="sum", normalizer=2)
        for wrong in (0, -1.0, float("nan"), torch.tensor(0.0)):
            with pytest.raises(ValueError, match=r"`normalizer` must be finite and > 0"):
                st.cross_entropy(logits, labels, normalizer=wrong)
        with pytest.raises(ValueError, match=r"`normalizer` must be one number"):
            st.cross_entropy(logits, labels, normalizer=torch.ones(2))
        with pytest.raises(TypeError, match=r"`normalizer` must be a number or a tensor, got str"):
            st.cross_entropy(logits, labels, normalizer="8")
        with pytest.raises(
            ValueError, match=r'`impl` must be None, "eager", "compiled" or "triton", got'
        ):
            st.LossOptions(impl="cuda")
        with pytest.raises(ValueError, match=r'`weight_mode` must be "per_class" or'):
            st.LossOptions(weight_mode="per_label")
        with pytest.raises(TypeError, match=r"`class_mask` must be a bool tensor"):
            st.cross_entropy(logits, labels, class_mask=torch.ones(K))
        with pytest.raises(ValueError, match=r"`class_mask` must have the logits' shape"):
            st.cross_entropy(logits, labels, class_mask=torch.ones(K - 1, dtype=torch.bool))

    def test_5_7_weights(self):
        logits, labels = batch()
        with pytest.raises(ValueError, match=r"`weight` must have shape \(5,\), .* got \(4,\)"):
            st.cross_entropy(logits, labels, weight=torch.ones(4))
        with pytest.raises(TypeError, match=r"`weight` must be a floating point tensor"):
            st.CrossEntropyLoss(weight=torch.ones(K, dtype=torch.long))
        with pytest.raises(ValueError, match=r"`weight` must have shape"):
            st.CrossEntropyLoss(weight=torch.ones(2, 2))
        for head in (
            st.BCEWithLogitsLoss,
            st.CrossEntropyLoss,
            st.DiceLoss,
            st.FocalLoss,
            st.GeneralizedCrossEntropyLoss,
            st.SequenceCrossEntropyLoss,
            st.SymmetricCrossEntropyLoss,
        ):
            for wrong in (torch.ones(4, 3), torch.tensor(2.0)):
                with pytest.raises(ValueError, match=r"shape \(K,\), one number per class, got"):
                    head(weight=wrong)
        with pytest.raises(ValueError, match=r"`pos_weight` must have shape \(K,\)"):
            st.BCEWithLogitsLoss(pos_weight=torch.ones(1, 5))

    @pytest.mark.parametrize("wrong", [float("nan"), -float("inf"), float("inf")])
    def test_5_7_a_weight_that_is_not_finite(self, wrong):
        logits, labels = batch()
        labels[3] = 1
        weight = torch.ones(K)
        weight[1] = wrong
        calls = [
            lambda: st.cross_entropy(logits, labels, weight=weight),
            lambda: st.focal_loss(logits, labels, weight=weight),
            lambda: st.generalized_cross_entropy(logits, labels, weight=weight),
            lambda: st.symmetric_cross_entropy(logits, labels, weight=weight),
            lambda: st.sequence_cross_entropy(logits[None], labels[None], weight=weight),
            lambda: st.sequence_cross_entropy(
                logits[None], labels[None], weight=weight, normalizer="sequence_mean"
            ),
        ]
        for call in calls:
            with pytest.raises(
                ValueError, match=rf"`weight` must be finite, got {wrong} for cl.*1;"
            ):
                call()

    def test_5_7_a_mode_of_weights_that_are_not_there(self):
        logits, labels = batch()
        options = st.LossOptions(weight_mode="per_sample")
        calls = [
            lambda: st.cross_entropy(logits, labels, options=options),
            lambda: st.cross_entropy_with_metrics(logits, labels, options=options),
            lambda: st.CrossEntropyLoss(options=options),
        ]
        for call in calls:
            with pytest.raises(ValueError, match=r'`weight_mode="per_sample"` .* give `weight=`'):
                call()
        st.CrossEntropyLoss(weight=torch.ones(K), options=options)(logits, labels)

    def test_5_7_options_of_another_kind(self):
        logits, labels = batch()
        wrong = {"impl": "eager"}
        calls = [
            lambda: st.cross_entropy(logits, labels, options=wrong),
            lambda: st.cross_entropy_with_metrics(logits, labels, options=wrong),
            lambda: st.CrossEntropyLoss(options=wrong),
            lambda: st.CrossEntropyLoss(options={}),
            lambda: st.LinearCrossEntropyLoss(options=wrong),
            lambda: st.linear_cross_entropy(logits, logits, labels, options=wrong),
        ]
        for call in calls:
            with pytest.raises(TypeError, match=r"got dict; .*`LossOptions\(\*\*options\)`"):
                call()

    @pytest.mark.parametrize("wrong", ["1", 1.0, None, True])
    def test_5_7_class_dim(self, wrong):
        logits, labels = batch()
        calls = [
            lambda: st.cross_entropy(logits, labels, class_dim=wrong),
            lambda: st.focal_loss(logits, labels, class_dim=wrong),
            lambda: st.binary_cross_entropy_with_logits(logits, labels, class_dim=wrong),
            lambda: st.BCEWithLogitsLoss(class_dim=wrong),
            lambda: st.CrossEntropyLoss(class_dim=wrong),
            lambda: st.DiceLoss(class_dim=wrong),
            lambda: st.DistillationLoss(class_dim=wrong),
            lambda: st.FocalLoss(class_dim=wrong),
            lambda: st.GeneralizedCrossEntropyLoss(class_dim=wrong),
            lambda: st.SymmetricCrossEntropyLoss(class_dim=wrong),
        ]
        for call in calls:
            with pytest.raises(TypeError, match="`class_dim` must be an integer, got"):
                call()

    def test_5_7_a_smoothed_target_and_a_rate(self):
        logits, labels = batch()
        target = st.Target.from_labels(labels, K).smooth(0.1)
        calls = [
            lambda: st.cross_entropy(logits, target, smoothing=0.1),
            lambda: st.focal_loss(logits, target, smoothing=0.1),
            lambda: st.dice_loss(logits, target, smoothing=0.1, per="batch"),
            lambda: st.binary_cross_entropy_with_logits(logits, target, smoothing=0.1),
            lambda: st.distillation_loss(logits, target, logits, smoothing=0.1),
            lambda: st.linear_cross_entropy(logits, torch.eye(K), target, smoothing=0.1),
            lambda: st.CrossEntropyLoss(0.1)(logits, target),
        ]
        for call in calls:
            with pytest.raises(ValueError, match="target as given, or leave `smoothing` at None"):
                call()

    def test_5_7_ignore_index_cannot_be_taken_out_of_a_smoothed_target(self):
        logits, labels = batch()
        smooth = st.Target.from_labels(labels, K).smooth(0.1)
        with pytest.raises(ValueError, match=r"`ignore_index=2` is a class .*`Target.from_labels`"):
            st.cross_entropy(logits, smooth, ignore_index=2)


class TestNegativeRates:  # 5.9
    def test_5_9_they_need_an_opt_in_and_are_unbounded_below(self):
        with pytest.raises(ValueError, match="unbounded below"):
            st.LabelSmoothing(-1.0)
        policy = st.LabelSmoothing(-1.0, allow_negative=True)
        labels = torch.tensor([0])
        losses = [
            st.cross_entropy(torch.tensor([[z, 0.0, 0.0]]), labels, smoothing=policy).item()
            for z in (0.0, 10.0, 100.0)
        ]
        assert losses[2] < losses[1] < 0 < losses[0]
        assert losses[2] == pytest.approx(-200 / 3)

    def test_5_9_torch_takes_them_for_0(self):
        logits, labels = batch()
        policy = st.LabelSmoothing(-0.5, allow_negative=True)
        ours = st.cross_entropy(logits, labels, smoothing=policy)
        gap = (logits.gather(1, labels[:, None])[:, 0] - logits.mean(-1)).mean()
        plain = functional.cross_entropy(logits, labels)
        torch.testing.assert_close(ours, plain - 0.5 * gap)
        assert not math.isclose(ours.item(), plain.item())
