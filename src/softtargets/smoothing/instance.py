"""Instance-based label smoothing: a teacher decides how much and where to, sample by sample."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from softtargets import checks
from softtargets.smoothing.base import AbstractSmoothing, check_not_smoothed
from softtargets.smoothing.own_logits import own_logits
from softtargets.smoothing.schedule import Schedule, check_scheduled, current, shown
from softtargets.smoothing.teacher import Lookup, looked_up, looks_up, sound_logits
from softtargets.target import Target
from softtargets.terms import AbstractTerm, DenseRows, Uniform

# For functions, and the loss fused with the output layer, which hand nothing on.
_SMOOTHED_FIRST = (
    "; to a loss without these arguments hand the smoothed target, "
    "`policy(target, teacher_logits=...)`"
)


@dataclass(frozen=True, slots=True)
class QuadraticRate:
    r"""A rate per sample from the teacher's probability of the annotated class.

        rate(x) = min(p2 * (p_t - p1)^2, max_rate)

    Args:
        p1: the probability that needs no smoothing, in [0, 1].
        p2: the curvature, >= 0.
        max_rate: upper bound, in [0, 1]; ours, the paper has none (1.0 comes closest to it).
        temperature: of the softmax that gives p_t; None for the policy's own.

    Example:
        >>> import torch, softtargets as st
        >>> st.QuadraticRate(p1=0.9, p2=2.0)(torch.tensor([0.9, 0.7, 0.1]))
        tensor([0.0000, 0.0800, 0.2000])
    """

    p1: float
    p2: float
    max_rate: float = 0.2
    temperature: float | None = None

    def __post_init__(self) -> None:
        checked = {
            "p1": checks.check_fraction(self.p1, "p1"),
            "p2": checks.check_fraction(self.p2, "p2", 0, float("inf")),
            "max_rate": checks.check_fraction(self.max_rate, "max_rate"),
        }
        if self.temperature is not None:
            checked["temperature"] = checks.check_positive(self.temperature, "temperature")
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def __call__(self, label_probs: Tensor) -> Tensor:
        """Return the rates for the teacher's probabilities of the annotated classes."""
        return (self.p2 * (label_probs - self.p1).square()).clamp(max=self.max_rate)


