"""Paired comparisons as a text table."""

from __future__ import annotations

from collections.abc import Sequence

from .._util.tables import paragraph, table_text
from ._compare import Comparison
from ._names import method_names
from ._text import arrow, on_trainings


def render_comparisons(found: Sequence[Comparison], correction: str) -> str:
    """A table of comparisons with one baseline for each metric, with a legend.

    Args:
        found: at least one comparison.
        correction: the correction of the p-values.
    """
    first = found[0]
    names = method_names([*(c.method for c in found), first.baseline])
    named = list(zip(names.names, found, strict=False))
    sizes = len({(c.n, c.n_users) for c in found}) > 1
    counted = "" if sizes else f": {first.n} questions, {_users(first.n_users)}"
    text = paragraph(f"{first.task} {first.split}, against {names.names[-1]}{counted}\n")
    for metric in dict.fromkeys(c.metric for c in found):
        text += _table([(name, c) for name, c in named if c.metric == metric], correction, sizes)
    return text + paragraph("\n".join([*names.lines, _legend(found)]))


def _table(found: Sequence[tuple[str, Comparison]], correction: str, sizes: bool) -> str:
    """The comparisons in one metric."""
    first = found[0][1]
    several = any(c.seed_sd is not None or c.baseline_seed_sd is not None for _, c in found)
    margin = any(c.equivalent is not None for _, c in found)
    values = {f"{c.difference.second:.4f}" for _, c in found}
    base = ["baseline"] if len(values) > 1 else []
    title = f"{first.metric} {arrow(first.higher_is_better)}" + ("" if base else f", baseline {min(values)}")
    titles = ["method", *(["questions", "users"] if sizes else []), "value", *base, "difference"]
    titles += [*(["seed sd", "of baseline"] if several else []), "p", f"p ({correction})", "detectable"]
    titles += ["users better/=/worse", *(["equivalent"] if margin else [])]
    rows = [[name, *_cells(c, sizes, bool(base), several, margin)] for name, c in found]
    return table_text(title, titles, rows, least=[20])


def _legend(found: Sequence[Comparison]) -> str:
    kinds = {"auto": "the values that the test does not reject", "percentile": "percentiles of resampled users"}
    kind = kinds.get(found[0].interval, "of resampled users, BCa")
    lines = [f"[ ] 95 % interval: {kind}. p: sign-flip test over users."]
    counts = {c.trainings for c in found if c.difference.basis == "users and trainings"}
    if counts:
        lines.append(
            "Several seeds: the mean of all seeds of each side; p and interval are from a t test over users and "
            f"trainings, {on_trainings(min(counts))}. "
            "seed sd: standard deviation between the seeds of the method, and of the baseline."
        )
    if not all(c.higher_is_better for c in found):
        lower = ", ".join(dict.fromkeys(c.metric for c in found if not c.higher_is_better))
        lines.append(f"{lower}: lower is better, so a difference above 0 is worse.")
    lines.append(
        f"detectable: the true difference that this test finds with probability 0.8 among {len(found)} "
        f"comparison{'s' * (len(found) > 1)}; - if there are too few users to find any."
    )
    return "\n".join(lines)


def _users(count: int) -> str:
    return f"{count} user{'s' * (count != 1)}"


def _cells(c: Comparison, sizes: bool, base: bool, several: bool, margin: bool) -> list[str]:
    d = c.difference
    ends = f"({d.why})" if d.why else f"[{d.low:+.4f}, {d.high:+.4f}]"
    word = "" if c.higher_is_better or d.difference == 0 else " better" if c.better else " worse"
    figures = [f"{d.first:.4f}", *([f"{d.second:.4f}"] if base else []), f"{d.difference:+.4f} {ends}{word}"]
    if several:
        figures += ["-" if sd is None else f"{sd:.4f}" for sd in (c.seed_sd, c.baseline_seed_sd)]
    figures += [p_text(d.p), p_text(c.p_corrected), "-" if c.detectable is None else f"{c.detectable:.4f}"]
    users = (d.higher, d.equal, d.lower) if c.higher_is_better else (d.lower, d.equal, d.higher)
    figures.append("/".join(map(str, users)))
    if margin:
        figures.append("yes" if c.equivalent else f"not shown ({d.why})" if d.why else "not shown")
    counts = [str(c.n), str(c.n_users)] if sizes else []
    return [*counts, *figures]


def p_text(p: float) -> str:
    """A p-value with four decimals."""
    return "<0.0001" if p < 0.0001 else f"{p:.4f}"
