"""Typical typed use of the public interface; checked by `mypy --strict`, never run."""

from typing import assert_type

import torch
from torch import Tensor

import softtargets as st
from softtargets import testing


def targets(labels: Tensor, probs: Tensor) -> None:
    target = st.Target.from_labels(labels, 10)
    assert_type(target, st.Target)
    assert_type(st.Target.from_probs(probs, smoothed=True), st.Target)
    assert_type(st.Target.from_top_k(labels, probs, 10, rest="none"), st.Target)
    assert_type(target.smooth(0.1, prior=probs), st.Target)
    assert_type(target.smooth(torch.rand(3)).mix(target.smooth(0.0), 0.3), st.Target)
    assert_type(0.3 * target + (1 - 0.3) * target, st.Target)
    assert_type(target[0], st.Target)
    assert_type(target.to("cpu", dtype=torch.float64), st.Target)
    assert_type(target.dense(), Tensor)
    assert_type(target.mass(), Tensor)
    assert_type(target.dot(probs), Tensor)
    assert_type(target.entropy(), Tensor)
    assert_type(target.num_classes, int)
    assert_type(target.batch_shape, torch.Size)


def losses(logits: Tensor, labels: Tensor, weight: Tensor) -> None:
    options = st.LossOptions(validate=True, weight_mode="per_sample")
    loss = st.cross_entropy(
        logits, labels, smoothing=0.1, weight=weight, reduction="none", options=options
    )
    assert_type(loss, Tensor)
    assert_type(st.cross_entropy(logits, st.Target.from_labels(labels, 10)), Tensor)
    criterion = st.CrossEntropyLoss(st.OnlineLabelSmoothing(10), weight=weight, class_dim=-1)
    total: Tensor = criterion(logits, labels, normalizer=8)
    total.backward()  # type: ignore[no-untyped-call]
    st.CrossEntropyLoss(reduction="average")  # type: ignore[arg-type]


def policies(labels: Tensor, logits: Tensor) -> None:
    every: list[st.AbstractSmoothing] = [
        st.LabelSmoothing(0.1, convention="K-1"),
        st.OnlineLabelSmoothing(10, hard_weight=0.5, initial="zeros"),
        st.InstanceLabelSmoothing(st.QuadraticRate(0.9, 1.0), spread="teacher"),
        st.ClassMatrixSmoothing.from_distances(torch.eye(10), beta=4.0),
        st.LabelAwareSmoothing([3, 2, 1], head=0.4, tail=0.1),
        st.LabelSmoothing(torch.rand(10)),
        st.MaxSup(st.Schedule.linear(0.1, 0.2, steps=10)),
        st.Bootstrapping(hard=True),
        st.SpatialSmoothing(sigma=1.0),
        st.TemporalSmoothing(0.1, ratio=(5, 2)),
    ]
    assert_type(st.Schedule.step((0.1, 0.0), milestones=(5,)), st.Schedule)
    assert_type(st.Schedule.cosine(0.1, 0.0, 5).value, float)
    st.Schedule.linear(0, 1, 5).step()
    every[0].step()
    assert_type(every[0].forward(st.Target.from_labels(labels, 10), logits), st.Target)
    online = st.OnlineLabelSmoothing(10)
    assert_type(online.matrix, Tensor)
    online.end_epoch()
    testing.check_policy(lambda: st.LabelSmoothing(0.1), 10)


def heads(logits: Tensor, labels: Tensor, teacher: Tensor) -> None:
    target = st.Target.from_labels(labels, 10)
    assert_type(st.dice_loss(logits, labels, smoothing=0.1, form="intersection"), Tensor)
    assert_type(st.focal_loss(logits, target, gamma="flsd-53"), Tensor)
    assert_type(st.generalized_cross_entropy(logits, target, q=0.7), Tensor)
    assert_type(st.symmetric_cross_entropy(logits, target, alpha=6, beta=0.1), Tensor)
    assert_type(st.SymmetricCrossEntropyLoss(6, 0.1, floor=1e-3).forward(logits, target), Tensor)
    assert_type(st.GeneralizedCrossEntropyLoss(0.7).forward(logits, target), Tensor)
    assert_type(st.binary_cross_entropy_with_logits(logits, labels, smoothing=0.1), Tensor)
    assert_type(st.distillation_loss(logits, labels, target, temperature=2.0), Tensor)
    assert_type(st.sequence_cross_entropy(logits, labels, normalizer="sequence"), Tensor)
    assert_type(st.SequenceCrossEntropyLoss(0.1).forward(logits, labels), Tensor)
    assert_type(st.MarginPenalty(10, 0.1).forward(logits, target), Tensor)
    mixed = st.mixup(logits, target, alpha=0.2, generator=torch.Generator())
    assert_type(mixed.target, st.Target)
    spoilt = st.mollify(logits, target, kinds=("clean", "noise"), generator=torch.Generator())
    assert_type(spoilt.rate, Tensor)
    cache = st.TeacherCache("folder", data_fingerprint=labels)
    assert_type(cache[labels], Tensor)
    assert_type(cache.target(labels, 2.0), st.Target)
    loss: Tensor = st.DistillationLoss(2.0)(logits, labels, teacher_logits=teacher)
    loss = st.DistillationLoss(2.0, teacher=cache, validate=True)(logits, labels, index=labels)
    st.DiceLoss(st.Schedule.linear(0.1, 0.0, 5), activation="sigmoid")
    assert_type(loss, Tensor)


