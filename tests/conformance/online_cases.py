"""Cases of online label smoothing."""

import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.conformance.library import Online
from tests.conformance.loss_cases import LOGITS, K
from tests.conformance.problem import IGNORED, Case, NotOffered

LABELS = torch.tensor([0, 1, 2, 3, 1, 1])
ANSWERS = LOGITS + 4 * torch.nn.functional.one_hot(LABELS, K)
EVEN = [1 / K] * K
# More right answers of one class than float16 can count.
MANY = 3000
Step = tuple[Tensor, Tensor]


def online_cases() -> list[Case]:
    return [
        Case("online: a class seen", "promise 8",
             "Row 1 is the mean softmax of the correctly classified samples of class 1.",
             lambda library: _learned(library, [(ANSWERS, LABELS)])[1], _row(1)),
        Case("online: an epoch in parts", "promise 8",
             "The same from batches of one, two and three samples, as in gradient accumulation.",
             lambda library: _learned(library, _parts())[1], _row(1)),
        Case("online: a class never seen", "promise 8, ankandrew",
             "After an epoch without a sample of class 4 its row is still even: 1/5 each.",
             lambda library: _learned(library, [(ANSWERS, LABELS)])[4], EVEN,
             {}, {"no target at all": [0.0] * K}),
        Case("online: a class not seen again", "promise 8, ankandrew",
             "A second epoch has no sample of class 1: its row stays that of the first.",
             _second_epoch, _row(1), {}, {"no target at all": [0.0] * K}),
        Case("online: bfloat16", "promise 8, ankandrew", "Logits in bfloat16: row 1.",
             lambda library: _learned(library, [(ANSWERS.bfloat16(), LABELS)])[1], _row(1),
             tolerance=1e-2),
        Case("online: label maps", "promise 8, ankandrew",
             "The samples as logits (1, K, 2, 3) and labels (1, 2, 3): row 1.",
             lambda library: _learned(library, [_map()])[1], _row(1)),
        Case("online: ignored labels", "promise 8, ankandrew",
             "The sample of class 0 and two of class 1 have the label -100: row 1 is that of the "
             "third, row 0 is still even.",
             _partly_ignored, torch.cat([_row(1, [5]), torch.tensor(EVEN)])),
        Case("online: mixed labels", "promise 8",
             "A batch of MixUp rows teaches nothing: row 1 is still even.", _mixed, EVEN),
        Case("online: evaluation", "promise 8",
             "A pass without gradients teaches nothing, in training mode too: row 1 is still even.",
             _after_evaluation, EVEN, {"it learns whenever it is in training mode": _row(1)}),
        Case("online: saved in mid-epoch", "promise 8",
             "State saved in mid-epoch and loaded elsewhere: the epoch ends with the same matrix.",
             _restored, "the same"),
        Case("online: after `.half()`", "promise 8",
             "`.half()` in mid-epoch, 3,000 right answers of class 1 before it and after it, half "
             "of them surer: row 1 is the mean of all.",
             _halved, _mean_of_halves(), tolerance=2e-3),
        Case("online: an epoch that ends before the backward pass", "promise 8",
             "The loss of a batch is differentiated after the matrix was replaced: the gradient is "
             "the same (its distance is shown).",
             _late_backward, 0.0),
        Case("online: compiled", "promise 8",
             "One step in `torch.compile(fullgraph=True)`: row 1.", _compiled, _row(1)),
        Case("online: two ranks", "promise 8, ankandrew",
             "Two processes have half of the samples each: both end the epoch with the matrix of "
             "one process that has all (the distance is shown).",
             _ranks, 0.0),
    ]  # fmt: skip


def _step(online: Online, logits: Tensor, labels: Tensor) -> Tensor:
    loss: Tensor = online.criterion(logits.clone().requires_grad_(), labels)
    loss.backward()
    return loss


def _learned(library: Any, steps: list[Step]) -> Tensor:
    """The matrix after an epoch of these steps."""
    online = library.online(K)
    for logits, labels in steps:
        _step(online, logits, labels)
    online.end_epoch()
    return online.matrix()


