"""`softtargets compare`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from softtargets.cli.parameters import Count, Names, words
from softtargets.cli.training import Options, launch
from softtargets.lab.label_noise import Kind, parse_mapping
from softtargets.lab.methods import DEFAULT, METHODS, expanded

if TYPE_CHECKING:
    from softtargets.lab.compare import Settings

_METHODS = (
    "names separated by commas or spaces, or all, every one that is not for pictures alone and, of "
    "texts, leaves inputs as they are: "
    f"{', '.join(METHODS)}."
)


def compare(
    *,
    data: str = "digits",
    methods: Annotated[Names, Parameter(help=_METHODS)] = DEFAULT,
    seeds: Count = 5,
    epochs: Count = 40,
    noise: float = 0.0,
    noise_kind: Kind = "symmetric",
    noise_map: Names = (),
    noisy_labels: str | None = None,
    out: Annotated[Path, Parameter(name="--out")] = Path("runs/compare"),
    on: str = "inline",
    threads: Count = 1,
    training: Options | None = None,
) -> int:
    """Train the same classifier with several kinds of targets and show what each did.

    Unless --model names another, the classifier is a network of two hidden layers of 128 units on
    the flattened inputs, which are standardised with one mean and deviation.

    Prints accuracy, NLL, Brier score and calibration errors before and after temperature scaling,
    and writes OUT/report.html and OUT/summary.json. Runs that are already in OUT are not computed
    again; an interrupted comparison goes on where it stopped. Several processes may compute the
    same comparison in the same OUT: each run is computed by one of them.

    Args:
        data: "digits", "two-gaussians", the path of an .npz or .npz.xz file with the arrays
            x_train, y_train, x_test and y_test or of a .parquet file, or mnist:PATH,
            fashion-mnist:PATH, cifar10:PATH, cifar100:PATH, folder:PATH,
            text:PATH (with --model text-cnn); options follow as "cifar10:PATH?samples=1000", see
            docs/data.md and docs/text.md. Give translation:FOLDER, camvid:PATH or
            segmentation:PATH with --help for the options of those tasks, which are others.
        methods: names in `softtargets.lab.methods.METHODS`, or all.
        seeds: seeds per method, counted from 0.
        epochs: passes over the training data.
        noise: rate in [0, 1) at which training labels are flipped to another class.
        noise_kind: to which: any other alike, the next (pair), the one that --noise-map says
            (asymmetric), or what the sample looks like (instance).
        noise_map: pairs FROM:TO of classes for asymmetric noise, as 9:1,3:5.
        noisy_labels: .npy or .npz file of labels to train on, one per sample of y_train, human
            ones for instance; FILE.npz:NAME names one of its arrays.
        out: folder for the runs and the report.
        on: where to compute: inline, processes:N for N processes of this machine, ray, or
            ray://HOST:PORT for a Ray cluster.
        threads: threads torch computes a run with; the same number gives the same results.
        training: how the models are trained.
    """
    from softtargets.lab import compare as lab
    from softtargets.lab.session import launched, processes

    settings = lab.Settings(
        data=data,
        methods=expanded(
            tuple(name.lower() for name in words(methods)), texts=data.startswith("text:")
        ),
        seeds=seeds,
        epochs=epochs,
        noise=noise,
        noise_kind=noise_kind,
        noise_map=parse_mapping(words(noise_map)),
        noisy_labels=noisy_labels,
        training=training or Options(),
    )
    if settings.training.ranks > 1 and not launched():
        return launch(settings.training.ranks)
    lab.use_threads(threads)
    with processes(settings.training.ranks) as rank:
        if rank > 0:
            lab.follow(settings)
        else:
            _compare(settings, out, on)
    return 0


def _compare(settings: "Settings", out: Path, on: str) -> None:
    """Compute, print the tables and write the files."""
    from softtargets.cli.outcome import console_of_width, show
    from softtargets.cli.progress import shown_progress
    from softtargets.lab import compare as lab

    console = console_of_width()
    with shown_progress(console) as progress:
        comparison = lab.compare(settings, out, progress, on=on)
    show(comparison, out, console)
