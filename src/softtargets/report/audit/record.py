"""The audit as plain data, for machines."""

import json
import math
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

import softtargets
from softtargets.audit.result import Audit, Comparison
from softtargets.report.audit import versus
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


def comparison_record(comparison: Comparison) -> dict[str, Any]:
    """Return both records and what differs, second minus first.

    Args:
        comparison: what was found.
    """
    return {
        "format": FORMAT,
        "softtargets": softtargets.__version__,
        "verdict": {
            "headline": _unbroken(versus.headline(comparison)),
            "findings": [_unbroken(sentence) for sentence in versus.summary(comparison)],
        },
        "differences": plain(comparison.differences),
        "differences_after_scaling": plain(comparison.scaled),
        "first": record(comparison.first),
        "second": record(comparison.second),
    }


def json_text(content: dict[str, Any]) -> str:
    """Return a record as text."""
    return json.dumps(content, indent=1, allow_nan=False)


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
