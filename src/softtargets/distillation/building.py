"""Running the teacher and writing what it says, chunk by chunk."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from softtargets import checks
from softtargets.distillation.chunks import (
    Manifest,
    joined,
    map_chunk,
    write_chunk,
    write_manifest,
)


@contextmanager
def _evaluating(teacher: nn.Module) -> Iterator[None]:
    training = [module for module in teacher.modules() if module.training]
    try:
        for module in training:
            module.training = False
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


def fill(
    folder: Path,
    manifest: Manifest,
    teacher: nn.Module,
    batches: Iterable[tuple[Any, Tensor]],
    chunk_rows: int,
) -> None:
    """Write what is missing, a chunk whenever enough rows have come together.

    Args:
        folder: of the cache.
        manifest: of the cache; its chunks are added to and it is marked as finished. A finished
            one counts as unfinished from the first chunk that is added until all of them are.
        teacher: see `TeacherCache.build`.
        batches: see `TeacherCache.build`.
        chunk_rows: samples per chunk.
    """
    seen: set[int] = set()
    for chunk in manifest.chunks:
        seen.update(map_chunk(folder, manifest, chunk, verify=True)["index"].tolist())
    waiting: list[dict[str, Tensor]] = []
    yielded = 0
    for inputs, index in map(_pair, batches):
        numbers = _numbers(index)
        yielded += len(numbers)
        fresh = [i for i, number in enumerate(numbers.tolist()) if number not in seen]
        if not fresh:
            continue
        manifest.finished = False
        with _evaluating(teacher):
            logits = teacher(inputs)
        _check_logits(logits, numbers, manifest.num_classes)
        waiting.append(_packed(numbers[fresh], logits.detach().cpu()[fresh], manifest))
        seen.update(numbers[fresh].tolist())
        while sum(len(part["index"]) for part in waiting) >= chunk_rows:
            waiting = _written(folder, manifest, waiting, chunk_rows)
    if not (yielded or manifest.finished):
        raise ValueError(
            "`batches` must yield the samples to ask the teacher about, got none; an iterator or "
            "generator that was gone through before is empty: make a new one for each build"
        )
    if waiting:
        _written(folder, manifest, waiting, chunk_rows)
    if not manifest.finished:
        manifest.finished = True
        write_manifest(folder, manifest)


def _pair(batch: object) -> tuple[Any, Tensor]:
    if isinstance(batch, tuple | list) and len(batch) == 2:
        return batch[0], batch[1]
    parts = f" of {len(batch)}" if isinstance(batch, tuple | list) else ""
    raise TypeError(
        f"`batches` must yield pairs `(inputs, index)`, got a {type(batch).__name__}{parts}; leave "
        "the labels out: `((inputs, index) for inputs, labels, index in loader)`"
    )


def _numbers(index: Tensor) -> Tensor:
    """Return the sample numbers of a batch, or raise where two samples would be one."""
    checks.check_labels_dtype(index, "index")
    if index.dim() != 1:
        raise ValueError(
            f"`index` must have shape (n,), one number per sample, got {tuple(index.shape)}; "
            "flatten it as the teacher's rows are"
        )
    numbers = index.detach().cpu().long()
    ordered = numbers.sort().values
    if len(ordered) and int(ordered[0]) < 0:
        raise ValueError(
            f"`index` must hold sample numbers >= 0, got {int(ordered[0])}; number the samples "
            "from 0 as the data set does, and leave out those that have no number"
        )
    repeated = ordered[1:][ordered.diff() == 0]
    if len(repeated):
        raise ValueError(
            f"`index` must be distinct within a batch, got {int(repeated[0])} more than once; "
            "count samples through the whole data set, and draw them without replacement"
        )
    return numbers


def _written(
    folder: Path, manifest: Manifest, waiting: list[dict[str, Tensor]], chunk_rows: int
) -> list[dict[str, Tensor]]:
    """Write one chunk and return the rows that are left."""
    rows = {name: joined([part[name] for part in waiting]) for name in waiting[0]}
    write_chunk(folder, manifest, {name: values[:chunk_rows] for name, values in rows.items()})
    left = {name: values[chunk_rows:] for name, values in rows.items()}
    return [left] if len(left["index"]) else []


def _check_logits(logits: Tensor, numbers: Tensor, num_classes: int) -> None:
    wrap = "; wrap the teacher in a module whose `forward` returns its logits alone"
    checks.check_floating(logits, "the teacher's logits", wrap)
    if logits.shape != (len(numbers), num_classes):
        raise ValueError(
            f"the teacher's logits must have shape {(len(numbers), num_classes)} for this batch, "
            f"got {tuple(logits.shape)}; a cache holds one row per sample"
        )
    wrong = ~logits.detach().double().logsumexp(-1).isfinite().cpu()
    if bool(wrong.any()):
        raise ValueError(
            "the teacher's logits must hold no NaN or inf and no row of -inf alone, sample "
            f"{int(numbers[wrong][0])} does; what was written before stays and is continued"
        )


def _packed(numbers: Tensor, logits: Tensor, manifest: Manifest) -> dict[str, Tensor]:
    """Return the fields to store: logits below their maximum, or the top k and the rest's log."""
    logits = logits.double()
    logits = logits - logits.amax(-1, keepdim=True)
    if manifest.top_k is None:
        return {"index": numbers, "logits": _stored(logits, manifest)}
    values, classes = logits.topk(manifest.top_k)
    rest = logits.scatter(-1, classes, -torch.inf).logsumexp(-1)
    return {
        "index": numbers,
        "rest": rest.float(),
        "classes": classes.int(),
        "logits": _stored(values, manifest),
    }


def _stored(logits: Tensor, manifest: Manifest) -> Tensor:
    """Logits in the stored dtype; finite ones stay finite."""
    dtype: torch.dtype = getattr(torch, manifest.dtype)
    lowest = torch.finfo(dtype).min
    masked = logits == -torch.inf
    return logits.clamp(min=lowest).masked_fill(masked, -torch.inf).to(dtype)
