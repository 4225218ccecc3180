"""`softtargets compare` on images with a class for every pixel."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from msgspec import structs

from softtargets.cli.parameters import Count, Names
from softtargets.cli.tasks.running import compare_task
from softtargets.lab.segmentation.methods import DEFAULT, METHODS
from softtargets.lab.segmentation.spec import SegmentationSpec

_METHODS = f"names separated by commas or spaces, or all: {', '.join(METHODS)}."

_USUAL: dict[str, Any] = {each.name: each.default for each in structs.fields(SegmentationSpec)}


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How every model of a comparison is trained and measured.

    Attributes:
        batch_size: images per step.
        learning_rate: of AdamW, at its highest; it falls along a cosine.
        warm_up: share of all steps in which the rate rises from 0 first.
        weight_decay: decoupled.
        width: channels of the U-Net at full size.
        depth: how often it halves the sides.
        flip: mirror half of the training images, left to right.
        pixels: of each image and zone that calibration is measured on, at most.
    """

    batch_size: Count = _USUAL["batch_size"]
    learning_rate: float = _USUAL["learning_rate"]
    warm_up: float = _USUAL["warm_up"]
    weight_decay: float = _USUAL["weight_decay"]
    width: Count = _USUAL["width"]
    depth: Count = _USUAL["depth"]
    flip: bool = _USUAL["flip"]
    pixels: Count = _USUAL["pixels"]


def compare(
    *,
    data: str,
    methods: Annotated[Names, Parameter(help=_METHODS)] = DEFAULT,
    seeds: Count = 2,
    epochs: Count = 20,
    out: Annotated[Path, Parameter(name="--out")] = Path("runs/compare"),
    on: str = "inline",
    threads: Count = 1,
    training: Options | None = None,
) -> int:
    """Train the same segmentation network with several losses and targets and show what each did.

    The network is a small U-Net, trained from nothing. Prints mean and boundary IoU, accuracy, and
    NLL and calibration errors before and after temperature scaling, at boundaries and away from
    them, and writes OUT/report.html and OUT/summary.json. Runs that are already in OUT are not
    computed again; an interrupted comparison goes on where it stopped.

    Args:
        data: camvid:PATH, or segmentation:PATH for any classes, PATH a folder or a tar archive
            with train, val and test; options follow as "camvid:PATH?size=240x180".
        methods: names in `softtargets.lab.segmentation.methods.METHODS`, or all.
        seeds: seeds per method, counted from 0.
        epochs: passes over the training data.
        out: folder for the runs and the report.
        on: where to compute: inline, processes:N for N processes of this machine, ray, or
            ray://HOST:PORT for a Ray cluster.
        threads: threads torch computes a run with; the same number gives the same results.
        training: how the models are trained.
    """
    compare_task(
        "segmentation",
        data=data,
        methods=methods,
        seeds=seeds,
        epochs=epochs,
        options=asdict(training or Options()),
        out=out,
        on=on,
        threads=threads,
    )
    return 0
