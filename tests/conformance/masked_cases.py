"""Cases of the cross-entropy: masked classes, and half precision."""

from typing import Any

import torch
from torch import Tensor

from tests.conformance.loss_cases import (
    INF,
    LABELS,
    LOGITS,
    NAN,
    PLAIN,
    SMOOTHED,
    K,
    as_rows,
    loss,
    refused,
)
from tests.conformance.problem import (
    Case,
    Problem,
    Refused,
    conventions,
    cross_entropies,
    expected,
    shares,
    slips,
)

ZERO_TIMES = {"0 times infinity": NAN}
PRIOR = torch.tensor([0.4, 0.1, 0.1, 0.1, 0.3])


def masked(**changes: Any) -> Problem:
    """The last class has the logit -inf in every row, and is no row's label."""
    logits = LOGITS.clone()
    logits[:, -1] = -INF
    return SMOOTHED.but(logits=logits, **changes)


def alive() -> Tensor:
    mask = torch.ones(len(LABELS), K, dtype=torch.bool)
    mask[:, -1] = False
    return mask


def large(classes: int, dtype: torch.dtype, rows: int = 4) -> Problem:
    generator = torch.Generator().manual_seed(11)
    logits = torch.randn(rows, classes, generator=generator).to(dtype)
    return Problem(logits, torch.arange(rows), rate=0.1)


def masked_cases() -> list[Case]:
    hard = masked(rate=0.0)
    zero_weight = masked(weight=torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0]))
    living = expected(masked(), alive=alive())
    dead_label = masked(rate=0.0, target=torch.tensor([0, 1, 4, 3, 3, 1]))
    dead_row = LOGITS.clone()
    dead_row[2] = -INF
    others = SMOOTHED.but(logits=LOGITS[[0, 1, 3, 4, 5]], target=LABELS[[0, 1, 3, 4, 5]])
    marked = SMOOTHED.but(logits=LOGITS.masked_fill(~alive(), -1e9))
    return [
        Case("masked class, smoothed", "promise 2, torch",
             "One class has the logit -inf. Rate 0.1 is spread over the four that are left, and "
             "the loss can be read.",
             loss(masked()), living, {"the formula read literally": INF}),
        Case("masked class, gradient", "promise 2",
             "The same: the gradient is that of the loss over the four classes (its distance to "
             "it is shown).",
             _gradient_distance, 0.0,
             {"finite, and the masked class keeps its share": _moved("K"),
              "K-1: finite, and the masked class keeps its share": _moved("K-1")},
             {"its target sums to 1 - rate / K, and the masked class has a share":
              _moved("light")}),
        Case("masked class, one-hot rows", "promise 2, torch",
             "One-hot rows without smoothing: 0 mass on a masked class counts 0.",
             loss(as_rows(hard)), expected(hard), {}, ZERO_TIMES),
        Case("masked class of weight 0", "torch",
             "Rate 0.1, and the masked class has the weight 0: the loss of the other classes.",
             loss(zero_weight), expected(zero_weight, alive=alive()),
             {"the masked class's share is dropped": expected(zero_weight)}, ZERO_TIMES),
        Case("masked label", "promise 2",
             "Without smoothing, a label that is itself masked has the loss inf, which shows the "
             "mistake.",
             loss(dead_label), INF, {}, ZERO_TIMES),
        Case("masked label, checked", "promise 2",
             "The same with every check on: an error.",
             lambda library: refused(_Validated(library), PLAIN, dead_label), Refused),
        Case("masked class, prior", "promise 2",
             "Rate 0.1 spread as the prior (0.4, 0.1, 0.1, 0.1, 0.3) says, the last class masked: "
             "the prior over the four that are left.",
             lambda library: library.with_prior(masked(), PRIOR), _with_prior()),
        Case("row with every class masked", "promise 2",
             "There is nothing to learn from such a row: it counts as ignored.",
             loss(SMOOTHED.but(logits=dead_row)), expected(others),
             {"undefined": NAN}),
        Case("class mask", "promise 2",
             "A model that masks with -1e9 says which classes live; the loss is as with -inf.",
             lambda library: library.with_class_mask(marked, alive()), living),
    ]  # fmt: skip


class _Validated:
    """A library that is asked with every check on."""

    def __init__(self, library: Any) -> None:
        self.loss = library.validated


