"""Comparisons and budgets as JUnit XML, which every CI system shows: one test case a value that decides, one a
budget.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence

from tinysim.baseline import Comparison, Scope
from tinysim.budget import Verdict

__all__ = ["to_junit"]

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 does not allow."""


def to_junit(comparison: Comparison | None, percent: float, verdicts: Sequence[Verdict] = ()) -> str:
    """XML text; a value that grew by more than ``percent`` percent, or a budget that is exceeded, is a failure."""
    root = ET.Element("testsuites", name="tinysim")
    for pair in comparison.pairs if comparison else ():
        suite = ET.SubElement(root, "testsuite", name=_clean(pair.title))
        failed = pair.regressions(percent)
        culprits = "\n".join(f"{c.name}: {c.delta:+,} cycles" for c in pair.culprits())
        for change in pair.changes:
            if change.scope in (Scope.PROGRAM, Scope.REGION):
                name = f"{change.metric} of {change.name}" if change.scope is Scope.REGION else change.name
                _case(suite, name, pair.title, str(change) if change in failed else None, culprits)
        if pair.before.outputs is not None:
            _case(
                suite, "outputs", pair.title, "the answers were right in the baseline" if pair.answers_broke else None
            )
        _count(suite)
    if verdicts:
        suite = ET.SubElement(root, "testsuite", name="budgets")
        for verdict in verdicts:
            _case(suite, str(verdict.budget), verdict.subject, None if verdict.kept else str(verdict))
        _count(suite)
    _count(root)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("?", text)


def _case(suite: ET.Element, name: str, group: str, failure: str | None, details: str = "") -> None:
    case = ET.SubElement(suite, "testcase", name=_clean(name), classname=_clean(group))
    if failure is not None:
        ET.SubElement(case, "failure", message=_clean(failure)).text = _clean(details)


def _count(element: ET.Element) -> None:
    element.set("tests", str(len(element.findall(".//testcase"))))
    element.set("failures", str(len(element.findall(".//failure"))))
