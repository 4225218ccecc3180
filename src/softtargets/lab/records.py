"""Records: what a finished run leaves behind, written at once or not at all.

RUN/checkpoint.pt   while the run is going on: everything the next epoch needs
RUN/arrays.npz      logits and labels; the noise as estimated and as drawn
RUN/model.pt        the trained weights
RUN/record.json     written last: where it is, the run is done
"""

import hashlib
import io
import os
import platform
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Generic

import msgspec
import numpy as np
import torch

from softtargets.lab.errors import LabError
from softtargets.lab.sealing import Record, seal
from softtargets.lab.spec import RunSpec

FORMAT = 2

FILES = ("checkpoint.pt", "arrays.npz", "model.pt", "record.json")

METRICS = (
    "accuracy",
    "negative_log_likelihood",
    "brier_score",
    "expected_calibration_error",
    "classwise_calibration_error",
)


class Epoch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What was measured after an epoch.

    Attributes:
        loss: mean training loss against the method's own targets, during the epoch.
        train_nll: NLL of the training labels as given, after the epoch.
        train_accuracy: accuracy on the training labels as given.
        validation_nll: NLL of the validation labels.
        validation_accuracy: accuracy on them.
        validation_ece: debiased ECE on them.
    """

    loss: float
    train_nll: float
    train_accuracy: float
    validation_nll: float
    validation_accuracy: float
    validation_ece: float


class Estimate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A value with its 95 % interval over resampled test data, if the spec asks for one."""

    value: float
    low: float | None
    high: float | None


