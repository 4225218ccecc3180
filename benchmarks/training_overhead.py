"""What the laboratory's training loop adds to a bare loop of PyTorch, epoch by epoch.

The bare loop takes the same batches of the same tensors, calls the same network and criterion, and
leaves the same weights: that is checked first, bit for bit. Beside it, one with torch's own loss.
`whole` adds what a run does after each epoch: training and validation data are measured, and a
checkpoint is written; the bare loop then measures the same NLL and accuracy, and writes nothing.
Counted is the processor time of one thread, so that other programs on the machine matter less.
"""

import argparse
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

import softtargets as st
from benchmarks.costs import RECORDS
from softtargets.bench import record
from softtargets.bench.measure import ratios, spread
from softtargets.lab import seeds
from softtargets.lab.data import DataSet, Scale, Split, load
from softtargets.lab.epoch import Trainer
from softtargets.lab.measuring import measure
from softtargets.lab.networks import network
from softtargets.lab.records import RunFolder
from softtargets.lab.session import Session
from softtargets.lab.spec import RunSpec
from softtargets.lab.state import State
from softtargets.lab.task import Task


def pictures(samples: int) -> DataSet:
    """Return noise of the size of Fashion-MNIST's pictures, kept as bytes."""
    generator = torch.Generator().manual_seed(0)
    half = torch.full((1, 1, 1), 127.5, dtype=torch.float64)

    def part(count: int) -> Split:
        inputs = torch.randint(256, (count, 1, 28, 28), dtype=torch.uint8, generator=generator)
        labels = torch.randint(10, (count,), generator=generator)
        return Split(inputs=inputs, labels=labels, scale=Scale(mean=half, deviation=half))

    return DataSet(
        name="noise",
        digest="",
        num_classes=10,
        train=part(samples),
        validation=part(samples // 10),
        test=part(10),
        mean=half,
        deviation=half,
        positions=torch.arange(samples),
        total=samples,
    )


@dataclass
class Case:
    """A network, data, and how many samples a batch has."""

    data: DataSet
    model: str
    batch_size: int

    @property
    def spec(self) -> RunSpec:
        """Return the spec of a run of three epochs with hard labels."""
        return RunSpec(
            data="", data_hash="", method="hard", parameters={}, seed=0, noise=0.0, epochs=3,
            model=self.model, batch_size=self.batch_size, learning_rate=0.01,
        )  # fmt: skip


class Ours:
    """An epoch of the laboratory."""

    def __init__(self, case: Case, folder: Path | None) -> None:
        self.case = case
        self.folder = None if folder is None else RunFolder(folder, "run")

    def prepare(self) -> None:
        """Start anew."""
        spec, data, session = self.case.spec, self.case.data, Session(torch.device("cpu"))
        task = Task(
            parameters={}, num_classes=10, labels=data.train.labels, epochs=3,
            true_labels=data.train.labels,
        )  # fmt: skip
        self.state = State.start(spec, data, task, session)
        self.model = self.state.model
        self.trainer = Trainer(
            spec=spec, session=session, split=data.train, labels=data.train.labels, num_classes=10,
            model=self.model, criterion=self.state.criterion, optimizer=self.state.optimizer,
            scaler=None, averaged=None, teacher=None,
        )  # fmt: skip

    def run(self) -> None:
        """Train for an epoch."""
        loss = self.trainer.epoch(0)
        if self.folder is not None:
            data = self.case.data
            self.state.add(measure(self.model, data, data.train.labels, loss, None))
            self.folder.save_checkpoint(self.state.save())


class Bare:
    """The same, as one would write it down."""

    def __init__(self, case: Case, criterion: nn.Module, *, measured: bool) -> None:
        self.case, self.criterion, self.measured = case, criterion, measured

    def prepare(self) -> None:
        """Start anew."""
        self.model = network(self.case.spec, self.case.data)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4
        )
        # The order is the laboratory's, so that the weights can be compared.
        self.generator = seeds.generator("order", 0, 0)

    def run(self) -> None:
        """Train for an epoch."""
        split = self.case.data.train
        inputs, labels, read = split.inputs, split.labels, reader(split)
        self.model.train()
        order = torch.randperm(len(labels), generator=self.generator)
        total = 0.0
        for batch in torch.split(order, self.case.batch_size):
            loss = self.criterion(self.model(read(inputs[batch])), labels[batch])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.item() * len(batch)
        if not math.isfinite(total):
            raise FloatingPointError(total)
        if self.measured:
            self._measure()

    @torch.no_grad()
    def _measure(self) -> None:
        self.model.eval()
        for split in (self.case.data.train, self.case.data.validation):
            read = reader(split)
            size = 4096 if self.case.model == "mlp" else 512
            chunks = [self.model(read(each)) for each in split.inputs.split(size)]
            logits = torch.cat(chunks)
            functional.cross_entropy(logits, split.labels).item()
            (logits.argmax(-1) == split.labels).double().mean().item()


def reader(split: Split) -> Callable[[Tensor], Tensor]:
    """Return what makes float32 of stored inputs."""
    if split.scale is None:
        return lambda inputs: inputs
    mean, deviation = split.scale.mean.float(), split.scale.deviation.float()
    return lambda inputs: (inputs.float() - mean) / deviation


def check(steps: dict[str, Ours | Bare]) -> None:
    """Raise unless all leave the same weights: bit for bit, or to rounding with torch's loss."""
    weights = {}
    for name, step in steps.items():
        step.prepare()
        step.run()
        weights[name] = torch.cat([each.detach().flatten() for each in step.model.parameters()])
    for name, each in weights.items():
        far = (each - weights["ours"]).abs().max().item()
        if far > (1e-5 if "torch's loss" in name else 0):
            raise AssertionError(f"{name} ends at other weights, {far:.2g} away")


def in_turn(steps: dict[str, Ours | Bare], rounds: int) -> dict[str, list[float]]:
    """Return seconds of processor time; every round runs all, starting with another one."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    names = list(steps)
    for index in range(rounds + 1):
        first = index % len(names)
        for name in names[first:] + names[:first]:
            steps[name].prepare()
            began = time.process_time()
            steps[name].run()
            times[name].append(time.process_time() - began)
    return {name: values[1:] for name, values in times.items()}


def main() -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--samples", type=int, default=2048)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cases = {
        "cnn, 28 x 28 bytes, batches of 128": Case(pictures(arguments.samples), "cnn", 128),
        "mlp, digits, batches of 64": Case(load("digits"), "mlp", 64),
    }
    machine, results = record.machine(), {}
    for name, case in cases.items():
        with tempfile.TemporaryDirectory() as folder:
            for what in ("epoch", "whole"):
                whole = what == "whole"
                steps: dict[str, Ours | Bare] = {
                    "ours": Ours(case, Path(folder) if whole else None),
                    "bare": Bare(case, st.CrossEntropyLoss(), measured=whole),
                    "bare, torch's loss": Bare(case, nn.CrossEntropyLoss(), measured=whole),
                }
                check(steps)
                times = in_turn(steps, arguments.rounds)
                results[f"{name}: {what}"] = {
                    other: {
                        "ratio of ours": asdict(spread(ratios(times["ours"], times[other]))),
                        "milliseconds": asdict(spread([1000 * value for value in times[other]])),
                    }
                    for other in steps
                }
    flags = f"--rounds {arguments.rounds} --samples {arguments.samples}"
    content = {
        "command": f"python -m benchmarks.training_overhead {flags}",
        "machine": machine | {"threads": 1},
        "results": results,
    }
    print(record.as_text(content))
    record.write(RECORDS, "training_overhead.json", content)


if __name__ == "__main__":
    main()
