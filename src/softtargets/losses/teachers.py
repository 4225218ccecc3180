"""A teacher's distribution on the classes its student has, from logits or from a `Target`."""

import torch
from torch import Tensor

from softtargets import checks
from softtargets.batching import blocks
from softtargets.losses.arguments import class_last
from softtargets.smoothing.teacher import sound_logits
from softtargets.target import Target
from softtargets.terms import AbstractTerm, DenseRows, Entries, Uniform

_BLOCK = 2**22

# What rows of half precision may lack of a distribution.
_MASS_TOLERANCE = 1e-2
_ENTRY_TOLERANCE = 1e-3


def as_teacher(
    logits: Tensor,
    teacher: Tensor | Target,
    given: Target,
    temperature: float,
    class_dim: int,
    validate: bool | None,
) -> tuple[Target, Tensor]:
    """Return the teacher's distribution with the labels' mass, and as much of its entropy.

    Args:
        logits: the student's, classes last; those of `-inf` are not the teacher's either.
        teacher: logits in the caller's layout, or the distributions themselves.
        given: the labels as given.
        temperature: of the teacher's logits.
        class_dim: see `distillation_loss`.
        validate: see `LossOptions`.
    """
    alive = logits.detach() != -torch.inf
    if isinstance(teacher, Target):
        return _from_target(alive, teacher, given, validate)
    expected = (*given.batch_shape, given.num_classes)
    view = class_last(teacher, class_dim, "teacher_logits").detach()
    if view.shape != expected:
        raise ValueError(
            f"`teacher_logits` must have the student's shape, {expected} with classes last, got "
            f"{tuple(view.shape)}; check `class_dim` and the teacher's number of classes"
        )
    used = ~given.ignored().unsqueeze(-1)
    view = torch.where(used, view.to(given.device, given.dtype), 0)
    view = sound_logits(view, "`teacher_logits`", validate)
    view = view.masked_fill(~alive & used, -torch.inf)
    # A teacher left without a class says nothing.
    none = (view == -torch.inf).all(-1, keepdim=True)
    probs = torch.softmax(torch.where(none, 0, view) / temperature, -1)
    probs = torch.where(none, 0, probs)
    # By name: torch.compile takes `target * tensor` for an operation of its own.
    scaled = Target.from_probs(probs).__mul__(given.mass())
    return scaled, given.mass() * torch.special.entr(probs).sum(-1)


def _from_target(
    alive: Tensor, teacher: Target, given: Target, validate: bool | None
) -> tuple[Target, Tensor]:
    expected = (*given.batch_shape, given.num_classes)
    if (*teacher.batch_shape, teacher.num_classes) != expected:
        raise ValueError(
            f"`teacher_logits` must be a target of batch shape {expected[:-1]} and "
            f"{expected[-1]} classes, got {tuple(teacher.batch_shape)} and {teacher.num_classes}"
        )
    if teacher.requires_grad:
        raise ValueError(
            "`teacher_logits` must not require a gradient, a teacher is taken as given; "
            "detach what the `Target` is made of"
        )
    moved = teacher.to(given.device, given.dtype)
    used = ~given.ignored()
    if checks.should_validate(validate, given.entries.weights):
        _check_distributions(moved, used)
    left = _on_living(moved, alive, used)
    mass = left.mass()
    share = torch.where(mass > 0, given.mass() / torch.where(mass > 0, mass, 1), 0)
    scaled = left.__mul__(share)
    return scaled, _entropies(scaled, given.mass(), alive)


def _on_living(teacher: Target, alive: Tensor, used: Tensor) -> Target:
    """Return the teacher without its mass on masked classes and in rows that do not count."""
    entries, others = teacher.entries, teacher.others
    plain = all(
        isinstance(term, Uniform) or (isinstance(term, DenseRows) and term.through is None)
        for term in others
    )
    if not plain:
        rows = teacher.dense()
        entries, others = Entries(entries.classes[..., :0], entries.weights[..., :0]), ()
        others = (DenseRows(rows, torch.ones_like(rows[..., 0])),)
    kept = alive.gather(-1, entries.classes) & used.unsqueeze(-1)
    entries = Entries(entries.classes, torch.where(kept, entries.weights, 0))
    parts: list[AbstractTerm] = []
    for term in others:
        if isinstance(term, Uniform):
            # The losses spread uniform mass over the living classes.
            left = term.weights * alive.sum(-1) / term.num_classes
            parts.append(Uniform(torch.where(used, left, 0), term.num_classes))
        elif isinstance(term, DenseRows):
            values = torch.where(alive & used.unsqueeze(-1), term.values, 0)
            parts.append(DenseRows(values, torch.where(used, term.weights, 0)))
    return Target(num_classes=teacher.num_classes, entries=entries, others=tuple(parts))


def _check_distributions(teacher: Target, used: Tensor) -> None:
    """Raise, naming the first row that counts and is no distribution."""
    shape = torch.Size((*teacher.batch_shape, teacher.num_classes))
    good = torch.ones_like(used)
    for key in blocks(shape, _BLOCK):
        rows = (teacher[key] if key else teacher).dense()
        even = (rows.sum(-1) - 1).abs() <= _MASS_TOLERANCE
        good[key] = even & (rows >= -_ENTRY_TOLERANCE).all(-1)
    wrong = used & ~good
    if bool(wrong.any()):
        first = tuple(int(i) for i in wrong.nonzero()[0])
        row = teacher[first].dense() if first else teacher.dense()
        raise ValueError(
            "`teacher_logits` given as a `Target` must be distributions (entries >= 0, mass 1), "
            f"got mass {float(row.sum()):.6g} and least entry {float(row.min()):.6g} at {first}; "
            'divide the weights by their sum, or make a top-k with `rest="uniform"`'
        )


@torch.no_grad()
def _entropies(teacher: Target, mass: Tensor, alive: Tensor) -> Tensor:
    """Return `-sum_k m p_k log p_k` for rows `m p` of the given mass, in blocks."""
    if checks.traced():
        return _block_entropies(teacher, mass, alive)
    result = torch.zeros_like(mass)
    for key in blocks(torch.Size((*teacher.batch_shape, teacher.num_classes)), _BLOCK):
        part = (teacher[key], mass[key], alive[key]) if key else (teacher, mass, alive)
        result[key] = _block_entropies(*part)
    return result


def _block_entropies(teacher: Target, mass: Tensor, alive: Tensor) -> Tensor:
    safe = torch.where(mass == 0, 1, mass).unsqueeze(-1)
    rows = (teacher.dense(alive) / safe).clamp(min=0)
    entropies: Tensor = mass * torch.special.entr(rows).sum(-1)
    return entropies
