"""How near estimated transition matrices come to the noise that was drawn, on digits.

Labels are flipped by a seed, evenly or to the next class. A small network is trained on the noisy
labels of four fifths of the samples and predicts the rest, five times over. Nothing is chosen by
true labels: weight decay is the one with the least out-of-fold NLL of the noisy labels after a
temperature that is fitted on the same. Distances are those of rows to rows of the drawn matrix,
L1, at most 2, mean over the classes.
"""

import json
import math
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

import softtargets as st
from benchmarks import readme
from softtargets.bench import record
from softtargets.lab import seeds
from softtargets.lab.models import seeded_mlp
from softtargets.lab.summary import Mean, mean_over_seeds

ROOT = Path(__file__).parent.parent
RECORD = ROOT / "records" / "noise" / "transition_estimation.json"
PAGE = ROOT / "docs" / "noise-estimation.md"

CLASSES, HIDDEN, EPOCHS, BATCH, LEARNING_RATE, FOLDS = 10, (64,), 30, 64, 0.1, 5
SEEDS = range(10)
NOISE = (("symmetric", 0.2), ("symmetric", 0.4), ("pair", 0.2), ("pair", 0.4))
WEIGHT_DECAYS = (0.0, 0.005, 0.01, 0.02)
RESAMPLES, DRAWS = 200, 1000
METHODS = {
    "anchor, largest": {"method": "anchor"},
    "anchor, quantile 0.97": {"method": "anchor", "quantile": 0.97},
    "confident": {"method": "confident"},
    "dual": {"method": "dual"},
}
OVERFIT = "without weight decay and temperature"


def digits() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    inputs = torch.from_numpy(images).float()
    return (inputs - inputs.mean()) / inputs.std(), torch.from_numpy(labels).long()


def noisy(kind: str, rate: float, labels: Tensor, seed: int) -> st.noise.NoisyLabels:
    generator = seeds.generator("noise", kind, str(rate), seed)
    if kind == "symmetric":
        return st.noise.symmetric(labels, rate, CLASSES, generator=generator)
    return st.noise.pair(labels, rate, CLASSES, generator=generator)


def counts(clean: Tensor, drawn: Tensor) -> Tensor:
    """The transition matrix by true labels."""
    table = torch.bincount(clean * CLASSES + drawn, minlength=CLASSES**2).double()
    table = table.reshape(CLASSES, CLASSES)
    return table / table.sum(-1, keepdim=True)


def predictions(inputs: Tensor, labels: Tensor, weight_decay: float, seed: int) -> Tensor:
    """Out-of-fold probabilities of a network trained with cross-entropy and a cosine schedule."""

    def fit(x: Tensor, y: Tensor):
        model = seeded_mlp(inputs.shape[1], HIDDEN, CLASSES, seed)
        optimizer = torch.optim.SGD(
            model.parameters(), LEARNING_RATE, 0.9, nesterov=True, weight_decay=weight_decay
        )
        for epoch in range(EPOCHS):
            rate = LEARNING_RATE * (1 + math.cos(math.pi * epoch / EPOCHS)) / 2
            optimizer.param_groups[0]["lr"] = rate
            order = torch.randperm(len(y), generator=seeds.generator("order", seed, epoch))
            for batch in order.split(BATCH):
                optimizer.zero_grad()
                st.cross_entropy(model(x[batch]), y[batch]).backward()
                optimizer.step()
        return torch.no_grad()(lambda held: model(held).double().softmax(-1))

    generator = seeds.generator("folds", seed)
    return st.noise.out_of_fold_probs(
        fit, inputs, labels, CLASSES, folds=FOLDS, generator=generator
    )


def calibrated(probs: Tensor, labels: Tensor) -> tuple[Tensor, float, float]:
    """Probabilities after temperature scaling, their NLL and the temperature."""
    scaling = st.calibration.TemperatureScaling().fit(probs.log(), labels)
    scaled = scaling(probs.log())
    nll = float(st.calibration.negative_log_likelihood(scaled, labels))
    return scaled.softmax(-1), nll, scaling.temperature


def distance(estimate: Tensor, drawn: Tensor) -> float:
    return float((estimate - drawn).abs().sum(-1).mean())


def references(clean: Tensor, noise: st.noise.NoisyLabels, seed: int) -> dict[str, float]:
    """What is reached without an estimate, and with true labels."""
    drawn = noise.transition
    rate = float(noise.flipped.double().mean())
    even = torch.full_like(drawn, rate / (CLASSES - 1)).fill_diagonal_(1 - rate)
    generator = seeds.generator("resample", seed)
    picked = torch.randint(len(clean), (RESAMPLES, len(clean)), generator=generator)
    oracle = [distance(counts(clean[row], noise.labels[row]), drawn) for row in picked]
    return {
        "identity": distance(torch.eye(CLASSES, dtype=drawn.dtype), drawn),
        "symmetric, true rate": distance(even, drawn),
        "true labels of a resample": sum(oracle) / RESAMPLES,
    }


