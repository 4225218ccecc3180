"""Asks every installed library every case and writes the record and docs/conformance.md.

python -m tests.conformance.page            # needs the dependency group `conformance`
python -m tests.conformance.page --redraw   # only the page, from the record
"""

import json
import math
import sys
import warnings
from pathlib import Path
from typing import Any

import torch

from softtargets.bench import record as records
from tests.conformance.cases import CASES
from tests.conformance.peers import LIBRARIES
from tests.conformance.problem import Case, Refused, first_line, numbers, outcome

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "records" / "conformance.json"
PAGE = ROOT / "docs" / "conformance.md"
COMMAND = "make conformance"
MACHINE = ("processor", "system", "python", "torch", "softtargets", "revision")

INTRODUCTION = """# Conformance

The same questions to softtargets and to other libraries that smooth labels or measure calibration:
what was asked, what the right answer is, what each library answered. The right answers come from
the formulas, computed in float64 apart from every library. Most questions are mistakes that users
of one library or another ran into. In brackets stand the project where it was seen, and the
*promise*, a numbered one of [concepts.md](concepts.md#what-can-be-relied-on). `make conformance`
asks them all again and writes
this page. It is a report on versions, not a ranking: the questions were chosen by the authors of
softtargets, and nobody else promised to answer them.

- **pass**: the right answer, within the tolerance.
- **other**: another answer that can be defended, because the library documents it or the formula
  read literally gives it. Which one is said beside it, case by case.
- **fail**: neither. The value is shown.
- **error**: an exception where an answer was due.
- empty: the library has no argument for the question.
"""

LEFT_OUT = """## Left out

- Liger Kernel, quack, flash-attn, apex: their losses run on a GPU only.
- Composer would replace torch by an older one; fairseq was not tried; noisypy is not on the package
  index; the repositories of single papers (online and instance-based smoothing, noise correction)
  are no packages.
- cleanlab and probly: what they have in this field, noise estimation and label relaxation,
  softtargets does not have yet, so there is nothing to compare. The same goes for the corrections
  of noisy labels.
- Online smoothing on several ranks takes processes: `tests/smoothing/test_distributed.py`.
"""

KINDS = ("pass", "other", "fail", "error")


def plain(value: Any) -> Any:
    """Numbers of eight digits; what JSON cannot hold as words."""
    if isinstance(value, list):
        return [plain(part) for part in value]
    if not isinstance(value, float):
        return value
    return float(f"{value:.8g}") if math.isfinite(value) else str(value)


def question(case: Case) -> dict[str, Any]:
    """A case without its answers."""
    right = "an error" if case.right is Refused else plain(numbers(case.right))
    return {
        "name": case.name,
        "source": case.source,
        "says": case.says,
        "right": right,
        "tolerance": case.tolerance,
    }


def ask_everything() -> dict[str, Any]:
    """Load the libraries, ask them, return the record."""
    libraries, missing = [], {}
    for make in LIBRARIES:
        library = make()
        try:
            library.load()
            library.version()
            libraries.append(library)
        except Exception as error:
            missing[library.title] = first_line(error)
    asked = []
    for case in CASES:
        answers = {library.name: outcome(case, library) for library in libraries}
        for answer in answers.values():
            answer["seen"] = plain(answer["seen"])
        asked.append(question(case) | {"answers": answers})
    machine = records.machine()
    return {
        "format": 1,
        "command": COMMAND,
        "machine": {name: machine[name] for name in MACHINE},
        "libraries": [
            {"name": x.name, "title": x.title, "version": x.version(), "how": x.how}
            for x in libraries
        ],
        "missing": missing,
        "cases": asked,
    }


def shown(value: Any) -> str:
    """A value as the page has it."""
    if isinstance(value, list):
        parts = [shown(part) for part in value[:3]]
        return ", ".join(parts) + (", ..." if len(value) > 3 else "")
    if isinstance(value, float):
        return "0" if value == 0 else f"{value:.2g}" if abs(value) < 1e-3 else f"{value:.5g}"
    return str(value).replace("`", "'")


def mark(answer: dict[str, Any]) -> str:
    """A verdict as a table has it."""
    kind = _kind(answer)
    return {"n/a": "", "fail": "**fail**", "error": "**error**"}.get(kind, kind)


def libraries_table(record: dict[str, Any]) -> str:
    lines = [
        "| library | version | pass | other | fail | error | not offered |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for library in record["libraries"]:
        kinds = [_kind(case["answers"][library["name"]]) for case in record["cases"]]
        counts = [kinds.count(kind) for kind in (*KINDS, "n/a")]
        cells = [library["title"], library["version"], *map(str, counts)]
        lines.append(f"| {' | '.join(cells)} |")
    notes = [
        f"- {library['title']}: loaded from {library['how']}."
        for library in record["libraries"]
        if library["how"] != "imported"
    ]
    notes += [f"- {title} was not asked: `{why}`." for title, why in record["missing"].items()]
    return "\n".join(lines) + "\n\n" + "\n".join(notes) + "\n"


def overview(record: dict[str, Any]) -> str:
    names = [library["name"] for library in record["libraries"]]
    lines = [f"| case | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for number, case in enumerate(record["cases"], 1):
        marks = [mark(case["answers"][name]) for name in names]
        lines.append(f"| {number}. {case['name']} | {' | '.join(marks)} |")
    return "\n".join(lines) + "\n"


def details(number: int, case: dict[str, Any]) -> str:
    """A case in words, with every answer."""
    lines = [
        f"### {number}. {case['name']}",
        "",
        f"{case['says']} ({case['source']})",
        "",
        f"Right: **{shown(case['right'])}**",
        "",
    ]
    for kind in KINDS:
        found = [_answer(*item) for item in case["answers"].items() if _kind(item[1]) == kind]
        if found:
            lines.append(f"- {kind}: {'; '.join(found)}")
    return "\n".join(lines) + "\n"


def _kind(answer: dict[str, Any]) -> str:
    kind: str = answer["verdict"].partition(":")[0]
    return kind


def _answer(name: str, answer: dict[str, Any]) -> str:
    which = answer["verdict"].partition(": ")[2]
    return f"{name} `{shown(answer['seen'])}`" + (f" ({which})" if which else "")


def page(record: dict[str, Any]) -> str:
    """The page of a record."""
    machine = record["machine"]
    where = (
        f"`{record['command']}`, softtargets {machine['softtargets']} at `{machine['revision']}`, "
        f"torch {machine['torch']}, Python {machine['python']}, {machine['processor']}.\n"
    )
    blocks = [
        INTRODUCTION,
        where,
        "## Who was asked\n",
        libraries_table(record),
        "## All verdicts\n",
        overview(record),
        "## Case by case\n",
        *(details(number, case) for number, case in enumerate(record["cases"], 1)),
        LEFT_OUT,
    ]
    return "\n".join(blocks)


def main() -> None:
    """Ask, write the record, write the page."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if "--redraw" not in sys.argv[1:]:
        RECORD.write_text(records.as_text(ask_everything()) + "\n")
    PAGE.write_text(page(json.loads(RECORD.read_text())))


if __name__ == "__main__":
    main()
