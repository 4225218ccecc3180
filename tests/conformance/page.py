"""Asks every installed library every case and writes the record and docs/conformance.md.

python -m tests.conformance.page            # needs the dependency group `conformance`
python -m tests.conformance.page --redraw   # only the page, from the record
"""

import json
import math
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import torch

from softtargets.bench import record as records
from tests.conformance.cases import GROUPS
from tests.conformance.libraries import LIBRARIES
from tests.conformance.problem import Case, Refused, first_line, numbers, outcome

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "records" / "conformance.json"
PAGE = ROOT / "docs" / "conformance.md"
COMMAND = "make conformance"
MACHINE = ("processor", "system", "python", "torch", "softtargets", "revision")

INTRODUCTION = """# Conformance

{questions} questions to softtargets and to {libraries} other libraries and repositories that smooth
labels, correct for noisy ones or measure calibration: what was asked, what the right answer is,
what each of them answered. The right answers come from the formulas, computed in float64 apart from
every library. Most questions are mistakes that users of one library or another ran into. It is a
report on versions, not a ranking: the questions were chosen by the authors of softtargets, and
nobody else promised to answer them.

- **right**: the right answer, within the tolerance.
- **other**: another answer that can be defended, because the library documents it or the formula
  read literally gives it. Which one is said beside it.
- **wrong**: neither. Where a formula gives the very number that was seen, it is said what it is.
- **error**: an exception where an answer was due.
- empty: the library has no argument for the question.

On this page: [who was asked](#who-was-asked), [the wrong answers](#the-wrong-answers), questions on
{groups},
[the promises](#the-promises), [who was not asked](#who-was-not-asked).
"""

LEFT_OUT = """## Who was not asked

- Liger Kernel, quack, flash-attn, apex and Megatron-LM: their losses run on GPUs only.
- probly: its label relaxation is nothing that softtargets has.
- Other repositories of single papers, online smoothing by zhangchbin and Kurumi233, MaxSup, MbLS,
  ACLS, zipfls and SVLS among them: training scripts that were not run. What softtargets makes of
  these methods is tested against the papers' formulas.
"""

KINDS = {"pass": "right", "other": "other", "fail": "wrong", "error": "error"}


def plain(value: Any) -> Any:
    """Numbers of eight digits; what JSON cannot hold as words."""
    if isinstance(value, list):
        return [plain(part) for part in value]
    if not isinstance(value, float):
        return value
    return float(f"{value:.8g}") if math.isfinite(value) else str(value)