def estimates(probs: Tensor, noise: st.noise.NoisyLabels, seed: int) -> dict[str, dict[str, float]]:
    """Distance of each method, and how much of the drawn matrix its intervals hold."""
    results = {}
    for name, arguments in METHODS.items():
        known = st.noise.bootstrap_transition(
            probs,
            noise.labels,
            **arguments,
            draws=DRAWS,
            generator=seeds.generator("bootstrap", seed),
        )
        slack = 1e-12
        inside = (known.low - slack <= noise.transition) & (noise.transition <= known.high + slack)
        results[name] = {
            "distance": distance(known.transition, noise.transition),
            "entries inside": float(inside.double().mean()),
            "least support": int(known.support.min()),
        }
    return results


def run(kind: str, rate: float, seed: int, inputs: Tensor, clean: Tensor) -> dict[str, object]:
    """Everything of one draw of the noise."""
    noise = noisy(kind, rate, clean, seed)
    by_decay = {decay: predictions(inputs, noise.labels, decay, seed) for decay in WEIGHT_DECAYS}
    scaled = {decay: calibrated(probs, noise.labels) for decay, probs in by_decay.items()}
    chosen = min(scaled, key=lambda decay: scaled[decay][1])
    probs, nll, temperature = scaled[chosen]
    right = float((probs.argmax(-1) == clean).double().mean())
    return {
        "weight decay": chosen,
        "temperature": temperature,
        "NLL of noisy labels": nll,
        "accuracy for true labels": right,
        "references": references(clean, noise, seed),
        "chosen": estimates(probs, noise, seed),
        OVERFIT: estimates(by_decay[0.0], noise, seed),
    }


def summary(runs: list[dict[str, object]]) -> dict[str, object]:
    """Means over the seeds with their 95 % intervals."""

    def mean(*keys: str) -> dict[str, float]:
        values = []
        for result in runs:
            for key in keys:
                result = result[key]
            values.append(result)
        found = mean_over_seeds(values)
        return {name: round(value, 4) for name, value in asdict(found).items()}

    first = runs[0]
    return {
        "references": {name: mean("references", name) for name in first["references"]},
        **{
            part: {
                name: {key: mean(part, name, key) for key in ("distance", "entries inside")}
                for name in METHODS
            }
            for part in ("chosen", OVERFIT)
        },
        "accuracy for true labels": mean("accuracy for true labels"),
    }


def table(content: dict[str, object]) -> str:
    """Return the page's table of a record."""
    results = content["results"]
    heads = [f"{result['kind']} {result['rate']:.0%}" for result in results]
    lines = [
        f"`{content['command']}`, {len(content['settings']['seeds'])} seeds, mean [95 % interval]:",
        "",
        f"| | {' | '.join(heads)} |",
        f"|---|{'---:|' * len(heads)}",
    ]

    def row(title: str, cells: list[dict[str, float]]) -> None:
        shown = [Mean(**cell) for cell in cells]
        values = " | ".join(f"{m.value:.3f} [{m.low:.3f}, {m.high:.3f}]" for m in shown)
        lines.append(f"| {title} | {values} |")

    for name in results[0]["summary"]["references"]:
        row(f"*{name}*", [result["summary"]["references"][name] for result in results])
    for part, note in (("chosen", ""), (OVERFIT, ", overfit")):
        for name in METHODS:
            row(f"{name}{note}", [result["summary"][part][name]["distance"] for result in results])
    lines += ["", "Share of the drawn entries inside the bootstrap intervals:", "", *lines[2:4]]
    for name in METHODS:
        inside = [result["summary"]["chosen"][name]["entries inside"] for result in results]
        shares = [f"{share['value']:.2f}" for share in inside]
        lines.append(f"| {name} | {' | '.join(shares)} |")
    return "\n".join(lines) + "\n"


def rounded(value: object) -> object:
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def main() -> None:
    """Measure, write the record and the page's table."""
    torch.set_num_threads(1)
    inputs, clean = digits()
    where, results = record.machine(), []
    for kind, rate in NOISE:
        runs = []
        for seed in SEEDS:
            runs.append(run(kind, rate, seed, inputs, clean))
            print(kind, rate, seed, json.dumps(rounded(runs[-1])), flush=True)
        results.append(
            {
                "kind": kind,
                "rate": rate,
                "summary": summary(runs),
                "runs": [rounded(each) for each in runs],
            }
        )
    content = {
        "command": "python -m benchmarks.transition_estimation",
        "machine": where | {"threads": 1},
        "settings": {
            "data": "digits",
            "samples": len(clean),
            "hidden": list(HIDDEN),
            "epochs": EPOCHS,
            "batch": BATCH,
            "learning rate": LEARNING_RATE,
            "weight decays": list(WEIGHT_DECAYS),
            "folds": FOLDS,
            "seeds": list(SEEDS),
            "draws": DRAWS,
            "resamples": RESAMPLES,
        },
        "results": results,
    }
    record.write(RECORD.parent, RECORD.name, content)
    PAGE.write_text(readme.filled(PAGE.read_text(), "estimation", table(content)))


if __name__ == "__main__":
    main()
