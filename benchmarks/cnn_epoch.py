"""How long an epoch of a small network takes, and how much memory, on images held in memory.

Fashion-MNIST, all 29,000 images of the file that SOFTTARGETS_DATA holds, the model `cnn` of the
laboratory, SGD in batches of 128, plain PyTorch around it: with bare inputs, with the loss of the
library and with augmentation. The clock runs over training alone; loading is a row of its own.

    SOFTTARGETS_DATA=... python -m benchmarks.cnn_epoch [THREADS]
"""

import dataclasses
import json
import os
import resource
import statistics
import sys
import time
from pathlib import Path

import torch
from torch import nn

import softtargets as st
from benchmarks.costs import RECORDS
from softtargets.bench import record
from softtargets.lab import seeds
from softtargets.lab.data import DataSet, Split, augment, load
from softtargets.lab.models import build

EPOCHS, BATCH, LEARNING_RATE = 3, 128, 0.05
AIM = 7.5  # seconds per epoch on two cores
CASES = {
    "torch's cross-entropy": (nn.CrossEntropyLoss(label_smoothing=0.1), "none"),
    "softtargets, label smoothing": (st.CrossEntropyLoss(st.LabelSmoothing(0.1)), "none"),
    "softtargets, online label smoothing": (
        st.CrossEntropyLoss(st.OnlineLabelSmoothing(10)),
        "none",
    ),
    "softtargets, label smoothing, shift": (st.CrossEntropyLoss(st.LabelSmoothing(0.1)), "shift"),
}


def peak() -> float:
    """Return the most memory that the process has held, in MiB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def whole(data: DataSet) -> Split:
    """Return all 29,000 images; the laboratory keeps a seventh for validation."""
    parts = (data.train, data.validation)
    return dataclasses.replace(
        data.train,
        inputs=torch.cat([part.inputs for part in parts]),
        labels=torch.cat([part.labels for part in parts]),
    )


def run(data: DataSet, train: Split, criterion: nn.Module, augmentation: str) -> dict[str, object]:
    """Train and return seconds per epoch, of the clock and of the processors, and accuracy."""
    model = build("cnn", data.shape, data.num_classes, seed=0)
    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE, 0.9, nesterov=True)
    seconds, busy, accuracies = [], [], []
    for epoch in range(EPOCHS):
        order = torch.randperm(len(train), generator=seeds.generator("order", 0, epoch))
        drawn = seeds.generator("augment", 0, epoch)
        model.train()
        began, worked = time.perf_counter(), time.process_time()
        for batch in order.split(BATCH):
            inputs = augment(augmentation, train.take(batch), drawn)
            loss = criterion(model(inputs), train.labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        seconds.append(round(time.perf_counter() - began, 2))
        busy.append(round(time.process_time() - worked, 2))
        accuracies.append(round(accuracy(model, data.test), 4))
    return {
        "seconds": seconds,
        "median seconds": statistics.median(seconds),
        "processor seconds": busy,
        "test accuracy": accuracies,
    }


@torch.no_grad()
def accuracy(model: nn.Module, part: Split) -> float:
    """Return the share of right answers."""
    model.eval()
    said = torch.cat([model(inputs).argmax(-1) for inputs in part.chunks(1000)])
    return float((said == part.labels).double().mean())


def main() -> None:
    """Measure and write the record."""
    folder = os.environ.get("SOFTTARGETS_DATA")
    if not folder:
        raise SystemExit("name a folder that holds fashion_mnist/ in SOFTTARGETS_DATA")
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    torch.set_num_threads(threads)
    where, imported = record.machine(), peak()
    began = time.perf_counter()
    data = load(f"fashion-mnist:{Path(folder) / 'fashion_mnist'}")
    loading = {"seconds": round(time.perf_counter() - began, 2), "peak MiB": peak()}
    train = whole(data)
    results = {}
    for name, (criterion, augmentation) in CASES.items():
        results[name] = run(data, train, criterion, augmentation)
        print(name, json.dumps(results[name]), flush=True)
    content = {
        "command": f"python -m benchmarks.cnn_epoch {threads}",
        "machine": where | {"threads": threads},
        "settings": {
            "data": data.name,
            "images": len(train),
            "model": "cnn",
            "batch": BATCH,
            "epochs": EPOCHS,
            "aim, seconds": AIM,
        },
        "memory": {
            "images MiB": round(data.memory / 2**20, 1),
            "peak after imports MiB": imported,
            "peak after loading MiB": loading["peak MiB"],
            "peak MiB": peak(),
        },
        "loading seconds": loading["seconds"],
        "results": results,
        "load after": [round(each, 2) for each in os.getloadavg()],
    }
    record.write(RECORDS, "cnn_epoch.json", content)
    print(json.dumps(content["memory"]))


if __name__ == "__main__":
    main()
