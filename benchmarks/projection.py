"""Trains the networks whose penultimate layers docs/representation.md shows.

python -m benchmarks.projection

A network of two hidden layers for each method, on the digits of scikit-learn; about a minute. The
numbers go to records/representation, the picture to docs/assets, the table to the page.
"""

import json
from pathlib import Path

import msgspec
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import softtargets as st
from benchmarks.readme import filled
from softtargets.lab.records import environment, write_atomically
from softtargets.report.notation import title
from softtargets.report.projections import projection_figure
from softtargets.report.svg import standalone

ROOT = Path(__file__).parent.parent
RECORD = ROOT / "records" / "representation" / "digits.json"
PICTURE = ROOT / "docs" / "assets" / "projection.svg"
PAGE = ROOT / "docs" / "representation.md"
COMMAND = "python -m benchmarks.projection"
CLASSES = (3, 8, 1)
METHODS = {"hard": None, "ls": st.LabelSmoothing(0.1)}
SHOWN = 45  # samples of a class in a panel
EPOCHS = 60
DRAWS = 20
NOISE = 0.3  # of the pixels, in standard deviations, where information is measured


def parts() -> dict[str, tuple[Tensor, Tensor]]:
    """Return standardised inputs and labels of the training and the validation part."""
    images, labels = load_digits(return_X_y=True)
    inputs = torch.from_numpy(images).float()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    inputs, truth = (
        ((inputs - inputs.mean()) / inputs.std())[order],
        torch.from_numpy(labels)[order],
    )
    return {
        "training": (inputs[:1200], truth[:1200]),
        "validation": (inputs[1200:], truth[1200:]),
    }


def trained(smoothing: nn.Module | None, inputs: Tensor, labels: Tensor) -> nn.Sequential:
    """Return a trained network; its last layer is the head."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)
    )
    criterion = st.CrossEntropyLoss(smoothing)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(labels)).split(64):
            optimizer.zero_grad()
            criterion(model(inputs[batch]), labels[batch]).backward()
            optimizer.step()
        schedule.step()
    return model.eval()


@torch.no_grad()
def measured(model: nn.Sequential, data: dict[str, tuple[Tensor, Tensor]]) -> dict[str, object]:
    """Return what the page's table says of a network, on validation samples."""
    inputs, labels = data["validation"]
    separation = st.representation.class_separation(model[:-1](inputs), labels)
    pair = inputs[(labels == CLASSES[0]) | (labels == CLASSES[1])]
    generator = torch.Generator().manual_seed(0)
    draws = (
        model(pair + NOISE * torch.randn(pair.shape, generator=generator)) for _ in range(DRAWS)
    )
    return {
        "accuracy": float((model(inputs).argmax(-1) == labels).double().mean()),
        "cosine_separation": separation.cosine_separation,
        "scatter_ratio": separation.scatter_ratio,
        "information": st.representation.logit_mutual_information(draws, CLASSES[:2]),
        "samples": len(pair),
    }


def shown(labels: Tensor) -> Tensor:
    """Return the rows of the first samples of each class."""
    return torch.cat([(labels == each).nonzero()[:SHOWN, 0] for each in CLASSES])


def table(record: dict[str, object]) -> str:
    """Return the page's table."""
    rows = record["rows"]
    assert isinstance(rows, dict)
    lines = [
        "| validation samples | accuracy % | R² | between / within | sides of the triangle "
        "| information, nats |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for method, row in rows.items():
        sides = ", ".join(f"{side:.2f}" for side in row["sides"])
        lines.append(
            f"| {title(method)} | {100 * row['accuracy']:.1f} | {row['cosine_separation']:.3f} "
            f"| {row['scatter_ratio']:.2f} | {sides} | {row['information']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Train, measure, draw and fill in the page."""
    data, rows, projections = parts(), {}, {}
    for method, smoothing in METHODS.items():
        model = trained(smoothing, *data["training"])
        head = model[-1]
        projections[method] = {}
        for part, (inputs, labels) in data.items():
            some = shown(labels)
            with torch.no_grad():
                features = model[:-1](inputs[some])
            projections[method][part] = st.representation.penultimate_projection(
                features, head.weight, head.bias, CLASSES, labels[some]
            )
        sides = projections[method]["training"].sides.tolist()
        rows[method] = {**measured(model, data), "sides": sides}
    record = {
        "command": COMMAND,
        "environment": msgspec.to_builtins(environment()),
        "classes": CLASSES,
        "rows": rows,
    }
    RECORD.write_text(json.dumps(record, indent=1) + "\n")
    figure = projection_figure(projections, [f"digit {each}" for each in CLASSES])
    write_atomically(PICTURE, standalone(figure).encode())
    PAGE.write_text(filled(PAGE.read_text(), "projection", table(record)))


if __name__ == "__main__":
    main()
