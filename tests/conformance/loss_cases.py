"""Cases of the cross-entropy: smoothing, weights, ignored and masked positions, half precision."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tests.conformance.problem import (
    IGNORED,
    Case,
    Problem,
    Refused,
    conventions,
    cross_entropies,
    expected,
    first_line,
    shares,
)

INF = float("inf")
NAN = float("nan")
K = 5
GENERATOR = torch.Generator().manual_seed(7)
LOGITS = 2 * torch.randn(6, K, generator=GENERATOR)
LABELS = torch.tensor([0, 1, 2, 3, 3, 1])
WEIGHT = torch.tensor([0.5, 3.0, 1.0, 0.25, 1.5])

# torch documents it so.
BY_NUMBER = "the mean over rows divides by their number, whatever their weights"
COMPUTED = "computed, without a word"

PLAIN = Problem(LOGITS, LABELS)
SMOOTHED = PLAIN.but(rate=0.1)
SOFT = SMOOTHED.but(target=PLAIN.one_hot())
IMAGES = Problem(
    2 * torch.randn(2, K, 3, 4, generator=GENERATOR),
    torch.randint(K, (2, 3, 4), generator=GENERATOR),
    rate=0.1,
)


def loss(problem: Problem) -> Callable[[Any], Tensor]:
    return lambda library: library.loss(problem)


def refused(library: Any, valid: Problem, wrong: Problem) -> Any:
    """What the library makes of a wrong argument, once it answered a valid one."""
    library.loss(valid)
    try:
        return library.loss(wrong)
    except Exception as error:
        return Refused(first_line(error))


def half_ignored() -> Problem:
    return SMOOTHED.but(target=torch.tensor([0, IGNORED, 2, IGNORED, 3, IGNORED]))


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


def smoothing_cases() -> list[Case]:
    once = expected(SMOOTHED)
    mixed = 0.7 * PLAIN.one_hot() + 0.3 * PLAIN.one_hot().flip(0)
    none = IMAGES.but(reduction="none")
    twice = SMOOTHED.but(target=shares(SMOOTHED).float())
    return [
        Case("plain", "reference", "Cross-entropy of labels, no smoothing.", loss(PLAIN),
             expected(PLAIN)),
        Case("smoothed", "fairseq, CoinCheung V1",
             "Rate 0.1 over 5 classes: the label keeps 0.9, and 0.1 is spread over all five.",
             loss(SMOOTHED), once, conventions(SMOOTHED)),
        Case("images", "timm",
             "Logits (N, K, H, W) with labels (N, H, W), rate 0.1; the class dimension comes last "
             "where a library works on the last one.",
             loss(IMAGES), expected(IMAGES), conventions(IMAGES)),
        Case("shape of the unreduced loss", "smp",
             "Without a reduction a loss of labels (2, 3, 4) has that shape.",
             lambda library: "x".join(map(str, library.loss(none).shape)), "2x3x4"),
        Case("unreduced losses", "reference", "Each position's smoothed loss.",
             loss(none), expected(none), conventions(none)),
        Case("defaults", "smp", "A loss made without arguments, on labels: the NLL.",
             lambda library: library.default(PLAIN), expected(PLAIN),
             {"it smooths with 0.1 unless told not to": once}),
        Case("one-hot rows, smoothed", "promise 1",
             "Labels written as one-hot rows and smoothed with 0.1 give the loss of the labels.",
             loss(SOFT), once),
        Case("mixed rows, smoothed", "promise 5, Composer",
             "MixUp rows (0.7 and 0.3) smoothed with 0.1: the mix of the two smoothed losses.",
             loss(SMOOTHED.but(target=mixed)),
             0.7 * once + 0.3 * expected(SMOOTHED.but(target=LABELS.flip(0)))),
        Case("smoothed twice", "promise 5, torch",
             "A target smoothed with 0.1 meets a loss with rate 0.1: refused, or smoothed once.",
             lambda library: _twice(library), Refused,
             {"smooths what it is given, again": expected(twice)}),
        Case("evaluation", "promise 6, torch",
             "A loss module with rate 0.1 in `.eval()` reports the NLL, so that methods compare.",
             lambda library: library.evaluated(SMOOTHED), expected(PLAIN),
             {"`.eval()` changes nothing": once}),
        Case("labels left alone", "transformers (mended in 2021)",
             "The caller's labels, ignored ones among them, are the same after the call.",
             _labels_after, "unchanged"),
        Case("micro-batches", "transformers (mended in 2026)",
             "Four unequal parts with one common divisor add up to the loss of the whole batch.",
             lambda library: library.in_micro_batches(_parts(), 6), once),
    ]  # fmt: skip


def _twice(library: Any) -> Any:
    try:
        return library.smoothed_twice(SMOOTHED)
    except (TypeError, ValueError) as error:
        return Refused(first_line(error))


def _parts() -> list[Problem]:
    cuts = [(0, 1), (1, 2), (2, 5), (5, 6)]
    return [SMOOTHED.but(logits=LOGITS[a:b], target=LABELS[a:b]) for a, b in cuts]


def _labels_after(library: Any) -> str:
    given = half_ignored().target.clone()
    library.loss(half_ignored().but(target=given))
    return "unchanged" if torch.equal(given, half_ignored().target) else f"{given.tolist()}"


def weight_cases() -> list[Case]:
    weighted = PLAIN.but(weight=WEIGHT)
    both = SMOOTHED.but(weight=WEIGHT)
    per_sample = (cross_entropies(SMOOTHED, shares(SMOOTHED)) * WEIGHT[LABELS]).sum()
    return [
        Case("weighted", "promise 1", "Class weights, rate 0.1, mean: each class's term has its "
             "weight, the divisor is the sum of the labels' weights.",
             loss(both), expected(both),
             {"weight per sample": per_sample / WEIGHT[LABELS].sum()}),
        Case("weighted: labels and one-hot rows", "promise 1, torch",
             "Class weights, mean: labels, and the same labels as one-hot rows, give one loss.",
             lambda library: [library.loss(p) for p in (weighted, _as_rows(weighted))],
             [expected(weighted)] * 2,
             {BY_NUMBER: [expected(weighted), expected(weighted, divisor=6)]}),
        Case("weighted: labels and smoothed rows", "promise 1, torch",
             "The same with rate 0.1 for the labels, and with the rows smoothed by the loss.",
             lambda library: [library.loss(p) for p in (both, _as_rows(both))],
             [expected(both)] * 2,
             {BY_NUMBER: [expected(both), expected(both, divisor=6)]}),
    ]  # fmt: skip


def _as_rows(problem: Problem) -> Problem:
    return problem.but(target=problem.one_hot())


def wrong_cases() -> list[Case]:
    minus = SMOOTHED.but(rate=-0.1)
    above = SMOOTHED.but(rate=1.5)
    stray = PLAIN.but(target=torch.tensor([0, -1, 2, 3, 3, 1]))
    outside = PLAIN.but(target=torch.tensor([0, 7, 2, 3, 3, 1]))
    return [
        Case("negative rate", "promise 9, torch, timm",
             "Rate -0.1 makes the loss unbounded below: refused unless the caller says so. "
             "(The loss of the first case means that the rate was ignored.)",
             lambda library: refused(library, SMOOTHED, minus), Refused,
             {COMPUTED: expected(minus)}),
        Case("rate above 1", "promise 7", "Rate 1.5 is an error.",
             lambda library: refused(library, SMOOTHED, above), Refused,
             {COMPUTED: expected(above)}),
        Case("label 7 of 5 classes", "promise 7", "A label out of range is an error.",
             lambda library: refused(library, PLAIN, outside), Refused,
             {"NaN in place of an error": NAN}),
        Case("label -1", "promise 7",
             "-1 is no class and not the ignored label: an error, not another class.",
             lambda library: refused(library, PLAIN, stray), Refused,
             {"NaN in place of an error": NAN}),
    ]  # fmt: skip


def ignored_cases() -> list[Case]:
    half = half_ignored()
    nothing = SMOOTHED.but(target=torch.full((6,), IGNORED))
    rows = half.but(rate=0.0, target=half.one_hot())
    junk = LOGITS.clone()
    junk[1], junk[3] = NAN, INF
    return [
        Case("half of the labels ignored", "promise 4, smp, Composer",
             "Rate 0.1, half of the labels ignored: the mean over the others.",
             loss(half), expected(half), conventions(half)),
        Case("gradient of ignored rows", "promise 4",
             "An ignored row's gradient is exactly 0 (the largest entry is shown).",
             lambda library: library.gradient(half)[half.target == IGNORED].abs().max(), 0.0,
             tolerance=0.0),
        Case("ignored rows that hold NaN and inf", "promise 4",
             "What an ignored row holds does not reach the loss (the change that it makes is "
             "shown).",
             lambda library: library.loss(half.but(logits=junk)) - library.loss(half), 0.0,
             tolerance=0.0),
        Case("everything ignored", "promise 4, torch",
             "A batch of ignored labels has the mean 0, so that one such batch does not end a run.",
             loss(nothing), 0.0, {"the mean of nothing is NaN": NAN}, tolerance=0.0),
        Case("rows without mass", "promise 4",
             "One-hot rows, half of them all zeros: the mean over the rows that have a label.",
             loss(rows), expected(rows),
             {"the mean is over all rows, empty ones too": expected(rows, divisor=6)}),
    ]  # fmt: skip


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
              "K-1: finite, and the masked class keeps its share": _moved("K-1")}),
        Case("masked class, one-hot rows", "promise 2, torch",
             "One-hot rows without smoothing: 0 mass on a masked class counts 0.",
             loss(_as_rows(hard)), expected(hard)),
        Case("masked class of weight 0", "torch",
             "Rate 0.1, and the masked class has the weight 0: the loss of the other classes.",
             loss(zero_weight), expected(zero_weight, alive=alive()),
             {"the masked class's share is dropped": expected(zero_weight)}),
        Case("masked label", "promise 2",
             "Without smoothing, a label that is itself masked has the loss inf, which shows the "
             "mistake.",
             loss(dead_label), INF),
        Case("row with every class masked", "promise 2",
             "There is nothing to learn from such a row: it counts as ignored.",
             loss(SMOOTHED.but(logits=dead_row)), expected(others),
             {"undefined": NAN}),
        Case("class mask", "promise 2",
             "A model that masks with -1e9 says which classes live; the loss is as with -inf.",
             lambda library: library.with_class_mask(marked, alive()), living),
    ]  # fmt: skip


def _gradient_distance(library: Any) -> Any:
    right = torch.softmax(masked().logits.double(), -1) - shares(masked(), alive=alive())
    return (library.gradient(masked()).double() - right / len(LABELS)).abs().max()


def _moved(spread: str) -> Tensor:
    """How far the gradient of the formula read literally is from the right one."""
    rows = shares(masked(), alive=alive()) - shares(masked(), spread=spread)
    return rows.abs().max() / len(LABELS)


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
                    tolerance=tolerance,
                )
            )
    return [
        *cases,
        Case("float16 gradient under a loss scale", "promise 3",
             "Loss times 2^15, 128 rows, 32,000 classes in float16: at least 99 % of the "
             "gradient's entries are neither 0 nor infinite (the share is shown).",
             _kept, 1.0, tolerance=0.01),
    ]  # fmt: skip


def _kept(library: Any) -> Any:
    gradient = library.gradient(large(32_000, torch.float16, 128), 2.0**15)
    return ((gradient != 0) & gradient.isfinite()).float().mean()


LOSS_CASES = [
    *smoothing_cases(),
    *weight_cases(),
    *ignored_cases(),
    *masked_cases(),
    *half_precision_cases(),
    *wrong_cases(),
]
