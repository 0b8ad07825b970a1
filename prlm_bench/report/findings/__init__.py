"""Checks finished results for failure signatures; one check per file.

Three are named by PrLM's authors: retrieval no better than random, answers that hardly differ between users, and a
reward that does not separate good answers from bad ones. The fourth is a method that does not beat a control row, the
fifth completions that could not be read. A check has three answers: shown, shown to be absent, or not enough users for
either; intervals are corrected for the number of checks of the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from ...host import Component, Registry
from ...results import SeedGroup, Stored, by_questions, seed_groups
from .._columns import SampleColumns
from ._answers import answers
from ._completions import completions
from ._controls import controls
from ._finding import Check, Finding, Group, ResultRow
from ._retrieval import retrieval
from ._rewards import rewards

__all__ = ["Finding", "find", "to_json", "to_lines"]

#: Checks by name, in the order of their lines.
CHECKS: dict[str, Check] = {
    "retrieval": retrieval,
    "answers": answers,
    "rewards": rewards,
    "controls": controls,
    "completions": completions,
}
#: Checks that describe the samples at hand and infer nothing from them.
DESCRIPTIVE = ("completions",)


def find(stored: Sequence[Stored], registry: Registry) -> list[Finding]:
    """Check results; rows on the same questions are compared, with the seeds of a method averaged.

    Args:
        stored: finished results.
        registry: knows which components are controls; a row with an unknown retriever is not used as one.

    Raises:
        DataError: a file of a result violates the schema.
    """
    groups = [
        Group([_row(seeds, registry) for seeds in seed_groups(members)])
        for members in by_questions(sorted(stored, key=lambda result: str(result.folder)))
    ]
    family = sum(finding.status != "unchecked" for finding in _checked(groups) if finding.check not in DESCRIPTIVE)
    return _checked([replace(group, family=family) for group in groups])


def _checked(groups: Sequence[Group]) -> list[Finding]:
    return [finding for group in groups for check in CHECKS.values() for finding in check(group)]


def _row(seeds: SeedGroup, registry: Registry) -> ResultRow:
    plugin = seeds[0].manifest.method.retriever.plugin
    known: dict[str, Component] = {component.qualified: component for component in registry.all("retriever")}
    return ResultRow(seeds, [SampleColumns.of(result) for result in seeds], known.get(plugin))


def to_json(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """All outcomes, passed checks included."""
    return [
        asdict(finding) | {"figure": finding.figure.model_dump() if finding.figure else None} for finding in findings
    ]


def to_lines(findings: Sequence[Finding], *, passed: bool = False) -> list[str]:
    """Findings and skipped checks as text lines, grouped by check.

    Args:
        passed: also list checks that found nothing.
    """
    groups = [("found", ""), ("open", "not enough users: "), ("unchecked", "not checked: ")]
    groups += [("passed", "not found: ")] if passed else []
    count = {status: sum(finding.status == status for finding in findings) for status, _ in groups}
    lines = [
        f"Findings: {count['found']} of {len(findings) - count['unchecked']} checks"
        + (f", {count['open']} open" if count["open"] else "")
        + (f", {count['unchecked']} not possible" if count["unchecked"] else "")
    ]
    for status, prefix in groups:
        sections: dict[str, list[Finding]] = {}
        for finding in findings:
            if finding.status == status:
                sections.setdefault(finding.heading, []).append(finding)
        for heading, members in sections.items():
            width = max(len(finding.method) for finding in members)
            lines += [prefix + heading, *(f"  {finding.method:<{width}}  {finding.text}" for finding in members)]
    return lines if findings else []
