"""The audit as plain data, for machines."""

import json
import math
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

import softtargets
from softtargets.audit.result import Audit
from softtargets.report.audit.lean import lean
from softtargets.report.audit.words import findings, headline

FORMAT = 1


def record(audit: Audit) -> dict[str, Any]:
    """Return all numbers and sentences; NaN and infinity, unknown to JSON, are None.

    Args:
        audit: what was found.
    """
    return {
        "format": FORMAT,
        "softtargets": softtargets.__version__,
        "verdict": {
            "lean": str(lean(audit.measures)),
            "headline": _unbroken(headline(audit)),
            "findings": {
                finding.question: [_unbroken(answer) for answer in finding.answers]
                for finding in findings(audit)
            },
        },
        **plain(audit),
    }


def json_text(audit: Audit) -> str:
    """Return the record as text."""
    return json.dumps(record(audit), indent=1, allow_nan=False)


def plain(value: Any) -> Any:
    """Return frozen results as nested dictionaries, lists and numbers."""
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Tensor):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _unbroken(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")