class Example(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One training sample and the target that the method gives it at the end.

    Attributes:
        index: number of the sample in the training part.
        true_label: before label noise.
        label: as given to training.
        target: `(K,)`.
    """

    index: int
    true_label: int
    label: int
    target: list[float]


class Denoising(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a model trained on wrong labels predicts for its own training samples, in samples.

    Attributes:
        clean: samples with the right label.
        clean_as_true: those of them that are predicted so.
        mislabelled: samples with a wrong label.
        as_true: those of them whose true class is predicted.
        as_given: those of them whose wrong label is predicted.
    """

    clean: int
    clean_as_true: int
    mislabelled: int
    as_true: int
    as_given: int


class Environment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where a run was computed.

    Attributes:
        softtargets: its version.
        torch: its version.
        python: its version.
        machine: system and processor.
        threads: that torch computed with.
        device: name of the GPU, of a run on one.
    """

    softtargets: str
    torch: str
    python: str
    machine: str
    threads: int
    device: str | msgspec.UnsetType = msgspec.UNSET


class RunRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A finished run.

    Attributes:
        format: version of this structure.
        spec: what was run.
        environment: where.
        seconds: training time of this run, over all its sittings.
        history: one row per epoch.
        metrics: test metrics by name, `METRICS` and the debiased calibration errors; the latter
            keep their sign, so that their mean over seeds is not biased by a floor at 0.
        scaled: the same after temperature scaling fitted on the validation data.
        temperature: of that scaling.
        temperature_at_bound: whether the search ended at its bound.
        examples: targets of a few training samples.
        denoising: of a run under label noise; left out of the file of any other.
        transition_error: of a run that estimated the noise, the mean L1 distance of the rows from
            those of the noise as drawn; both matrices are in `arrays.npz`.
        peak_memory: bytes, the most that the process had from its start to the end of this run.
        peak_device_memory: the same of tensors on the GPU.
        arrays_sha256: hash of `arrays.npz`.
        model_sha256: hash of `model.pt`.
        content_sha256: hash of all of the above, see `seal`.
    """

    format: int
    spec: RunSpec
    environment: Environment
    seconds: float
    history: list[Epoch]
    metrics: dict[str, Estimate]
    scaled: dict[str, Estimate]
    temperature: float
    temperature_at_bound: bool
    examples: list[Example]
    arrays_sha256: str
    model_sha256: str
    denoising: Denoising | msgspec.UnsetType = msgspec.UNSET
    transition_error: float | msgspec.UnsetType = msgspec.UNSET
    peak_memory: int | msgspec.UnsetType = msgspec.UNSET
    peak_device_memory: int | msgspec.UnsetType = msgspec.UNSET
    content_sha256: str = ""


def environment(device: torch.device | None = None) -> Environment:
    """Return the versions and the machine this process runs on.

    Args:
        device: of a run; None for the CPU.
    """
    import softtargets

    gpu = device is not None and device.type == "cuda"

    return Environment(
        softtargets=softtargets.__version__,
        torch=str(torch.__version__),
        python=platform.python_version(),
        machine=f"{platform.system()} {platform.machine()}",
        threads=torch.get_num_threads(),
        device=torch.cuda.get_device_name(device) if gpu else msgspec.UNSET,
    )


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a restart after a crash, sees all of it or nothing."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise LabError(f"cannot write {path} ({error.strerror}); choose another folder") from error


class StoredRun(Generic[Record]):
    """The folder of one run, of any kind.

    Args:
        root: the folder that holds the runs.
        run_id: the name of its spec.
        kind: type of its record.
    """

    def __init__(self, root: Path, run_id: str, kind: type[Record]) -> None:
        self.path = root / run_id
        self._kind = kind

    @property
    def done(self) -> bool:
        """Whether the run is finished."""
        try:
            (self.path / "record.json").stat()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._unreadable("record.json", error) from error
        return True

    def record(self) -> Record:
        """Return the record of a finished run, checked against the files that were written.

        Raises:
            LabError: a file is corrupt or cannot be read.
        """
        try:
            record = msgspec.json.decode(self._read("record.json"), type=self._kind)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise self.corrupt(f"record.json: {error}") from error
        if record.format != FORMAT or record.spec.run_id != self.path.name:
            raise self.corrupt("it belongs to another run or version")
        if seal(record) != record:
            raise self.corrupt("record.json is not the file that was written")
        hashes = {"arrays.npz": record.arrays_sha256, "model.pt": record.model_sha256}
        for name, expected in hashes.items():
            if sha256(self._read(name)) != expected:
                raise self.corrupt(f"{name} is not the file that was written")
        return record

    def arrays(self) -> dict[str, Any]:
        """Return the arrays of a finished run."""
        content = io.BytesIO(self._read("arrays.npz"))
        try:
            with np.load(content, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise self.corrupt(str(error)) from error

    def model_state(self) -> dict[str, Any]:
        """Return the trained weights."""
        return self._unpacked("model.pt", self._read("model.pt"))

    def checkpoint(self) -> dict[str, Any] | None:
        """Return the last checkpoint of an unfinished run, or None."""
        try:
            content = (self.path / "checkpoint.pt").read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unreadable("checkpoint.pt", error) from error
        return self._unpacked("checkpoint.pt", content)

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint."""
        self.create()
        write_atomically(self.path / "checkpoint.pt", pack_state(state))

    def discard_checkpoint(self) -> None:
        """Remove the checkpoint, so that the run starts anew."""
        with suppress(OSError):
            (self.path / "checkpoint.pt").unlink()

    def finish(self, record: Record, arrays: bytes, model: bytes) -> None:
        """Write everything, the record last and sealed, and drop the checkpoint."""
        self.create()
        write_atomically(self.path / "arrays.npz", arrays)
        write_atomically(self.path / "model.pt", model)
        content = msgspec.json.format(msgspec.json.encode(seal(record)), indent=1)
        write_atomically(self.path / "record.json", content)
        self.discard_checkpoint()

    def sweep(self) -> None:
        """Remove what a killed process left; only of a finished run, or by who has its lock."""
        if self.done:
            self.discard_checkpoint()
        for name in FILES:
            for leftover in self.path.glob(f".{name}.*"):
                with suppress(OSError):
                    leftover.unlink()

    def create(self) -> None:
        """Make the folder, if it is not there."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LabError(
                f"cannot write {self.path} ({error.strerror}); choose another folder with --out"
            ) from error

    def _read(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError as error:
            raise self.corrupt(f"{name} is missing") from error
        except OSError as error:
            raise self._unreadable(name, error) from error

    def _unreadable(self, name: str, error: OSError) -> LabError:
        return LabError(
            f"cannot read {self.path / name} ({error.strerror}); mend its permissions, or choose "
            "another folder with --out"
        )

    def _unpacked(self, name: str, content: bytes) -> dict[str, Any]:
        try:
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises half a dozen types for a damaged file
            raise self.corrupt(f"{name} cannot be read") from error
        if not isinstance(state, dict):
            raise self.corrupt(f"{name} holds no state")
        return state

    def corrupt(self, why: str) -> LabError:
        """Return the error that says why this run cannot be used, and the way out."""
        reason = " ".join(why.split())
        return LabError(
            f"the earlier run {self.path} is corrupt: {reason}; delete that folder to compute it "
            "again"
        )


class RunFolder(StoredRun[RunRecord]):
    """The folder of a classifier's run.

    Args:
        root: the folder that holds the runs.
        run_id: see `RunSpec.run_id`.
    """

    def __init__(self, root: Path, run_id: str) -> None:
        super().__init__(root, run_id, RunRecord)


def pack_arrays(**arrays: Any) -> bytes:
    """Return the arrays as the content of an npz file; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
            # numpy.savez would write the time.
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
    return buffer.getvalue()


def sha256(content: bytes) -> str:
    """Return the hash as hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def pack_state(state: dict[str, Any]) -> bytes:
    """Return a state dict as the content of a file for torch.load."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()