def _row(label: int, samples: list[int] | None = None) -> Tensor:
    right = LABELS.eq(label) & ANSWERS.argmax(-1).eq(LABELS)
    probs = torch.softmax(ANSWERS.double(), -1)
    return (probs[right] if samples is None else probs[samples]).mean(0)


def _parts() -> list[Step]:
    return [(ANSWERS[a:b], LABELS[a:b]) for a, b in ((0, 1), (1, 3), (3, 6))]


def _map() -> Step:
    return ANSWERS.T.reshape(1, K, 2, 3), LABELS.reshape(1, 2, 3)


def _second_epoch(library: Any) -> Tensor:
    online = library.online(K)
    _step(online, ANSWERS, LABELS)
    online.end_epoch()
    _step(online, ANSWERS[[0, 2, 3]], LABELS[[0, 2, 3]])
    online.end_epoch()
    return online.matrix()[1]


def _partly_ignored(library: Any) -> Tensor:
    labels = LABELS.clone()
    labels[[0, 1, 4]] = IGNORED
    matrix = _learned(library, [(ANSWERS, labels)])
    return torch.cat([matrix[1], matrix[0]])


def _mixed(library: Any) -> Tensor:
    online = library.online(K)
    if "soft" not in library.offers:
        raise NotOffered("soft targets")
    rows = torch.nn.functional.one_hot(LABELS, K).float()
    _step(online, ANSWERS, 0.7 * rows + 0.3 * rows.roll(1, -1))
    return _ended(online)


def _ended(online: Online) -> Tensor:
    """Row 1 of an epoch in which nothing was to be learned, which may be said as a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        online.end_epoch()
    return online.matrix()[1]


def _after_evaluation(library: Any) -> Tensor:
    online = library.online(K)
    with torch.no_grad():
        online.criterion(ANSWERS, LABELS)
    return _ended(online)


def _restored(library: Any) -> str:
    first, second = library.online(K), library.online(K)
    _step(first, ANSWERS, LABELS)
    second.criterion.load_state_dict(first.criterion.state_dict())
    for online in (first, second):
        online.end_epoch()
    return "the same" if torch.equal(first.matrix(), second.matrix()) else "another"


def _half(sharpness: float) -> Step:
    return sharpness * ANSWERS[[1]].expand(MANY, K), torch.ones(MANY, dtype=torch.long)


def _halved(library: Any) -> Tensor:
    online = library.online(K)
    _step(online, *_half(0.5))
    online.criterion.half()
    logits, labels = _half(1.0)
    _step(online, logits.half(), labels)
    online.end_epoch()
    return online.matrix()[1]


def _mean_of_halves() -> Tensor:
    rows = [torch.softmax(scale * ANSWERS[1].double(), -1) for scale in (0.5, 1.0)]
    return torch.stack(rows).mean(0)


def _late_backward(library: Any) -> Tensor:
    gradients = []
    for ends_first in (False, True):
        online = library.online(K)
        leaf = ANSWERS.clone().requires_grad_()
        loss = online.criterion(leaf, LABELS)
        if ends_first:
            online.end_epoch()
        loss.backward()
        gradients.append(leaf.grad)
    return (gradients[0] - gradients[1]).abs().max()


def _compiled(library: Any) -> Tensor:
    online = library.online(K)
    step = torch.compile(online.criterion, fullgraph=True, backend="eager")
    step(ANSWERS.clone().requires_grad_(), LABELS)
    online.end_epoch()
    return online.matrix()[1]


def _work(rank: int, make: Callable[[], Any], folder: str) -> None:
    """One of two processes: every second sample, and the matrix into a file."""
    rendezvous = f"file://{folder}/rendezvous"
    torch.distributed.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=2)
    library = make()
    library.load()
    matrix = _learned(library, [(ANSWERS[rank::2], LABELS[rank::2])])
    torch.save(matrix, Path(folder, f"{rank}.pt"))
    torch.distributed.barrier()
    # gloo's threads may abort an ordinary exit.
    os._exit(0)


def _ranks(library: Any) -> Tensor:
    alone = _learned(library, [(ANSWERS, LABELS)])
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(_work, (type(library), folder), nprocs=2)
        found = [torch.load(Path(folder, f"{rank}.pt")) for rank in range(2)]
    return torch.stack([(matrix - alone).abs().max() for matrix in found]).max()
