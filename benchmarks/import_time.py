"""What `import softtargets` costs over `import torch`: fresh interpreters, median of several."""

import subprocess
import sys

from benchmarks import record

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
    results = {"milliseconds over import torch": record.spread(seconds[1:]), "runs": RUNS}
    record.write("import_time", "python -m benchmarks.import_time", results)


if __name__ == "__main__":
    main()
