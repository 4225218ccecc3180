"""Cases of the cross-entropy: smoothing, class weights, ignored positions, wrong arguments."""

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
    slips,
)

INF = float("inf")
NAN = float("nan")
K = 5
GENERATOR = torch.Generator().manual_seed(7)
LOGITS = 2 * torch.randn(6, K, generator=GENERATOR)
LABELS = torch.tensor([0, 1, 2, 3, 3, 1])
WEIGHT = torch.tensor([0.5, 3.0, 1.0, 0.25, 1.5])

# torch documents it so.
NAN_SILENTLY = {"NaN, without a word": NAN}
BY_NUMBER = "the mean over rows divides by their number, whatever their weights"
COMPUTED = "computed, without a word"
ALL_ROWS = "the mean is over all rows, ignored ones too"
EVENLY = "ignored rows get the rate's share of every class"

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


def smoothing_cases() -> list[Case]:
    once = expected(SMOOTHED)
    mixed = 0.7 * PLAIN.one_hot() + 0.3 * PLAIN.one_hot().flip(0)
    none = IMAGES.but(reduction="none")
    twice = SMOOTHED.but(target=shares(SMOOTHED).float())
    return [
        Case("plain", "reference", "Cross-entropy of labels, no smoothing.", loss(PLAIN),
             expected(PLAIN)),
        Case("smoothed", "fairseq, CoinCheung",
             "Rate 0.1 over 5 classes: the label keeps 0.9, and 0.1 is spread over all five.",
             loss(SMOOTHED), once, conventions(SMOOTHED), slips(SMOOTHED)),
        Case("images", "timm",
             "Logits (N, K, H, W) with labels (N, H, W), rate 0.1; the class dimension comes last "
             "where a library works on the last one.",
             loss(IMAGES), expected(IMAGES), conventions(IMAGES),
             {"labels are looked up at other pixels": _elsewhere(), **slips(IMAGES)}),
        Case("shape of the unreduced loss", "smp",
             "Without a reduction a loss of labels (2, 3, 4) has that shape.",
             lambda library: "x".join(map(str, library.loss(none).shape)), "2x3x4",
             {}, {"the class dimension stays": "2x1x3x4"}),
        Case("unreduced losses", "reference", "Each position's smoothed loss.",
             loss(none), expected(none), conventions(none), slips(none)),
        Case("defaults", "smp", "A loss made without arguments, on labels: the NLL.",
             lambda library: library.default(PLAIN), expected(PLAIN),
             {"it smooths with 0.1 unless told not to": once},
             {f"it smooths with 0.1, {reason}": value
              for reason, value in slips(SMOOTHED).items()}),
        Case("one-hot rows, smoothed", "promise 1",
             "Labels written as one-hot rows and smoothed with 0.1 give the loss of the labels.",
             loss(SOFT), once),
        Case("mixed rows, smoothed", "promise 5, Composer",
             "MixUp rows (0.7 and 0.3) smoothed with 0.1: the mix of the two smoothed losses.",
             loss(SMOOTHED.but(target=mixed)),
             0.7 * once + 0.3 * expected(SMOOTHED.but(target=LABELS.flip(0)))),
        Case("smoothed twice", "promise 5, torch",
             "A target smoothed with 0.1 meets a loss with rate 0.1: refused, or smoothed once.",
             lambda library: _if_not_refused(library.smoothed_twice, SMOOTHED), Refused,
             {"smooths what it is given, again": expected(twice)}),
        Case("mixed with a smoothed target", "promise 5",
             "Half a smoothed target and half a hard one: refused, since its rate is neither.",
             lambda library: _if_not_refused(library.mixed_with_a_smoothed_one, SMOOTHED),
             Refused),
        Case("evaluation", "promise 6, torch",
             "A loss module with rate 0.1 in `.eval()` reports the NLL, so that methods compare.",
             lambda library: library.evaluated(SMOOTHED), expected(PLAIN),
             {"`.eval()` changes nothing": once},
             {f"`.eval()` changes nothing, {reason}": value
              for reason, value in slips(SMOOTHED).items()}),
        Case("labels left alone", "transformers (mended in 2021)",
             "The caller's labels, ignored ones among them, are the same after the call.",
             _labels_after, "unchanged"),
        Case("micro-batches", "transformers (mended in 2026)",
             "Four unequal parts with one common divisor add up to the loss of the whole batch.",
             lambda library: library.in_micro_batches(_parts(), 6), once),
    ]  # fmt: skip