def question(group: str, case: Case) -> dict[str, Any]:
    """A case without its answers."""
    right = "an error" if case.right is Refused else plain(numbers(case.right))
    return {
        "group": group,
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
            missing[library.name] = first_line(error)
    asked = []
    for group, cases in GROUPS.items():
        for case in cases:
            answers = {library.name: outcome(case, library) for library in libraries}
            for answer in answers.values():
                answer["seen"] = plain(answer["seen"])
            asked.append(question(group, case) | {"answers": answers})
    machine = records.machine()
    return {
        "format": 2,
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
    return str(value).replace("`", "'").replace("|", "/")


def table(*rows: list[str], align: str = "") -> str:
    """Rows as Markdown, the first one as the head; `align` has one of l, r, c for each column."""
    rules = {"l": "---", "r": "---:", "c": ":---:"}
    rule = [rules[letter] for letter in align or "l" * len(rows[0])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (rows[0], rule, *rows[1:])) + "\n"


def anchor(heading: str) -> str:
    """What a heading is called in a link."""
    return "#" + re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def heading(number: int, case: dict[str, Any]) -> str:
    return f"{number}. {case['name']}"


def link(number: int, case: dict[str, Any], words: str = "") -> str:
    return f"[{words or heading(number, case)}]({anchor(heading(number, case))})"


def libraries_table(record: dict[str, Any]) -> str:
    rows = [["name", "what was asked", "version", *KINDS.values(), "not offered"]]
    for library in record["libraries"]:
        kinds = [_split(case["answers"][library["name"]])[0] for case in record["cases"]]
        counts = [kinds.count(kind) for kind in (*KINDS, "n/a")]
        rows.append([library["name"], library["title"], library["version"], *map(str, counts)])
    notes = [
        f"- {library['name']}: {library['how']}."
        for library in record["libraries"]
        if library["how"] != "imported"
    ]
    notes += [f"- {title} was not asked: `{why}`." for title, why in record["missing"].items()]
    where = "Imported as their users import them, but for:\n"
    return table(*rows, align="lllrrrrr") + "\n" + where + "\n" + "\n".join(notes) + "\n"


def wrong_answers(record: dict[str, Any]) -> str:
    """What was wrong, library by library; one row where several answers have one reason."""
    rows = [["name", "question", "right", "seen", "what it is", "also in"]]
    for library in record["libraries"]:
        name, found = library["name"], {}
        for number, case in enumerate(record["cases"], 1):
            kind, reason = _split(case["answers"][name])
            if kind in ("fail", "error"):
                found.setdefault(reason or case["name"], (reason, []))[1].append((number, case))
        for reason, [(number, case), *more] in found.values():
            seen = shown(case["answers"][name]["seen"])
            values = [f"`{shown(case['right'])}`", f"`{seen}`"]
            also = ", ".join(link(*each, str(each[0])) for each in more)
            rows.append([name, link(number, case), *values, reason, also])
    return table(*rows)


def promises(record: dict[str, Any]) -> str:
    """Which questions ask for which promise."""
    lines = []
    for promise in range(1, 11):
        asked = [
            link(number, case, str(number))
            for number, case in enumerate(record["cases"], 1)
            if f"promise {promise}" in case["source"].split(", ")
        ]
        lines.append(f"- promise {promise}: {', '.join(asked)}")
    return "\n".join(lines) + "\n"


def group_block(record: dict[str, Any], group: str) -> str:
    """One group: the verdicts of the libraries that answered anything in it, then the cases."""
    cases = [
        (number, case) for number, case in enumerate(record["cases"], 1) if case["group"] == group
    ]
    names = [
        library["name"]
        for library in record["libraries"]
        if any(_split(case["answers"][library["name"]])[0] != "n/a" for _, case in cases)
    ]
    rows = [["question", *names]]
    for number, case in cases:
        marks = [_mark(case["answers"][name]) for name in names]
        rows.append([link(number, case), *marks])
    overview = table(*rows, align="l" + "c" * len(names))
    return "\n".join([f"## {group}\n", overview, *(details(*item) for item in cases)])


def details(number: int, case: dict[str, Any]) -> str:
    """A case in words, with every answer."""
    lines = [
        f"### {heading(number, case)}",
        "",
        case["says"] + _source(case["source"]),
        "",
        f"Right: **{shown(case['right'])}**",
        "",
    ]
    rows = [["", "seen", "by"]]
    for kind, word in KINDS.items():
        same: dict[tuple[str, str], list[str]] = {}
        for name, answer in case["answers"].items():
            found, reason = _split(answer)
            if found == kind:
                same.setdefault((reason, shown(answer["seen"])), []).append(name)
        for (reason, seen), names in same.items():
            verdict = f"{word}: {reason}" if reason else word
            rows.append([verdict, f"`{seen}`", ", ".join(names)])
    return "\n".join(lines) + "\n" + table(*rows)


def _source(source: str) -> str:
    """Which promise the question is about, and whose users ran into it."""
    parts = [part for part in source.split(", ") if part != "reference"]
    promise = [part.capitalize() for part in parts if part.startswith("promise")]
    seen = [part for part in parts if not part.startswith("promise")]
    words = [*promise, *([f"seen in {' and '.join(seen)}"] if seen else [])]
    text = "; ".join(words)
    return f" *{text[0].upper()}{text[1:]}.*" if text else ""


def _split(answer: dict[str, Any]) -> tuple[str, str]:
    """A verdict's kind and its reason."""
    kind, _, reason = answer["verdict"].partition(": ")
    return kind, reason


def _mark(answer: dict[str, Any]) -> str:
    kind = _split(answer)[0]
    word = KINDS.get(kind, "")
    return f"**{word}**" if kind in ("fail", "error") else word


def page(record: dict[str, Any]) -> str:
    """The page of a record."""
    machine = record["machine"]
    groups = list(dict.fromkeys(case["group"] for case in record["cases"]))
    introduction = INTRODUCTION.format(
        questions=len(record["cases"]),
        libraries=len(record["libraries"]) - 1,
        groups=", ".join(f"[{group.lower()}]({anchor(group)})" for group in groups),
    )
    where = (
        f"`{record['command']}`, softtargets {machine['softtargets']} at `{machine['revision']}`, "
        f"torch {machine['torch']}, Python {machine['python']}, {machine['processor']}.\n"
    )
    blocks = [
        introduction,
        "## Who was asked\n",
        where,
        libraries_table(record),
        "## The wrong answers\n",
        "*Also in* are other questions that went wrong in the same way.\n",
        wrong_answers(record),
        *(group_block(record, group) for group in groups),
        "## The promises\n",
        "The numbered promises of [concepts.md](concepts.md#what-can-be-relied-on), and the\n"
        "questions that ask for them.\n",
        promises(record),
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
