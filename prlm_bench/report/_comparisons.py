"""Paired comparisons as a text table."""

from __future__ import annotations

from collections.abc import Sequence

from .._util.tables import table_text
from ._compare import Comparison


def render_comparisons(found: Sequence[Comparison], correction: str) -> str:
    """A table of comparisons with one baseline, with a legend.

    Args:
        found: at least one comparison.
        correction: the correction of the p-values.
    """
    several = any(c.seed_sd is not None for c in found)
    margin = any(c.equivalent is not None for c in found)
    titles = ["method", "metric", "value", "baseline", "difference", *(["seed sd"] if several else [])]
    titles += ["p", f"p ({correction})", "detectable", "users +/=/-", *(["equivalent"] if margin else [])]
    rows = [_cells(c, several, margin) for c in found]
    first = found[0]
    # A method with fewer seeds is compared with fewer seeds of the baseline.
    against = first.baseline if len({c.baseline for c in found}) == 1 else first.baseline.partition(", seeds")[0]
    title = f"{first.task} {first.split}, against {against}: {first.n} questions, {first.n_users} users"
    kind = "BCa interval" if first.interval == "bca" else "interval"
    legend = (
        f"[ ] 95 % {kind}, users resampled. p: sign-flip test over users. "
        "detectable: the difference that this number of users shows with probability 0.8."
    )
    if several:
        legend += (
            "\nSeveral seeds: the mean of their differences. "
            "seed sd: standard deviation of the difference between seeds."
        )
    return table_text(title, titles, rows) + legend + "\n"


def _cells(c: Comparison, several: bool, margin: bool) -> list[str]:
    d = c.difference
    figures = [f"{d.first:.4f}", f"{d.second:.4f}", f"{d.difference:+.4f} [{d.low:+.4f}, {d.high:+.4f}]"]
    if several:
        figures.append("-" if c.seed_sd is None else f"{c.seed_sd:.4f}")
    figures += [f"{d.p:.4f}", f"{c.p_corrected:.4f}", f"{c.detectable:.4f}", f"{d.higher}/{d.equal}/{d.lower}"]
    if margin:
        figures.append("yes" if c.equivalent else "not shown")
    return [c.method, c.metric, *figures]
