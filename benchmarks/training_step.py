"""What methods add to a training step of a small residual network, beside hard labels.

Batches of 128 images of CIFAR's size, 100 classes; forward pass, loss, backward pass, SGD. Every
method trains a copy of the same network, in turn in each round; the median ratio counts. The
teacher of ILS2 is read from a cache on disk.
"""

import argparse
import copy
import tempfile
from collections.abc import Callable
from dataclasses import asdict

import torch
from torch import Tensor, nn

import softtargets as st
from benchmarks.costs import RECORDS
from softtargets.bench import record
from softtargets.bench.measure import interleaved, ratios, spread

BATCH, BATCHES, CLASSES, WIDTHS, BLOCKS = 128, 8, 100, (16, 32, 64), 1


class Block(nn.Module):
    """Two 3 x 3 convolutions and a way around them."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
            nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after),
        )  # fmt: skip
        same = before == after and stride == 1
        self.around = nn.Identity() if same else nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        return torch.relu(self.main(x) + self.around(x))


def network() -> nn.Module:
    """Return a residual network for 32 x 32 images."""
    layers: list[nn.Module] = [nn.Conv2d(3, WIDTHS[0], 3, 1, 1), nn.ReLU()]
    for before, after in zip((WIDTHS[0], *WIDTHS), WIDTHS, strict=False):
        layers += [Block(before, after, 1 if before == after else 2)]
        layers += [Block(after, after, 1) for _ in range(BLOCKS - 1)]
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(*layers, pooled, nn.Linear(WIDTHS[-1], CLASSES))


Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def losses(cache: st.TeacherCache) -> dict[str, Loss]:
    """Return the methods: (logits, labels, numbers of the samples) -> loss."""

    def plain(smoothing: st.AbstractSmoothing | None) -> Loss:
        criterion = st.CrossEntropyLoss(smoothing)
        return lambda logits, labels, index: criterion(logits, labels)

    by_teacher = st.CrossEntropyLoss(st.InstanceLabelSmoothing(0.1, spread="teacher"))
    torchs = nn.CrossEntropyLoss()
    return {
        "torch, hard labels": lambda logits, labels, index: torchs(logits, labels),
        "hard labels": plain(None),
        "LS": plain(st.LabelSmoothing(0.1)),
        "OLS": plain(st.OnlineLabelSmoothing(CLASSES)),
        "MaxSup": plain(st.MaxSup(0.1)),
        "ILS2, cached teacher": lambda logits, labels, index: by_teacher(
            logits, labels, teacher_logits=cache[index]
        ),
    }


class TrainingStep:
    """Steps of one method on a network of its own, through the batches and again."""

    def __init__(self, loss: Loss, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        self.loss, self.model = loss, copy.deepcopy(model)
        self.images, self.labels, self.position = images, labels, 0
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.01, momentum=0.9)

    def prepare(self) -> None:
        """Go on to the next batch."""
        self.index = torch.arange(BATCH) + self.position % BATCHES * BATCH
        self.position += 1

    def run(self) -> None:
        """Train on it."""
        self.optimizer.zero_grad()
        logits = self.model(self.images[self.index])
        self.loss(logits, self.labels[self.index], self.index).backward()
        self.optimizer.step()


def main() -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    model, count = network(), BATCH * BATCHES
    images, labels = torch.randn(count, 3, 32, 32), torch.randint(CLASSES, (count,))
    batches = [(images[i : i + BATCH], torch.arange(i, i + BATCH)) for i in range(0, count, BATCH)]
    machine = record.machine()
    with tempfile.TemporaryDirectory() as folder:
        cache = st.TeacherCache.build(folder, network(), batches, CLASSES, data_fingerprint="noise")
        steps = {
            name: TrainingStep(loss, model, images, labels) for name, loss in losses(cache).items()
        }
        times = interleaved(steps, arguments.rounds, "cpu")
        del cache
    hard = times["hard labels"]
    results = {
        name: {
            "ratio to hard labels": asdict(spread(ratios(seconds, hard))),
            "milliseconds": asdict(spread([1000 * value for value in seconds])),
        }
        for name, seconds in times.items()
    }
    flags = f"--rounds {arguments.rounds} --threads {arguments.threads}"
    content = {
        "command": f"python -m benchmarks.training_step {flags}",
        "machine": machine | {"threads": arguments.threads},
        "results": results,
    }
    print(record.as_text(content))
    record.write(RECORDS, "training_step.json", content)


if __name__ == "__main__":
    main()
