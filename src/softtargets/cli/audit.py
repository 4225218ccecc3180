"""`softtargets audit`."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

from cyclopts import Parameter

from softtargets.audit.errors import AuditError
from softtargets.audit.layouts import ClassDim, Layout
from softtargets.audit.naming import Keys
from softtargets.cli.parameters import Count

if TYPE_CHECKING:
    from rich.console import Console

    from softtargets.audit.predictions import Predictions
    from softtargets.audit.run import Progress, Reading

_BAR_ELEMENTS = 50_000_000  # numbers from which on a file takes long enough for a bar
_AS_NAMED = Keys()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shapes:
    """How arrays are read.

    Args:
        class_dim: where the classes are: -1, last, as in (sequences, tokens, classes), or 1,
            second, as in (images, classes, height, width); without, the shape of the labels says.
        ignore_index: the label of positions, or of rows, to leave out; -100 unless another is
            given. Not for tables, or with --group: drop their rows without a label.
        positions: how many positions of each sequence or image are measured, drawn at random;
            without, all, or as many as make two million in all.
    """

    class_dim: ClassDim | None = None
    ignore_index: Count | None = None
    positions: Count | None = None

    def layout(self) -> Layout:
        """Return what that means for a file."""
        return Layout(
            class_dim=self.class_dim, ignore_index=self.ignore_index, positions=self.positions
        )


_AS_SHAPED = Shapes()


def audit(
    file: Path,
    /,
    *,
    keys: Annotated[Keys, Parameter(name="*")] = _AS_NAMED,
    shapes: Annotated[Shapes, Parameter(name="*")] = _AS_SHAPED,
    against: Path | None = None,
    against_keys: Annotated[Keys, Parameter(name="--against")] = _AS_NAMED,
    calibration: Path | None = None,
    calibration_keys: Annotated[Keys, Parameter(name="--calibration")] = _AS_NAMED,
    out: Annotated[Path | None, Parameter(name="--out")] = None,
    json: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    threads: Count = 1,
) -> None:
    """Find out whether a model's confidences can be trusted, and what would help.

    Prints a verdict and the numbers behind it, and writes them with pictures to one HTML file.
    FILE is an .npz, .npy, .parquet, .csv, .tsv or .safetensors file that holds logits or
    probabilities (N, K) and labels (N,). Which of the two is declared by the name of the array,
    such as logits, probs or test_logits, or by an option; it is never guessed from the values.
    Sequences (S, T, K) with labels (S, T) and label maps (N, K, H, W) with labels (N, H, W) are
    read too. Rows and positions with the label of --ignore-index are left out, and intervals are
    for drawing whole sequences or images. With --cluster they are for drawing whole clusters of
    rows, such as the frames of a video.
    With --group the logits of rows that belong together, such as the images of a burst, are
    averaged first, and all is said of the groups, beside what single predictions are worth.

    Args:
        file: predictions and labels.
        keys: what the arrays or columns of FILE are called.
        shapes: how arrays are read.
        against: predictions of another model for the same samples, to be compared with FILE's.
        against_keys: what is called otherwise than in FILE.
        calibration: predictions to fit the temperature on; without, it is fitted on one half of
            FILE and judged on the other, in turn.
        calibration_keys: what is called otherwise than in FILE.
        out: the HTML file; NAME-audit.html in the current folder if not given.
        json: a file for all numbers, or - to print them and nothing else; the HTML file is then
            written only if --out is given.
        threads: threads torch computes with.
    """
    from softtargets.audit.files import open_predictions
    from softtargets.lab.compare import use_threads

    use_threads(threads)
    page = out or (None if json == "-" else Path(f"{file.stem}-audit.html"))
    numbers = None if json in (None, "-") else Path(str(json))
    given_keys = (keys, against_keys, calibration_keys)
    beside = [Path(name) for each in given_keys for name in (each.labels, each.column) if name]
    _check_outputs([page, numbers], [file, against, calibration, *beside])
    if against is not None and calibration is not None:
        raise AuditError("--calibration serves one model; leave it out, or --against")
    if keys.group is None and any(each.group is not None for each in given_keys):
        raise AuditError("FILE is not grouped; say --group COLUMN too, its groups are compared")
    if keys.cluster is None and any(each.cluster is not None for each in given_keys):
        raise AuditError("FILE has no clusters; say --cluster COLUMN too")
    layout = shapes.layout()
    # All are opened before one is read, which may take minutes.
    given = open_predictions(file, keys, layout)
    if against is not None:
        other = open_predictions(against, against_keys.or_else(keys), layout)
        _check_different(given, other)
        output = _compared(_read(given), _read(other))
    elif calibration is not None:
        fitted = open_predictions(calibration, calibration_keys.or_else(keys), layout)
        output = _audited(_read(given), _read(fitted))
    else:
        output = _audited(_read(given), None)
    _write(output, page, numbers, as_json=json == "-")


class _Output(NamedTuple):
    """What can be shown: as JSON, as a page, in a terminal."""

    text: str
    render: Callable[[], str]
    print: Callable[["Console"], None]


def _audited(reading: "Reading", fitted: "Reading | None") -> _Output:
    from softtargets.audit.run import audit as measured
    from softtargets.report.audit.page import render_page
    from softtargets.report.audit.record import json_text, record
    from softtargets.report.audit.terminal import print_audit

    found = measured(reading, fitted)
    return _Output(
        json_text(record(found)), partial(render_page, found), partial(print_audit, audit=found)
    )


def _compared(first: "Reading", second: "Reading") -> _Output:
    from softtargets.audit.against import compare
    from softtargets.report.audit.record import comparison_record, json_text
    from softtargets.report.audit.terminal import print_comparison
    from softtargets.report.audit.versus_page import render_comparison

    found = compare(first, second)
    return _Output(
        json_text(comparison_record(found)),
        partial(render_comparison, found),
        partial(print_comparison, comparison=found),
    )


def _write(output: _Output, page: Path | None, numbers: Path | None, *, as_json: bool) -> None:
    """Write what is asked for, after all of it is made, and print the rest."""
    from rich.console import Console

    from softtargets.lab.records import write_atomically

    content = {} if page is None else {page: output.render()}
    if numbers is not None:
        content[numbers] = output.text
    for path, text in content.items():
        write_atomically(path, text.encode())
    if as_json:
        print(output.text)
        return
    console = Console(markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 100
    output.print(console)
    if page is not None:
        console.print(f"Report: {page.resolve()}", soft_wrap=True, highlight=False)


def _check_outputs(outputs: list[Path | None], inputs: list[Path | None]) -> None:
    """Raise, before anything is read, if an output cannot be written or would replace an input."""
    from softtargets.lab.errors import LabError

    if None not in outputs and len(set(outputs)) < len(outputs):
        raise LabError(f"--out and --json are the same file, {outputs[0]}; choose another for one")
    for output in filter(None, outputs):
        if any(given is not None and _is_same(output, given) for given in inputs):
            raise LabError(f"{output} is read, so it cannot be written; choose another file")
        with suppress(OSError):  # its folder may not be looked into, or a name is too long
            if output.is_dir():
                raise LabError(f"cannot write {output}, it is a folder; name a file in it")
        if not os.access(f"{output.resolve().parent}/.", os.W_OK | os.X_OK):
            raise LabError(
                f"cannot write {output}: its folder is missing or not writable; make it, or choose "
                "another"
            )
        try:
            output.is_file()
        except OSError as error:  # as a name that is too long
            raise LabError(
                f"cannot write {output} ({error.strerror}); choose another name"
            ) from error


def _is_same(output: Path, given: Path) -> bool:
    with suppress(OSError):  # one is not there, or may not be looked at
        return output == given or output.samefile(given)
    return False


def _check_different(one: "Predictions", other: "Predictions") -> None:
    if (one.path.resolve(), one.key) == (other.path.resolve(), other.key):
        raise AuditError(
            f"{other.where} cannot be compared with itself; for another array of the same file "
            "say --against.logits or --against.probs"
        )


def _read(predictions: "Predictions") -> "Reading":
    from softtargets.audit.run import read

    size = (predictions.num_rows or 0) * predictions.num_classes
    with _bar(
        predictions.num_rows if size >= _BAR_ELEMENTS else None, predictions.path.name
    ) as progress:
        return read(predictions, progress=progress)


@contextmanager
def _bar(rows: int | None, name: str) -> Iterator["Progress | None"]:
    """A bar on a terminal's standard error, if there is enough to wait for."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    if rows is None or not console.is_terminal:
        yield None
        return
    with Bar(console=console, transient=True) as bar:
        task = bar.add_task(f"reading {name}", total=rows)
        yield lambda done: bar.update(task, completed=done)