def _elsewhere() -> Tensor:
    """The label of pixel (h, w) is looked up at pixel (0, h)."""
    log_p = torch.log_softmax(IMAGES.logits.double().movedim(1, -1), -1)
    found = log_p[:, 0, :3].gather(-1, IMAGES.target)
    return -0.9 * found.mean() - 0.1 * log_p.mean()


def _if_not_refused(ask: Callable[[Problem], Any], problem: Problem) -> Any:
    try:
        return ask(problem)
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
    rows = as_rows(both)
    per_sample = (cross_entropies(SMOOTHED, shares(SMOOTHED)) * WEIGHT[LABELS]).sum()
    by_number = expected(both, divisor=6)
    apart, total = both.but(reduction="none"), both.but(reduction="sum")
    nothing = weighted.but(weight=torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0]))
    return [
        Case("weighted", "promise 1", "Class weights, rate 0.1, mean: each class's term has its "
             "weight, the divisor is the sum of the labels' weights.",
             loss(both), expected(both),
             {"weight per sample": per_sample / WEIGHT[LABELS].sum(), BY_NUMBER: by_number}),
        Case("weighted: labels and one-hot rows", "promise 1, torch",
             "Class weights, mean: labels, and the same labels as one-hot rows, give one loss.",
             lambda library: [library.loss(p) for p in (weighted, as_rows(weighted))],
             [expected(weighted)] * 2,
             {BY_NUMBER: [expected(weighted), expected(weighted, divisor=6)]}),
        Case("weighted: labels and smoothed rows", "promise 1, torch",
             "The same with rate 0.1 for the labels, and with the rows smoothed by the loss.",
             lambda library: [library.loss(p) for p in (both, rows)],
             [expected(both)] * 2,
             {BY_NUMBER: [expected(both), by_number],
              f"for both, {BY_NUMBER}": [by_number, by_number]}),
        Case("weighted: sum", "promise 1",
             "The same as a sum: labels, and the labels as rows.",
             lambda library: [library.loss(p) for p in (total, rows.but(reduction="sum"))],
             [expected(total)] * 2),
        Case("weighted: unreduced", "promise 1",
             "The same without a reduction: each sample's loss from the labels, and how far the "
             "rows' are from them.",
             lambda library: _apart(library, apart), [*expected(apart), 0.0]),
        Case("weights that leave no divisor", "promise 1",
             "Every label's class has the weight 0: a mean over nothing is an error.",
             lambda library: refused(library, weighted, nothing), Refused,
             {"NaN in place of an error": NAN}),
    ]  # fmt: skip


def _apart(library: Any, problem: Problem) -> list[Any]:
    losses = library.loss(problem)
    return [*losses, (library.loss(as_rows(problem)) - losses).abs().max()]


def as_rows(problem: Problem) -> Problem:
    return problem.but(target=problem.one_hot())


def wrong_cases() -> list[Case]:
    minus = SMOOTHED.but(rate=-0.1)
    above = SMOOTHED.but(rate=1.5)
    stray = PLAIN.but(target=torch.tensor([0, -1, 2, 3, 3, 1]))
    outside = PLAIN.but(target=torch.tensor([0, 7, 2, 3, 3, 1]))
    short = SMOOTHED.but(target=LABELS[:5])
    whole = PLAIN.but(logits=LOGITS.long())
    instead = {"NaN in place of an error": NAN}
    return [
        Case("negative rate", "promise 9, torch, timm",
             "Rate -0.1 makes the loss unbounded below: refused unless the caller says so.",
             lambda library: refused(library, SMOOTHED, minus), Refused,
             computed(minus),
             {"the rate is ignored, without a word": expected(PLAIN), **NAN_SILENTLY,
              **slips(minus)}),
        Case("negative rate, asked for", "promise 9",
             "The same by a caller who says so: the label gets 1.08, each other class -0.02.",
             lambda library: library.negative(minus), expected(minus)),
        Case("rate above 1", "promise 7", "Rate 1.5 is an error.",
             lambda library: refused(library, SMOOTHED, above), Refused,
             computed(above), {**NAN_SILENTLY, **slips(above)}),
        Case("label 7 of 5 classes", "promise 7", "A label out of range is an error.",
             lambda library: refused(library, PLAIN, outside), Refused, instead),
        Case("label -1", "promise 7",
             "The label -1 is no class and not the ignored one: an error, not another class.",
             lambda library: refused(library, PLAIN, stray), Refused, instead,
             {"taken for the last class": expected(PLAIN.but(target=stray.target % K)),
              "taken for class 0": expected(PLAIN.but(target=stray.target.clamp(0)))}),
        Case("a label too few", "promise 7", "Logits of six samples and five labels: an error.",
             lambda library: refused(library, SMOOTHED, short), Refused),
        Case("whole numbers for logits", "promise 7",
             "Logits of an integer dtype, labels by mistake perhaps: an error.",
             lambda library: refused(library, PLAIN, whole), Refused,
             computed(whole)),
    ]  # fmt: skip


