"""Failure signatures, checked in finished results; one check a file.

PrLM's authors name three: retrieval that does no better than random, answers that hardly differ between users, and
a reward that does not separate. The fourth, a control row that reaches the method, is what controls are for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ...host import Component, Registry
from ...results import SeedGroup, Stored, by_questions, seed_groups
from .._columns import SampleColumns
from ._answers import answers
from ._controls import controls
from ._finding import Check, Finding, Group, Line
from ._retrieval import retrieval
from ._rewards import rewards

__all__ = ["CHECKS", "Finding", "find", "to_json", "to_lines"]

#: Checks by name, in the order of their lines.
CHECKS: dict[str, Check] = {
    "retrieval": retrieval,
    "answers": answers,
    "rewards": rewards,
    "controls": controls,
}


def find(stored: Sequence[Stored], registry: Registry) -> list[Finding]:
    """Check results; rows are compared where they answered the same questions, seeds of a method taken together.

    Args:
        stored: finished results.
        registry: says which components are controls; a row whose retriever is not there is no one's control.

    Raises:
        DataError: a file of a result is against the schema.
    """
    found = []
    for members in by_questions(sorted(stored, key=lambda result: str(result.folder))):
        group = Group([_line(family, registry) for family in seed_groups(members)])
        found += [finding for check in CHECKS.values() for finding in check(group)]
    return found


def _line(family: SeedGroup, registry: Registry) -> Line:
    plugin = family[0].manifest.method.retriever.plugin
    known: dict[str, Component] = {component.qualified: component for component in registry.all("retriever")}
    return Line(family, [SampleColumns.of(result) for result in family], known.get(plugin))


def to_json(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Every check with its outcome, passed ones included."""
    return [
        asdict(finding) | {"figure": finding.figure.model_dump() if finding.figure else None} for finding in findings
    ]


def to_lines(findings: Sequence[Finding], *, passed: bool = False) -> list[str]:
    """What was found and what could not be checked, in short lines under what was asked.

    Args:
        passed: list the checks that found nothing, too.
    """
    groups = [("found", ""), ("unchecked", "not checked: "), *([("passed", "not found: ")] if passed else [])]
    bad, left = (sum(finding.status == status for finding in findings) for status in ("found", "unchecked"))
    lines = [f"Findings: {bad} of {len(findings) - left} checks" + (f", {left} not possible" if left else "")]
    for status, prefix in groups:
        sections: dict[str, list[Finding]] = {}
        for finding in findings:
            if finding.status == status:
                sections.setdefault(finding.heading, []).append(finding)
        for heading, members in sections.items():
            width = max(len(finding.method) for finding in members)
            lines += [prefix + heading, *(f"  {finding.method:<{width}}  {finding.text}" for finding in members)]
    return lines if findings else []