def calibration(probs: Tensor, logits: Tensor, labels: Tensor) -> None:
    measure = st.calibration
    assert_type(measure.expected_calibration_error(probs, labels, norm="max"), Tensor)
    assert_type(measure.smooth_calibration_error(probs, labels, class_dim=-1), Tensor)
    assert_type(measure.binary_calibration_error(probs, labels, of="event"), Tensor)
    measure.binary_calibration_error(probs, labels)  # type: ignore[call-arg]
    terms = measure.brier_decomposition(probs, labels, of="top_label")
    assert_type(terms.reliability, Tensor)
    score = measure.LogitNormScore().fit(logits, labels)
    assert_type(score.p, int)
    curve = measure.risk_coverage_curve(probs, labels, scores=score(logits))
    assert_type(curve.coverage, Tensor)
    assert_type(measure.area_under_risk_coverage(probs, labels, ignore_index=255), Tensor)


def noise(inputs: Tensor, labels: Tensor) -> None:
    generator = torch.Generator()
    noisy = st.noise.symmetric(labels, 0.2, 10, generator=generator)
    assert_type(noisy.labels, Tensor)
    st.noise.asymmetric(labels, 0.2, {0: 1}, generator=generator)
    st.noise.asymmetric(labels, 0.2, [1, 0], 2, generator=generator, exact=True)
    assert_type(st.noise.class_matrix(labels, labels, generator=generator), st.noise.NoisyLabels)
    assert_type(noisy.transition, Tensor)
    probs = st.noise.out_of_fold_probs(
        lambda x, y: torch.nn.Sequential(torch.nn.Linear(4, 10), torch.nn.Softmax(-1)),
        inputs, labels, 10, generator=generator,
    )  # fmt: skip
    assert_type(probs, Tensor)
    assert_type(st.noise.estimate_transition(probs, labels, method="confident"), Tensor)
    known = st.noise.bootstrap_transition(probs, labels, quantile=0.97, generator=generator)
    assert_type(known.too_few, Tensor)
    st.noise.estimate_transition(probs, method="anchors")  # type: ignore[arg-type]


def scaling(logits: Tensor, labels: Tensor) -> None:
    every: list[st.calibration.AbstractScaling] = [
        st.calibration.TemperatureScaling().fit(logits, labels),
        st.calibration.VectorScaling().fit(logits, labels, folds=None),
    ]
    assert_type(every[0].forward(logits), Tensor)
    assert_type(every[0].underconfident, bool)
    bursts = st.calibration.aggregate(logits, ["a", "b"], labels)
    assert_type(bursts.logits, Tensor)
    assert_type(bursts.labels, Tensor | None)
    fitted = st.calibration.cross_fitted(every[0], logits, labels, folds=10)
    assert_type(fitted.temperatures, tuple[float, ...])
    by_class = st.calibration.ClasswiseTemperatureScaling().fit(logits, labels)
    assert_type(by_class.temperatures, Tensor)
    stream = st.calibration.StreamingCalibration(10, class_wise=True)
    stream.update(labels, logits=logits)
    assert_type((stream + stream).compute().brier_score, float)


def representation(features: Tensor, labels: Tensor, weight: Tensor) -> None:
    seen = st.representation.penultimate_projection(features, weight, None, (0, 1, 2), labels)
    assert_type(seen.coordinates, Tensor)
    assert_type(st.representation.class_separation(features, labels).scatter_ratio, float)
    draws = (features for _ in range(3))
    assert_type(st.representation.logit_mutual_information(draws, (0, 1)), float)
    probe = st.representation.linear_probe(features, labels, features, labels, penalties=[1e-3])
    assert_type(probe.accuracy(features, labels), float)
