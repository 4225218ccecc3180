"""Beam search beside transformers' `generate`: one model, one width, the same translations.

python -m benchmarks.beam_search --data PATH/multi30k

A small model is trained for a few hundred steps, enough for sentences that end, and decodes test
sentences in both libraries: its weights are those of an mBART without the norm that ours lacks
(`benchmarks.generate_twin`). Both get the same batches, of sources of like length. Before anything
is timed both must find the same translations, with `early_stopping="never"`, which alone is exact
there too. Needs the extra `translation` and transformers.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from benchmarks import generate_twin, readme
from benchmarks.costs import RECORDS, read
from softtargets import sequence_cross_entropy
from softtargets.bench import record
from softtargets.bench.measure import interleaved, ratios, spread
from softtargets.lab import seeds
from softtargets.lab.translation import corpus
from softtargets.lab.translation.batches import EncodedPairs, batches, encoded
from softtargets.lab.translation.beam import MEAN, LengthPenalty, beam_search
from softtargets.lab.translation.model import Size, Transformer
from softtargets.lab.translation.vocabulary import PAD, Vocabulary

PAGE = readme.ROOT / "docs" / "translation.md"
VOCABULARY, LIMIT, PENALTY = 6000, 60, MEAN
BATCH_TOKENS, DECODED_TOKENS = 1500, 1000
WIDTHS = (1, 4, 10)
# Sums in another order: two hypotheses that are as good as equal may change places.
TOLERANCE = 1e-3


class Pass:
    """One case: a function, nothing to prepare."""

    def __init__(self, function: Callable[[], object]) -> None:
        self.function = function

    def prepare(self) -> None:
        pass

    def run(self) -> None:
        self.function()


def trained(pairs: EncodedPairs, steps: int) -> tuple[Transformer, dict[str, Any]]:
    """Return a model after some steps of label smoothing, and what a step took."""
    torch.manual_seed(0)
    model = Transformer(Size(vocabulary=VOCABULARY))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, betas=(0.9, 0.98))
    began, tokens, last, step = time.process_time(), 0, [], 0
    while step < steps:
        for batch in batches(pairs, BATCH_TOKENS, seeds.generator("order", 0, step)):
            for group in optimizer.param_groups:
                group["lr"] = 2e-3 * min(1.0, (step + 1) / 100)
            logits = model(batch.source, batch.inputs)
            loss = sequence_cross_entropy(logits, batch.labels, smoothing=0.1, ignore_index=PAD)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            tokens, step = tokens + int((batch.labels != PAD).sum()), step + 1
            last.append(loss.item())
            if step == steps:
                break
    seconds = time.process_time() - began
    speed = {
        "steps": steps,
        "parameters": sum(each.numel() for each in model.parameters()),
        "loss of the last 20": round(sum(last[-20:]) / len(last[-20:]), 3),
        "steps per processor second": float(f"{steps / seconds:.3g}"),
        "target tokens per processor second": float(f"{tokens / seconds:.3g}"),
        "target tokens in an epoch": sum(len(each) + 1 for each in pairs.target),
    }
    return model.eval(), speed


def searched(model: Transformer, sources: list[Tensor], width: int) -> list[tuple[list[int], Any]]:
    """Return our translations and scores; no score where it was cut at the limit."""
    found = []
    # transformers has no length penalty for greedy search.
    penalty = PENALTY if width > 1 else LengthPenalty(0.0, 0.0)
    for source in sources:
        best = beam_search(
            model.decoding(source),
            torch.full((len(source),), LIMIT),
            width=width,
            penalty=penalty,
        )
        for row in range(len(source)):
            score = None if bool(best.forced[row, 0]) else float(best.scores[row, 0])
            found.append((best.sequence(row), score))
    return found


def generated(
    other: Any, sources: list[Tensor], width: int, early_stopping: bool | str
) -> list[tuple[list[int], Any]]:
    """Return the translations of `generate` and their scores; greedy search has none."""
    found: list[tuple[list[int], Any]] = []
    for source in sources:
        tokens, scores = generate_twin.generated(
            other, source, LIMIT, width=width, penalty=PENALTY, early_stopping=early_stopping
        )
        found += zip(tokens, scores or [None] * len(tokens), strict=True)
    return found


def gate(ours: list[tuple[list[int], Any]], theirs: list[tuple[list[int], Any]]) -> dict[str, int]:
    """Return how many translations are the same, or end if others are not as good as equal."""
    counts = {"same": 0, "equal score": 0, "cut at the limit": 0}
    for number, ((tokens, score), (others, other)) in enumerate(zip(ours, theirs, strict=True)):
        if score is None:
            # They cut a translation there, ours ends it: not the same search space.
            counts["cut at the limit"] += 1
        elif tokens == others:
            counts["same"] += 1
        elif other is not None and abs(score - other) <= TOLERANCE:
            counts["equal score"] += 1
        else:
            raise SystemExit(
                f"sentence {number} is translated as {tokens} ({score}) and {others} ({other}); "
                "nothing is timed"
            )
    return counts


def measure(model: Transformer, sources: list[Tensor], rounds: int) -> dict[str, Any]:
    """Return what each width costs in both libraries."""
    other, results = generate_twin.twin(model), {}
    for width in WIDTHS:
        print(f"width {width} ...", file=sys.stderr, flush=True)
        same = gate(searched(model, sources, width), generated(other, sources, width, "never"))
        cases = {"ours": Pass(lambda width=width: searched(model, sources, width))}
        for name, stop in (("exact", "never"), ("its default", False)):
            if name == "exact" or width > 1:
                cases[name] = Pass(
                    lambda width=width, stop=stop: generated(other, sources, width, stop)
                )
        times = interleaved(cases, rounds, "cpu")
        results[str(width)] = {
            "translations": same,
            "seconds": {name: asdict(spread(seconds)) for name, seconds in times.items()},
            "ratio of ours": {
                name: asdict(spread(ratios(times["ours"], seconds)))
                for name, seconds in times.items()
                if name != "ours"
            },
        }
    return results


def table(content: dict[str, Any]) -> str:
    """Return the record as the page shows it."""
    machine, problem = content["machine"], content["problem"]
    lines = [
        f"`{content['command']}`, {machine['threads']} thread of {machine['processor']}, torch "
        f"{machine['torch']}, transformers {problem['transformers']}, load "
        f"{machine['load'][0]} before the run; {problem['sentences']} sentences:",
        "",
        "| width | time, share of `generate`'s | range | share of default's | same |",
        "|---:|---:|---:|---:|---:|",
    ]
    for width, found in content["results"].items():
        ratio = found["ratio of ours"]
        exact, default = ratio["exact"], ratio.get("its default")
        shown = "" if default is None else f"{default['median']:.2f}"
        counted = found["translations"]
        compared = problem["sentences"] - counted["cut at the limit"]
        lines.append(
            f"| {width} | {exact['median']:.2f} | {exact['min']:.2f} to {exact['max']:.2f} | "
            f"{shown} | {counted['same']} of {compared} |"
        )
    return "\n".join(lines) + "\n"


def page(text: str) -> str:
    """Return the page with the table of the record."""
    return readme.filled(text, "beam search", table(read("beam_search")))


def main() -> None:
    """Train, compare, measure, and write the record and the table of the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="folder of Multi30k")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--sentences", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    machine = record.machine() | {"threads": 1}
    import transformers

    data = corpus.load(arguments.data)
    vocabulary = Vocabulary.learn([*data.train.source, *data.train.target], VOCABULARY)
    model, speed = trained(encoded(data.train, vocabulary), arguments.steps)
    print(record.as_text(speed), file=sys.stderr, flush=True)
    test = encoded(data.test, vocabulary)
    few = EncodedPairs(
        source=test.source[: arguments.sentences], target=test.target[: arguments.sentences]
    )
    sources = [batch.source for batch in batches(few, DECODED_TOKENS)]
    flags = " ".join(
        f"--{name} {getattr(arguments, name)}" for name in ("steps", "sentences", "rounds")
    )
    content = {
        "command": f"python -m benchmarks.beam_search --data multi30k {flags}",
        "machine": machine,
        "problem": {
            "data": data.digest,
            "sentences": len(few),
            "vocabulary": VOCABULARY,
            "limit": LIMIT,
            "length penalty": "mean over tokens; none for width 1",
            "transformers": transformers.__version__,
        },
        "training": speed,
        "results": measure(model, sources, arguments.rounds),
    }
    print(record.as_text(content))
    record.write(RECORDS, "beam_search.json", content)
    PAGE.write_text(page(PAGE.read_text()))


if __name__ == "__main__":
    main()
