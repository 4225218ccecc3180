"""What `softtargets audit` takes of memory and time, by format, each file in a fresh process.

Logits of 1,000 classes in float32 are written block by block, audited, and deleted. The peak is the
whole process's: Python, torch and the page included. Parquet needs pyarrow.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from benchmarks import readme
from benchmarks.costs import RECORDS, read
from softtargets.bench import record

PAGE = readme.ROOT / "docs" / "audit.md"
ROWS, CLASSES, BLOCK = 1_000_000, 1000, 10_000
FLOATS, INTEGERS = np.dtype("<f4"), np.dtype("<i8")
# Of the process itself: a child begins with the mark of the parent that made it.
CHILD = """
import sys
from pathlib import Path
from softtargets.cli.app import run
code = run(sys.argv[1:])
status = Path("/proc/self/status").read_text()
print(int(status.split("VmHWM:")[1].split()[0]))
sys.exit(code)
"""


def blocks(rows: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield blocks of logits, too sure by half, and of labels."""
    generator = np.random.default_rng(0)
    for start in range(0, rows, BLOCK):
        count = min(BLOCK, rows - start)
        logits = generator.standard_normal((count, CLASSES), np.float32)
        labels = generator.integers(CLASSES, size=count)
        logits[np.arange(count), labels] += 5
        logits *= 1.5
        yield logits, labels


def write_array(
    stream: IO[bytes], shape: tuple[int, ...], dtype: Any, parts: Iterator[Any]
) -> None:
    """Write an array as npy content, one part after the other."""
    header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    for part in parts:
        stream.write(part.astype(dtype, copy=False).tobytes())


def write_npy(folder: Path, rows: int) -> list[str]:
    with (folder / "logits.npy").open("wb") as file:
        write_array(file, (rows, CLASSES), FLOATS, (logits for logits, _ in blocks(rows)))
    with (folder / "labels.npy").open("wb") as file:
        write_array(file, (rows,), INTEGERS, (labels for _, labels in blocks(rows)))
    return ["logits.npy", "--labels", "labels.npy"]


def write_npz(folder: Path, rows: int, compression: int = zipfile.ZIP_STORED) -> list[str]:
    with zipfile.ZipFile(folder / "a.npz", "w", compression, compresslevel=1) as archive:
        with archive.open("logits.npy", "w", force_zip64=True) as file:
            write_array(file, (rows, CLASSES), FLOATS, (logits for logits, _ in blocks(rows)))
        with archive.open("labels.npy", "w", force_zip64=True) as file:
            write_array(file, (rows,), INTEGERS, (labels for _, labels in blocks(rows)))
    return ["a.npz"]


def write_compressed_npz(folder: Path, rows: int) -> list[str]:
    return write_npz(folder, rows, zipfile.ZIP_DEFLATED)


def write_safetensors(folder: Path, rows: int) -> list[str]:
    end = FLOATS.itemsize * rows * CLASSES
    tensors = {
        "logits": {"dtype": "F32", "shape": [rows, CLASSES], "data_offsets": [0, end]},
        "labels": {"dtype": "I64", "shape": [rows], "data_offsets": [end, end + 8 * rows]},
    }
    header = json.dumps(tensors).encode()
    with (folder / "a.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for logits, _ in blocks(rows):
            file.write(logits.tobytes())
        for _, labels in blocks(rows):
            file.write(labels.astype(INTEGERS).tobytes())
    return ["a.safetensors"]


def write_parquet(folder: Path, rows: int, *, lists: bool) -> list[str]:
    import pyarrow
    from pyarrow import parquet

    classes = [pyarrow.field(f"logit_{k}", pyarrow.float32()) for k in range(CLASSES)]
    scores = [pyarrow.field("logits", pyarrow.list_(pyarrow.float32()))] if lists else classes
    schema = pyarrow.schema([pyarrow.field("label", pyarrow.int64()), *scores])
    offsets = np.arange(0, BLOCK * CLASSES + 1, CLASSES, dtype=np.int32)
    with parquet.ParquetWriter(folder / "a.parquet", schema, use_dictionary=False) as writer:
        for logits, labels in blocks(rows):
            whole = pyarrow.ListArray.from_arrays(offsets[: len(logits) + 1], logits.ravel())
            columns = [whole] if lists else [pyarrow.array(logits[:, k]) for k in range(CLASSES)]
            writer.write_table(pyarrow.table([pyarrow.array(labels), *columns], schema))
    return ["a.parquet"]


def write_parquet_columns(folder: Path, rows: int) -> list[str]:
    return write_parquet(folder, rows, lists=False)


def write_parquet_lists(folder: Path, rows: int) -> list[str]:
    return write_parquet(folder, rows, lists=True)


FORMATS: dict[str, Callable[[Path, int], list[str]]] = {
    "npy": write_npy,
    "npz, stored": write_npz,
    "npz, compressed": write_compressed_npz,
    "safetensors": write_safetensors,
    "Parquet, a column of lists": write_parquet_lists,
    "Parquet, a column per class": write_parquet_columns,
}


def measure(
    write: Callable[[Path, int], list[str]], rows: int, scratch: Path | None
) -> dict[str, Any]:
    """Return what the audit of one file takes."""
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        folder = Path(name)
        arguments = write(folder, rows)
        size = sum(path.stat().st_size for path in folder.iterdir())
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", CHILD, "audit", *arguments, "--json", "a.json"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - start
        if done.returncode:
            raise SystemExit(done.stderr)
        found = json.loads((folder / "a.json").read_text())
        if found["num_samples"] != rows:
            raise SystemExit(f"{found['num_samples']} of {rows} rows were read")
        return {
            "file GB": round(size / 1e9, 2),
            "peak MB": round(1024 * int(done.stdout.splitlines()[-1]) / 1e6),
            "seconds": round(seconds, 1),
        }


def table(content: dict[str, Any]) -> str:
    """Return the record as the page shows it."""
    machine, problem = content["machine"], content["problem"]
    lines = [
        f"`{content['command']}`, one thread of {machine['processor']}, torch {machine['torch']}:",
        "",
        f"| {problem['rows']:,} x {problem['classes']:,} float32 | file, GB | peak memory, MB | "
        "time, s |",
        "|---|---:|---:|---:|",
    ]
    for name, found in content["results"].items():
        numbers = (f"{found['file GB']:.1f}", f"{found['peak MB']:,}", f"{found['seconds']:.0f}")
        lines.append(f"| {name} | {' | '.join(numbers)} |")
    return "\n".join(lines) + "\n"


def page(text: str) -> str:
    """Return the page with the table of the record."""
    return readme.filled(text, "audit", table(read("audit")))


def main() -> None:
    """Measure; of all rows write the record and the table of the page, of fewer only print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--scratch", type=Path, help="a folder with 5 GB of room")
    arguments = parser.parse_args()
    machine, results = record.machine(), {}
    for name, write in FORMATS.items():
        results[name] = measure(write, arguments.rows, arguments.scratch)
        print(name, results[name], file=sys.stderr, flush=True)
    flags = "" if arguments.rows == ROWS else f" --rows {arguments.rows}"
    content = {
        "command": f"python -m benchmarks.audit{flags}",
        "machine": machine | {"threads": 1},
        "problem": {"rows": arguments.rows, "classes": CLASSES, "dtype": "float32"},
        "results": results,
    }
    print(record.as_text(content))
    if arguments.rows == ROWS:
        record.write(RECORDS, "audit.json", content)
        PAGE.write_text(page(PAGE.read_text()))


if __name__ == "__main__":
    main()
