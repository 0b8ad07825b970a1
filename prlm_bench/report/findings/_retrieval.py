"""Retrieval that is no better than random own items."""

from __future__ import annotations

from collections.abc import Iterator

from ._finding import Finding, Group, needing, resting_on, signed


def retrieval(group: Group) -> Iterator[Finding]:
    """Compare each row with the row that differs only in using random own items, in the ranking metric."""
    what = f"retrieval no better than random own items, gain in {group.metric}"
    rows = [line for line in group.lines if line.selects_items]
    if rows and group.metric is None:
        yield group.unchecked("retrieval", rows, "retrieval compared with random own items", group.why_no_metric)
        return
    counterpart = [(line, group.counterpart(line, lambda other: other.uses_random_items)) for line in rows]
    pairs = [(line, other) for line, other in counterpart if other is not None]
    alone = [line for line, other in counterpart if other is None]
    if alone:
        why = "no other row has random own items with the same k, reasoner and generator"
        yield group.unchecked("retrieval", alone, "retrieval compared with random own items", why)
    gaps = {str(at): group.gap(line, other) for at, (line, other) in enumerate(pairs)}
    for at, found in group.intervals(gaps).items():
        if found.value is None:
            continue
        status, needed = group.gain(found)
        worse = found.high is not None and found.high < 0
        text = needing(("worse: " if worse else "") + signed(found) + resting_on(gaps[at]), needed)
        yield group.finding("retrieval", status, [pairs[int(at)][0]], what, text, found, needed=needed)
