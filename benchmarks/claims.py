"""Takes the claims of a finished run into the project: the record, the pictures and the page.

softtargets claims all --budget cpu --data-root DATA --out runs/claims
python -m benchmarks.claims runs/claims

Without a folder only the page and the pictures are written again.
"""

import shutil
import sys
from pathlib import Path

from benchmarks.readme import filled
from softtargets.claims.record import FILE, ClaimsRecord, read
from softtargets.report.claims.figures import write_figures
from softtargets.report.claims.markdown import sections, table

ROOT = Path(__file__).parent.parent
RECORD = ROOT / "records" / "claims" / "cpu.json"
PAGE = ROOT / "docs" / "results.md"
PICTURES = ROOT / "docs" / "assets" / "claims"


def page(text: str, record: ClaimsRecord) -> str:
    """Put the table and the sections of a record into the page."""
    text = filled(text, "table", f"\n{table(record)}\n")
    return filled(text, "sections", f"\n{sections(record, 'assets/claims')}\n")


def main() -> None:
    """Copy the record and rewrite what is made of it."""
    if len(sys.argv) > 1:
        RECORD.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Path(sys.argv[1]) / FILE, RECORD)
    record = read(RECORD)
    for path in PICTURES.glob("*.svg"):
        path.unlink()
    write_figures(record, PICTURES)
    PAGE.write_text(page(PAGE.read_text(), record))


if __name__ == "__main__":
    main()
