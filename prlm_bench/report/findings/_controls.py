"""Methods that do not beat the best control row."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ._finding import Finding, Group, ResultRow, needing, resting_on, signed


def controls(group: Group) -> Iterator[Finding]:
    """Compare each row that is not a control with the best control row on the same questions, in the ranking metric."""
    rows = [line for line in group.lines if not line.result.manifest.control]
    if not rows:
        return
    if group.metric is None:
        yield group.unchecked("controls", rows, "methods against controls", group.why_no_metric)
        return
    candidates = [line for line in group.lines if line.is_control]
    if not candidates:
        why = "no control row answered the same questions"
        yield group.unchecked("controls", rows, "methods against controls", why)
        return
    best = max(candidates, key=lambda line: _mean(group, line))
    what = f"a control row does as well or better, in {group.metric}: {best.name} has {_shown(group, best)}"
    gaps = {str(at): group.gap(line, best) for at, line in enumerate(rows)}
    for at, found in group.intervals(gaps).items():
        if found.value is None:
            continue
        status, needed = group.gain(found)
        gain = f"gain {signed(found)}{resting_on(gaps[at])}"
        text = needing(f"{_shown(group, rows[int(at)])}, {gain}", needed)
        yield group.finding("controls", status, [rows[int(at)]], what, text, found, needed=needed)


def _mean(group: Group, line: ResultRow) -> float:
    scores = group.scores(line)
    return float(np.nanmean(scores)) if np.isfinite(scores).any() else -np.inf


def _shown(group: Group, line: ResultRow) -> str:
    return f"{group.sign * _mean(group, line):.4f}"