@final
class InstanceLabelSmoothing(AbstractSmoothing):
    r"""Instance-based label smoothing: ILS1, ILS2 and their combination ILS.

        q_y = 1 - rate(x)        q_k = rate(x) * s_k(x)  for the other classes, sum_k s_k = 1

    ILS1 takes the rate from the teacher (`QuadraticRate`) and spreads it evenly,
    `s_k = 1 / (K - 1)`; ILS2 takes a constant rate and spreads it as the teacher does,
    `s_k = p_k(T) / sum_{j != y} p_j(T)`; ILS does both. The annotated class keeps its share also
    where the teacher disagrees. Mixed labels take the mixture of their targets. Of m classes that
    are alive for the student, the teacher's spread takes those alone, given the logits; the even
    one is uniform smoothing of rate `rate(x) K / (K - 1)`, so that the label keeps more than
    `1 - rate(x)`.

    The teacher, usually the same architecture trained with hard labels, is not part of this
    module: it is neither in `parameters()` nor in `state_dict()`, `.train()` and `.to()` do not
    reach it, and it runs in eval mode without gradients.

    Args:
        rate: a constant in [0, 1], a `Schedule`, or a `QuadraticRate`.
        spread: `"uniform"` or `"teacher"`.
        temperature: T of the teacher's softmax, > 0; a `QuadraticRate` with a temperature of its
            own takes that one, and leaves this one to the spread.
        teacher: called with `inputs`, or a `TeacherCache`, asked about `index`: the loss is then
            called with `index=`, as many sample numbers as labels. None where `teacher_logits`
            are handed over.
        class_dim: the class dimension of what the teacher returns, as in torch's losses; a cache
            has it last.

    Raises:
        TypeError: neither `inputs` (with a teacher) nor `index` (with a cache) nor
            `teacher_logits` is given though the teacher is needed, or it returns no tensor.
        ValueError: an argument is out of range, `inputs` and `teacher_logits` are both given, the
            teacher's shape does not fit, or its logits hold NaN or inf.

    Example:
        >>> import torch, softtargets as st
        >>> target = st.Target.from_labels(torch.tensor([0]), 3)
        >>> teacher_logits = torch.tensor([[2.0, 1.0, 0.0]])
        >>> ils2 = st.InstanceLabelSmoothing(0.1, spread="teacher")
        >>> ils2(target, teacher_logits=teacher_logits).dense()
        tensor([[0.9000, 0.0731, 0.0269]])

    References:
        Maher and Kull, "Instance-based Label Smoothing For Better Calibrated Classification
        Networks", 2021. The quadratic rate is our reading of its equation 3.
    """

    def __init__(
        self,
        rate: float | QuadraticRate | Schedule = 0.1,
        spread: Literal["uniform", "teacher"] = "uniform",
        temperature: float = 1.0,
        teacher: Callable[..., Tensor] | Lookup | None = None,
        *,
        class_dim: int = 1,
    ) -> None:
        super().__init__()
        if spread not in ("uniform", "teacher"):
            raise ValueError(f'`spread` must be "uniform" or "teacher", got {spread!r}')
        if callable(rate) and not isinstance(rate, QuadraticRate | Schedule):
            raise TypeError(
                f"`rate` must be a number or a `QuadraticRate`, got {type(rate).__name__}; a "
                "teacher goes into `teacher=`"
            )
        if not isinstance(rate, QuadraticRate):
            rate = check_scheduled(rate, checks.check_rate)
        self.rate: float | QuadraticRate | Schedule = rate
        if teacher is not None and not callable(teacher) and not looks_up(teacher):
            raise TypeError(
                "`teacher` must be callable, or look logits up as a `TeacherCache` does, got "
                f"{type(teacher).__name__}; give the criterion `teacher_logits=` instead"
            )
        asked = spread == "teacher" or isinstance(rate, QuadraticRate)
        if not asked and (teacher is not None or temperature != 1.0):
            raise ValueError(
                "`teacher` and `temperature` have no use with a constant rate and a uniform "
                'spread; give a `QuadraticRate` or `spread="teacher"`, or leave them out'
            )
        self.spread = spread
        self.temperature = checks.check_positive(temperature, "temperature")
        self.class_dim = checks.check_integer(class_dim, "class_dim")
        # In a tuple, so that nn.Module does not register it.
        self._teacher = (teacher,)

    @property
    def teacher(self) -> Callable[..., Tensor] | Lookup | None:
        """The teacher, held unregistered."""
        return self._teacher[0]

    def forward(
        self,
        target: Target,
        logits: Tensor | None = None,
        *,
        teacher_logits: Tensor | None = None,
        inputs: Any = None,
        index: Tensor | None = None,
    ) -> Target:
        check_not_smoothed(target, "InstanceLabelSmoothing")
        checks.check_two_classes(target.num_classes, "InstanceLabelSmoothing")
        if target.others:
            raise TypeError(
                "`target` must be labels or mixed labels for InstanceLabelSmoothing, got one with "
                "probabilities or further terms; use `Target.from_labels` and `Target.mix`"
            )
        if self.spread == "uniform" and not isinstance(self.rate, QuadraticRate):
            return self._evenly(target, _constant(self.rate, target))
        teacher_logits = self._teacher_logits(target, teacher_logits, inputs, index)
        rates = self._rates(target, teacher_logits)
        if self.spread == "uniform":
            return self._evenly(target, rates)
        dead = torch.zeros_like(teacher_logits, dtype=torch.bool)
        if logits is not None:
            dead = own_logits(logits, target, "InstanceLabelSmoothing") == -torch.inf
        return self._as_teacher(target, rates, teacher_logits, dead)

    def _rates(self, target: Target, teacher_logits: Tensor) -> Tensor:
        if not isinstance(self.rate, QuadraticRate):
            return _constant(self.rate, target)
        entries = target.entries
        temperature = self.rate.temperature or self.temperature
        probs = torch.softmax(teacher_logits / temperature, -1)
        return self.rate(probs.gather(-1, entries.classes)).to(entries.weights.dtype)

    def _evenly(self, target: Target, rates: Tensor) -> Target:
        num_classes, entries = target.num_classes, target.entries
        uniform = rates * (num_classes / (num_classes - 1))
        kept = replace(entries, weights=entries.weights * (1 - uniform))
        moved = Uniform((entries.weights * uniform).sum(-1), num_classes)
        return replace(target, entries=kept, others=(moved,)).smoothed_from(target)

    def _as_teacher(
        self, target: Target, rates: Tensor, teacher_logits: Tensor, dead: Tensor
    ) -> Target:
        """Spread as the teacher does, over classes that are alive for the student."""
        entries, kept = target.entries, []
        rows: list[AbstractTerm] = []
        for j in range(entries.classes.shape[-1]):
            closed = dead.scatter(-1, entries.classes[..., j : j + 1], True)
            others = (teacher_logits / self.temperature).masked_fill(closed, -torch.inf)
            # A teacher that rules out every other class says nothing: spread evenly.
            silent = (others == -torch.inf).all(-1, keepdim=True)
            others = torch.where(silent, torch.where(closed, -torch.inf, 0.0), others)
            # A label without a living class beside it keeps everything.
            alone = closed.all(-1, keepdim=True)
            spread = torch.softmax(others.masked_fill(alone, 0.0), -1)
            moved = entries.weights[..., j] * rates[..., j].masked_fill(alone[..., 0], 0.0)
            rows.append(DenseRows(spread, moved))
            kept.append(entries.weights[..., j] - moved)
        entries = replace(entries, weights=torch.stack(kept, -1))
        return replace(target, entries=entries, others=tuple(rows)).smoothed_from(target)

    def _teacher_logits(
        self, target: Target, given: Tensor | None, inputs: Any, index: Tensor | None
    ) -> Tensor:
        """Return checked `(*batch, K)` teacher logits, 0 at ignored positions."""
        expected = torch.Size((*target.batch_shape, target.num_classes))
        if given is not None and inputs is not None:
            raise ValueError("`teacher_logits` and `inputs` were both given; pass one of them")
        if given is not None:
            checks.check_floating(given, "teacher_logits", "; take them out of what it returned")
        elif self.teacher is not None and looks_up(self.teacher):
            given = looked_up(
                self.teacher, index, expected, "InstanceLabelSmoothing", _SMOOTHED_FIRST
            )
        else:
            given = self._run_teacher(inputs)
        if given.shape != expected:
            raise ValueError(
                f"the teacher's logits must have shape {tuple(expected)} (classes last), got "
                f"{tuple(given.shape)}; check `class_dim` and the teacher's number of classes"
            )
        given = given.detach().to(target.device, target.dtype)
        given = torch.where(target.entries.used().unsqueeze(-1), given, 0)
        return sound_logits(given, "the teacher's logits")

    def _run_teacher(self, inputs: Any) -> Tensor:
        if inputs is None or not callable(self.teacher):
            raise TypeError(
                "InstanceLabelSmoothing needs its teacher on this batch: give the criterion "
                "`teacher_logits=`, or `inputs=` together with `teacher=` at construction"
                + _SMOOTHED_FIRST
            )
        modules = self.teacher.modules() if isinstance(self.teacher, nn.Module) else ()
        training = [module for module in modules if module.training]
        try:
            for module in training:
                module.training = False
            with torch.no_grad():
                logits = self.teacher(inputs)
        finally:
            for module in training:
                module.training = True
        if not isinstance(logits, Tensor):
            raise TypeError(
                f"`teacher` must return a tensor of logits, got {type(logits).__name__}; wrap it "
                "in a module whose `forward` takes them out: `teacher(inputs).logits` or "
                "`teacher(inputs)[0]`"
            )
        if logits.dim() < 2:
            return logits
        if not -logits.dim() <= self.class_dim < logits.dim():
            raise ValueError(
                "`class_dim` must be a dimension of the teacher's logits, which have "
                f"{logits.dim()}, got {self.class_dim}"
            )
        return logits.movedim(self.class_dim, -1)

    def extra_repr(self) -> str:
        """Return the arguments for `repr`."""
        rate = self.rate if isinstance(self.rate, QuadraticRate) else shown(self.rate)
        return f"rate={rate}, spread={self.spread!r}, temperature={self.temperature:g}"


def _constant(rate: float | Schedule, target: Target) -> Tensor:
    return torch.ones_like(target.entries.weights) * current(rate, target.entries.weights)