def _with_prior() -> Tensor:
    prior = PRIOR[:-1].double() / PRIOR[:-1].sum()
    rows = 0.9 * PLAIN.one_hot().double()[:, :-1] + 0.1 * prior
    return cross_entropies(PLAIN.but(logits=LOGITS[:, :-1]), rows).mean()


def _gradient_distance(library: Any) -> Any:
    right = torch.softmax(masked().logits.double(), -1) - shares(masked(), alive=alive())
    return (library.gradient(masked()).double() - right / len(LABELS)).abs().max()


def _moved(spread: str) -> Tensor:
    """How far the gradient of the formula read literally is from the right one."""
    p = torch.softmax(masked().logits.double(), -1)
    rows = shares(masked(), spread=spread)
    away = rows.sum(-1, keepdim=True) * p - rows - (p - shares(masked(), alive=alive()))
    return away.abs().max() / len(LABELS)


def half_precision_cases() -> list[Case]:
    cases = []
    for classes in (32_000, 128_000):
        for dtype, tolerance in ((torch.float16, 2e-3), (torch.bfloat16, 1e-2)):
            problem = large(classes, dtype)
            cases.append(
                Case(
                    f"{str(dtype).removeprefix('torch.')}, {classes:,} classes",
                    "promise 3, torch",
                    f"Rate 0.1 over {classes:,} classes, logits in half precision.",
                    loss(problem),
                    expected(problem),
                    conventions(problem),
                    {"a sum that overflows": INF, **slips(problem)},
                    tolerance=tolerance,
                )
            )
    kept = ("at least 99 % of the gradient's entries are neither 0 nor infinite (the share is "
            "shown).")  # fmt: skip
    return [
        *cases,
        Case("dtype of the loss", "promise 3",
             "Logits in float16: the loss, and what is summed up of it later, is float32.",
             lambda library: library.loss_dtype(PLAIN.but(logits=LOGITS.half())), "float32",
             {"that of the logits": "float16"}),
        Case("float16 gradient under a loss scale of 2^15", "promise 3",
             f"128 rows, 32,000 classes in float16, the loss times 2^15: {kept}",
             lambda library: _kept(library, 15), 1.0, tolerance=0.01),
        Case("float16 gradient under a loss scale of 2^16", "promise 3",
             f"The same with the scale that `torch.amp.GradScaler` starts with, not under "
             f"autocast: {kept}",
             lambda library: _kept(library, 16), 1.0,
             {"none: float16 has no room for the scale": 0.0}, tolerance=0.01),
        Case("fused output layer", "promise 3, torch",
             "Hidden states (1024, 8) times the weights of 4,096 classes and the loss in one, "
             "float32, rate 0.1, for which torch makes the logits as a whole, with a warning.",
             lambda library: library.fused(*_layer(torch.float32), 0.1),
             _fused(torch.float32, 0.1)),
        Case("fused output layer, bfloat16", "promise 3, torch",
             "The same in bfloat16, not smoothed.",
             lambda library: library.fused(*_layer(torch.bfloat16), 0.0),
             _fused(torch.bfloat16, 0.0), {},
             {"the sum over chunks of rows is kept in bfloat16": _summed_in_bfloat16()},
             tolerance=1e-2),
    ]  # fmt: skip


def _kept(library: Any, exponent: int) -> Any:
    gradient = library.gradient(large(32_000, torch.float16, 128), 2.0**exponent)
    return ((gradient != 0) & gradient.isfinite()).float().mean()


def _layer(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(1024, 8, generator=generator)
    weight = 0.1 * torch.randn(4096, 8, generator=generator)
    return hidden.to(dtype), weight.to(dtype), (hidden @ weight.T).argmax(-1)


def _fused(dtype: torch.dtype, rate: float) -> Tensor:
    hidden, weight, labels = _layer(dtype)
    return expected(Problem(hidden.double() @ weight.double().T, labels, rate=rate))


def _summed_in_bfloat16() -> Tensor:
    """The losses added two rows at a time, each sum rounded."""
    hidden, weight, labels = _layer(torch.bfloat16)
    problem = Problem(hidden.double() @ weight.double().T, labels, reduction="none")
    total = torch.zeros((), dtype=torch.bfloat16)
    for pair in (expected(problem) / len(labels)).reshape(-1, 2).sum(-1).bfloat16():
        total = total + pair
    return total
