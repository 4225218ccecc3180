"""Claims on what label smoothing does to translations and to the confidence behind them."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from softtargets.claims.arms import Arm, Try
from softtargets.claims.claim import Claim, Measured, Quoted, Results, Test, levels, lines
from softtargets.claims.intervals import Paired, sample_weights
from softtargets.claims.measures import BINS
from softtargets.claims.rule import Rule
from softtargets.claims.runs import Stored
from softtargets.lab.translation.score import bleu_of

PAPER = "Müller, Kornblith, Hinton, When Does Label Smoothing Help?, NeurIPS 2019"
SEEDS = 3
WIDTH = 4


def bleu(runs: Sequence[Stored], width: int) -> Paired:
    """BLEU of the test sentences, in percent, by a beam of this width.

    Args:
        runs: by seed.
        width: of the search.
    """
    return _of_sentences(
        runs, lambda run: torch.from_numpy(run.arrays[f"bleu_statistics_{width}"]), bleu_of
    )


def log_loss(runs: Sequence[Stored], *, scaled: bool = False) -> Paired:
    """NLL per reference token, as trained or after temperature scaling.

    Args:
        runs: by seed.
        scaled: after it.
    """
    return _of_sentences(runs, partial(_losses, scaled=scaled), lambda sums: _ratio(sums, 1))


def calibration_error(runs: Sequence[Stored], *, scaled: bool = False) -> Paired:
    """ECE of the most probable token, debiased and signed; spread by that of the plain one.

    Args:
        runs: by seed.
        scaled: after temperature scaling.
    """
    plain = _of_sentences(runs, partial(_gaps, scaled=scaled), lambda sums: _ratio(sums, BINS))
    values = [
        (run.record.scaled if scaled else run.record.metrics)[
            "expected_calibration_error_debiased"
        ].value
        for run in runs
    ]
    return Paired(torch.tensor(values, dtype=torch.float64), plain.draws)


def _losses(run: Stored, *, scaled: bool) -> Tensor:
    """`(N, 2)`: the sum of losses of each sentence, and its tokens."""
    sentence, nll = _tokens(run, "nll", scaled=scaled)
    count = torch.bincount(sentence).double()
    return torch.stack([torch.zeros_like(count).index_add_(0, sentence, nll), count], 1)


def _gaps(run: Stored, *, scaled: bool) -> Tensor:
    """`(N, BINS + 1)`: confidence less correctness, summed by bin, and the number of tokens."""
    sentence, confidence = _tokens(run, "confidence", scaled=scaled)
    _, right = _tokens(run, "right", scaled=scaled)
    count = torch.bincount(sentence).double()
    bins = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
    table = torch.zeros(len(count), BINS, dtype=torch.float64)
    table.index_put_((sentence, bins), confidence - right, accumulate=True)
    return torch.cat([table, count.unsqueeze(1)], 1)


def _tokens(run: Stored, name: str, *, scaled: bool) -> tuple[Tensor, Tensor]:
    """`(M,)` each: which sentence a token is of, and a number of it."""
    prefix = "scaled_token_" if scaled else "token_"
    values = torch.from_numpy(run.arrays[f"{prefix}{name}"]).double()
    return torch.from_numpy(run.arrays[f"{prefix}sentence"]), values


def _ratio(sums: Tensor, parts: int) -> float:
    """The sizes of the first sums together, over the last."""
    return float(sums[:parts].abs().sum() / sums[-1])


def _of_sentences(
    runs: Sequence[Stored], table: Callable[[Stored], Tensor], measure: Callable[[Tensor], float]
) -> Paired:
    """A measure of sums over sentences, and what it becomes as these are redrawn."""
    values, draws = [], []
    for run in runs:
        rows = table(run).double()
        # Redrawn sums of counts must stay whole numbers, as BLEU takes them.
        sums = sample_weights(len(rows)).double() @ rows
        if not torch.is_floating_point(table(run)):
            sums, rows = sums.round().long(), rows.long()
        values.append(measure(rows.sum(0)))
        draws.append(torch.tensor([measure(each) for each in sums], dtype=torch.float64))
    return Paired(torch.tensor(values, dtype=torch.float64), torch.stack(draws, 1))


def _beam(results: Results) -> Measured:
    found = {name: results.stored(name) for name in results.arms}
    widths = [search.width for search in found["hard"][0].record.searches]
    scores = {
        name: {float(width): bleu(runs, width) for width in widths} for name, runs in found.items()
    }
    losses = {name: log_loss(runs) for name, runs in found.items()}
    errors = {name: calibration_error(runs) for name, runs in found.items()}
    for name, runs in found.items():
        losses[f"{name}, scaled"] = log_loss(runs, scaled=True)
        errors[f"{name}, scaled"] = calibration_error(runs, scaled=True)
    gain = {width: scores["LS"][width] - scores["hard"][width] for width in scores["hard"]}
    return Measured(
        {
            "BLEU": gain[WIDTH],
            "ECE": errors["LS"] - errors["hard"],
            "NLL": losses["LS"] - losses["hard"],
            "beam": gain[widths[-1]] - gain[widths[0]],
        },
        (
            lines("BLEU by beam width", "beam width", scores),
            levels("debiased token ECE, %", errors, scale=100),
            levels("NLL per token", losses),
        ),
    )


BEAM = Claim(
    name="mueller.beam",
    paper=PAPER,
    statement="Label smoothing translates better though its likelihood is worse: BLEU and "
    "calibration improve, so calibration tells more of a translation model than NLL, and wider "
    "beams gain more.",
    figures=(
        Quoted(
            setting="WMT EN-DE, Transformer, beam search",
            measure="BLEU",
            values={"hard": 25.3, "LS": 25.8},
        ),
        Quoted(
            setting="WMT EN-DE, Transformer",
            measure="perplexity",
            values={"hard": 4.67, "LS": 4.92},
        ),
        Quoted(
            setting="WMT EN-DE, Transformer",
            measure="ECE",
            values={"hard": 0.056, "LS": 0.019},
        ),
        Quoted(
            setting="Multi30k",
            measure="in words: ECE better, no gain in BLEU",
            origin="replication",
        ),
    ),
    arms=(
        Arm(name="hard", method="hard", scene="sentences"),
        Arm(name="LS", method="ls", tries=(Try(parameters={"rate": 0.1}),), scene="sentences"),
    ),
    tests=(
        Test(
            name="BLEU",
            says=f"BLEU at beam width {WIDTH}, LS − hard labels",
            rule=Rule(above=0.0, seeds=SEEDS),
            unit="BLEU",
        ),
        Test(
            name="ECE",
            says="debiased ECE of next tokens, LS − hard labels",
            rule=Rule(below=0.0, seeds=SEEDS),
            scale=100,
            unit="points",
        ),
        Test(
            name="NLL",
            says="NLL of next tokens, LS − hard labels",
            rule=Rule(above=0.0, seeds=SEEDS),
            unit="nats",
        ),
        Test(
            name="beam",
            says="what LS adds to BLEU, widest beam − greedy search",
            rule=Rule(above=0.0, seeds=SEEDS),
            unit="BLEU",
        ),
    ),
    measure=_beam,
)

CLAIMS = (BEAM,)
