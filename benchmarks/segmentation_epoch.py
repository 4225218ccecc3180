"""How long an epoch of CamVid at 240 x 180 takes: the whole of one, and a step of every method.

The clock of the processor runs over training and validation as a run does them; loading is a row of
its own. On a machine with other work the clock on the wall says more of that work.

    SOFTTARGETS_DATA=... python -m benchmarks.segmentation_epoch [THREADS]
"""

import os
import statistics
import sys
import time
from pathlib import Path

import torch

from benchmarks import readme
from benchmarks.costs import RECORDS, read
from softtargets.bench import record
from softtargets.lab.segmentation.data import SegmentationData, load
from softtargets.lab.segmentation.methods import METHODS
from softtargets.lab.segmentation.spec import SegmentationSpec
from softtargets.lab.segmentation.training import Segmentation

PAGE = readme.ROOT / "docs" / "segmentation.md"
SIZE, AIM, WHOLE, ROUNDS = "240x180", 60.0, "ce-ls", 2


def training(method: str, data: SegmentationData) -> Segmentation:
    """Return a run of a method as the laboratory starts it."""
    spec = SegmentationSpec(
        data="",
        data_hash=data.digest,
        method=method,
        parameters=METHODS[method].parameters,
        seed=0,
        epochs=10,
    )
    return Segmentation(spec, data)


def clocks() -> tuple[float, float]:
    return time.process_time(), time.perf_counter()


def passed(since: tuple[float, float]) -> dict[str, float]:
    """Return the seconds that a processor has worked, and those of the clock."""
    return {
        name: round(now - then, 2)
        for name, now, then in zip(("processor seconds", "seconds"), clocks(), since, strict=True)
    }


def epoch(data: SegmentationData) -> dict[str, dict[str, float]]:
    """Return what training for an epoch takes, and validation."""
    run = training(WHOLE, data)
    run.model.train()
    began = clocks()
    run.epoch(0)
    trained = passed(began)
    run.model.eval()
    began = clocks()
    run.validate()
    return {"training": trained, "validation": passed(began)}


def steps(data: SegmentationData) -> dict[str, float]:
    """Return the processor seconds of forward, loss and backward of a batch, methods in turn."""
    runs = {name: training(name, data) for name in METHODS}
    batch = slice(0, runs[WHOLE].spec.batch_size)
    images = data.train.inputs(batch).contiguous(memory_format=torch.channels_last)
    masks = data.train.masks[batch].long()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(ROUNDS + 1):
        for name, run in runs.items():
            began = time.process_time()
            run.criterion(run.model(images), masks).backward()
            run.optimizer.step()
            run.optimizer.zero_grad()
            if number:
                seconds[name].append(time.process_time() - began)
    return {name: round(statistics.median(each), 4) for name, each in seconds.items()}


def table(content: dict[str, object]) -> str:
    """Return the record as the page shows it."""
    machine, found, settings = content["machine"], content["epoch"], content["settings"]
    assert isinstance(machine, dict)
    assert isinstance(found, dict)
    assert isinstance(settings, dict)
    each = content["seconds of a step"]
    assert isinstance(each, dict)
    images, batch = settings["training images"], settings["batch"]
    shown = " | ".join(
        f"{METHODS[name].title} {seconds / each['ce']:.2f}" for name, seconds in each.items()
    )
    spent = {name: part["processor seconds"] for name, part in found.items()}
    threads = f"{machine['threads']} thread" + ("" if machine["threads"] == 1 else "s")
    return (
        f"`{content['command']}`, {threads} of {machine['processor']}, torch {machine['torch']}, "
        f"load {machine['load'][0]} before the run: an epoch of {images} images at "
        f"{settings['size']} in batches of {batch} takes {spent['training']:.0f} processor "
        f"seconds with {METHODS[WHOLE].title}, validation {spent['validation']:.0f} more; "
        f"on the clock {found['training']['seconds']:.0f} and "
        f"{found['validation']['seconds']:.0f}. A step costs, as a multiple "
        "of that of CE with hard labels:\n\n"
        f"{shown}\n"
    )


def page(text: str) -> str:
    """Return the page with the paragraph of the record."""
    return readme.filled(text, "epoch", table(read("segmentation_epoch")))


def main() -> None:
    """Measure; write the record and the paragraph of the page."""
    folder = os.environ.get("SOFTTARGETS_DATA")
    if not folder:
        raise SystemExit("name a folder that holds camvid/camvid.tar in SOFTTARGETS_DATA")
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    torch.set_num_threads(threads)
    where = record.machine()
    began = clocks()
    data = load(f"camvid:{Path(folder) / 'camvid' / 'camvid.tar'}?size={SIZE}")
    loading = passed(began)
    spec = training(WHOLE, data).spec
    content = {
        "command": f"python -m benchmarks.segmentation_epoch {threads}",
        "machine": where | {"threads": threads},
        "settings": {
            "data": data.digest,
            "size": SIZE,
            "training images": len(data.train),
            "batch": spec.batch_size,
            "width": spec.width,
            "depth": spec.depth,
            "aim, seconds on 2 processors": AIM,
        },
        "loading": loading,
        "epoch": epoch(data),
        "seconds of a step": steps(data),
    }
    print(record.as_text(content))
    record.write(RECORDS, "segmentation_epoch.json", content)
    PAGE.write_text(page(PAGE.read_text()))


if __name__ == "__main__":
    main()
