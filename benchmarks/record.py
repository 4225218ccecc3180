"""Writing what was measured, with the machine it was measured on."""

import json
import os
import platform
import statistics
from pathlib import Path

import torch

FOLDER = Path(__file__).parent.parent / "records" / "benchmarks"


def spread(values: list[float]) -> dict[str, float]:
    """Return minimum, median and maximum."""
    return {
        "min": round(min(values), 4),
        "median": round(statistics.median(values), 4),
        "max": round(max(values), 4),
    }


def write(name: str, command: str, results: object) -> None:
    """Print the results and write them to `records/benchmarks/NAME.json`."""
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    content = {
        "command": command,
        "machine": {
            "processor": model,
            "processors": os.cpu_count(),
            "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "torch": str(torch.__version__),
        },
        "results": results,
    }
    text = json.dumps(content, indent=1)
    print(text)
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.json").write_text(text + "\n")