def _meets(library: Any, problem: Problem) -> Any:
    """The loss, whether or not the library has an argument for it."""
    library.loss(PLAIN)
    try:
        return library.cross_entropy(problem)
    except Exception as error:
        return Refused(first_line(error))


def computed(problem: Problem) -> dict[str, Tensor]:
    """The formula's value where an error was due."""
    others = {COMPUTED: expected(problem)}
    if problem.rate:
        others[f"{COMPUTED}; K-1"] = expected(problem, spread="K-1")
    return others


def ignored_cases() -> list[Case]:
    half = half_ignored()
    nothing = SMOOTHED.but(target=torch.full((6,), IGNORED))
    rows = half.but(rate=0.0, target=half.one_hot())
    hard = half.but(rate=0.0)
    junk = LOGITS.clone()
    junk[1], junk[3] = NAN, INF
    return [
        Case("half of the labels ignored", "promise 4, smp, Composer",
             "Rate 0.1, half of the labels ignored: the mean over the others.",
             loss(half), expected(half), conventions(half),
             {ALL_ROWS: _over_all(half),
              EVENLY: _drawn(half), **slips(half)}),
        Case("target of an ignored label", "promise 4, Composer",
             "The smoothed row of a label -100 on its own: no mass anywhere.",
             lambda library: library.smoothed_target(half)[1], [0.0] * K,
             {}, {EVENLY: [SMOOTHED.rate / K] * K}),
        Case("the label -100", "promise 4, timm",
             "Label -100 in a library that may know of no ignored labels, no smoothing: the mean "
             "over the others, or an error.",
             lambda library: _meets(library, hard), expected(hard),
             {"refused": Refused, "NaN in place of an error": NAN}, {ALL_ROWS: _over_all(hard)}),
        Case("gradient of ignored rows", "promise 4",
             "An ignored row's gradient is exactly 0 (the largest entry is shown).",
             lambda library: library.gradient(half)[half.target == IGNORED].abs().max(), 0.0,
             {}, {EVENLY: _pull(half)}, tolerance=0.0),
        Case("ignored rows that hold NaN and inf", "promise 4",
             "What an ignored row holds does not reach the loss (the change that it makes is "
             "shown).",
             lambda library: library.loss(half.but(logits=junk)) - library.loss(half), 0.0,
             {}, {EVENLY: NAN}, tolerance=0.0),
        Case("everything ignored", "promise 4, torch",
             "A batch of ignored labels has the mean 0, so that one such batch does not end a run.",
             loss(nothing), 0.0, {"the mean of nothing is NaN": NAN}, {EVENLY: _drawn(nothing)},
             tolerance=0.0),
        Case("rows without mass", "promise 4",
             "One-hot rows, half of them all zeros: the mean over the rows that have a label.",
             loss(rows), expected(rows),
             {"the mean is over all rows, empty ones too": expected(rows, divisor=6)}),
    ]  # fmt: skip


def _over_all(problem: Problem) -> Tensor:
    return expected(problem, divisor=len(LABELS))


def _drawn(problem: Problem) -> Tensor:
    rows = shares(problem) + problem.rate / K * problem.target.eq(IGNORED).unsqueeze(-1)
    return cross_entropies(problem, rows).sum() / rows.sum()


def _pull(problem: Problem) -> Tensor:
    """The largest entry of the gradient that this gives an ignored row."""
    ignored = problem.target.eq(IGNORED)
    p = torch.softmax(problem.logits.double(), -1)[ignored]
    mass = (~ignored).sum() + problem.rate * ignored.sum()
    return (problem.rate * (p - 1 / K) / mass).abs().max()
