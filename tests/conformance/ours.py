"""softtargets as the cases see it."""

from typing import Any

import torch
from torch import Tensor

import softtargets as st
from tests.conformance.library import Library, Online
from tests.conformance.problem import Problem


class SoftTargets(Library):
    name = distribution = "softtargets"
    title = "this library"
    offers = frozenset({"labels", "weight", "soft", "smoothed soft", "rate", "reduction", "ignore"})

    def version(self) -> str:
        return st.__version__

    def cross_entropy(self, problem: Problem) -> Tensor:
        return st.cross_entropy(
            problem.logits,
            problem.target,
            smoothing=problem.rate or None,
            weight=problem.weight,
            reduction=problem.reduction,
        )

    def default(self, problem: Problem) -> Tensor:
        return st.CrossEntropyLoss()(problem.logits, problem.target)

    def evaluated(self, problem: Problem) -> Tensor:
        criterion = st.CrossEntropyLoss(problem.rate, weight=problem.weight).eval()
        return criterion(problem.logits, problem.target)

    def smoothed_twice(self, problem: Problem) -> Tensor:
        once = st.Target.from_labels(problem.target, problem.classes).smooth(problem.rate)
        return st.cross_entropy(problem.logits, once, smoothing=problem.rate)

    def smoothed_target(self, problem: Problem) -> Tensor:
        given = st.Target.from_labels(problem.target, problem.classes)
        return given.smooth(problem.rate).dense()

    def mixed_with_a_smoothed_one(self, problem: Problem) -> Tensor:
        given = st.Target.from_labels(problem.target, problem.classes)
        return st.cross_entropy(problem.logits, given.smooth(problem.rate).mix(given, 0.5))

    def negative(self, problem: Problem) -> Tensor:
        policy = st.LabelSmoothing(problem.rate, allow_negative=True)
        return st.cross_entropy(problem.logits, problem.target, smoothing=policy)

    def with_prior(self, problem: Problem, prior: Tensor) -> Tensor:
        policy = st.LabelSmoothing(problem.rate, prior)
        return st.cross_entropy(problem.logits, problem.target, smoothing=policy)

    def validated(self, problem: Problem) -> Tensor:
        options = st.LossOptions(validate=True)
        return st.cross_entropy(problem.logits, problem.target, options=options)

    def fused(self, hidden: Tensor, weight: Tensor, labels: Tensor, rate: float) -> Tensor:
        return st.linear_cross_entropy(hidden, weight, labels, smoothing=rate or None)

    def instance_based(
        self, problem: Problem, teacher: Tensor, spread: str, curve: tuple[float, float] | None
    ) -> Tensor:
        rate = problem.rate if curve is None else st.QuadraticRate(*curve, max_rate=1.0)
        policy = st.InstanceLabelSmoothing(rate, spread)
        criterion = st.CrossEntropyLoss(policy)
        return criterion(problem.logits, problem.target, teacher_logits=teacher)

    def forward_corrected(self, problem: Problem, transition: Any) -> Tensor:
        correction = st.ForwardCorrection(transition)
        return st.cross_entropy(problem.logits, problem.target, correction=correction)

    def backward_corrected(self, problem: Problem, transition: Any) -> Tensor:
        correction = st.BackwardCorrection(transition, allow_negative=True)
        return st.cross_entropy(problem.logits, problem.target, correction=correction)

    def anchor_transition(self, probs: Tensor, quantile: float | None) -> Tensor:
        return st.noise.estimate_transition(probs, method="anchor", quantile=quantile)

    def confident_transition(self, probs: Tensor, labels: Tensor) -> Any:
        return st.noise.estimate_transition(probs, labels, method="confident")

    def with_class_mask(self, problem: Problem, alive: Tensor) -> Tensor:
        return st.cross_entropy(
            problem.logits, problem.target, smoothing=problem.rate, class_mask=alive
        )

    def in_micro_batches(self, parts: list[Problem], counted: int) -> Tensor:
        losses = [
            st.cross_entropy(p.logits, p.target, smoothing=p.rate, normalizer=counted)
            for p in parts
        ]
        return torch.stack(losses).sum()

    def binary(self, logits: Tensor, answers: Tensor, rate: float) -> Tensor:
        return st.BCEWithLogitsLoss(rate)(logits, answers)

    def dice(self, logits: Tensor, target: Tensor) -> Tensor:
        return st.dice_loss(logits, target, activation="sigmoid")

    def max_sup(self, problem: Problem, strength: float) -> Tensor:
        criterion = st.CrossEntropyLoss(
            st.MaxSup(strength), weight=problem.weight, reduction=problem.reduction
        )
        return criterion(problem.logits, problem.target)

    def calibration_error(self, probs: Tensor, labels: Tensor, bins: int) -> Any:
        return st.calibration.expected_calibration_error(probs, labels, bins=bins)

    def calibration_error_of_logits(self, logits: Tensor, labels: Tensor, bins: int) -> Any:
        report = st.calibration.evaluate(logits, labels, bins=bins)
        return report.expected_calibration_error.value

    def classwise_error(self, probs: Tensor, labels: Tensor, bins: int) -> Any:
        return st.calibration.classwise_calibration_error(probs, labels, bins=bins)

    def debiased_error(self, probs: Tensor, labels: Tensor, bins: int) -> Any:
        return st.calibration.expected_calibration_error(probs, labels, bins=bins, debiased=True)

    def online(self, num_classes: int) -> Online:
        policy = st.OnlineLabelSmoothing(num_classes)
        return Online(st.CrossEntropyLoss(policy), policy.end_epoch, lambda: policy.matrix)
