"""What `import softtargets` costs over `import torch`: fresh interpreters, median of several."""

import subprocess
import sys
from dataclasses import asdict

from benchmarks.costs import RECORDS
from softtargets.bench import record
from softtargets.bench.measure import spread

RUNS = 11
CODE = """
import time
import torch
began = time.perf_counter()
import softtargets
print(time.perf_counter() - began)
"""


def main() -> None:
    """Measure and write the record."""
    seconds = []
    for _ in range(RUNS + 1):
        done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, check=True)
        seconds.append(float(done.stdout) * 1000)
    content = {
        "command": "python -m benchmarks.import_time",
        "machine": record.machine(),
        "results": {"milliseconds over import torch": asdict(spread(seconds[1:])), "runs": RUNS},
    }
    print(record.as_text(content))
    record.write(RECORDS, "import_time.json", content)


if __name__ == "__main__":
    main()
