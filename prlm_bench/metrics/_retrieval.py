"""Retrieval measures for each question, through ir_measures (S. MacAvaney et al., "Streamlining Evaluation with
ir-measures", ECIR 2022): nDCG@5, R@5, P@1, RR, ... by the definitions of trec_eval, relevance 0 or 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from prlm_bench.errors import SpecError, UnknownNameError

_HINT = "write it like nDCG@5, R@5, P@1 or RR"


def retrieval_scores(
    ranked: Sequence[Sequence[str]], relevant: Sequence[frozenset[str]], measures: Sequence[str]
) -> dict[str, list[float]]:
    """Retrieval measures of n questions.

    Args:
        ranked: for each question the ids of its items, best first; of a repeated id the first place counts.
        relevant: for each question the ids of its relevant items, in the ranking or not.
        measures: names as ir_measures writes them, alone or with a cut-off, such as `RR` and `nDCG@5`.

    Returns:
        For each measure, in the order asked, n values: 0.0 for an empty ranking, and nan where nothing is relevant,
        which trec_eval leaves out of its means.

    Raises:
        UnknownNameError: ir_measures has no such measure.
        SpecError: the cut-off is wrong or missing, or the measure needs a package that is not installed.
    """
    import ir_measures

    asked = {name: _measure(name) for name in measures}
    judged = {str(index): dict.fromkeys(ids, 1) for index, ids in enumerate(relevant) if ids}
    run = {}
    for index, ids in enumerate(ranked):
        if ids and str(index) in judged:
            distinct = list(dict.fromkeys(ids))
            run[str(index)] = {item: float(len(distinct) - place) for place, item in enumerate(distinct)}
    try:
        found = list(ir_measures.iter_calc(set(asked.values()), judged, run)) if run else []
    except (ValueError, KeyError) as error:
        raise SpecError(f"ir_measures cannot compute one of {', '.join(asked)}", _HINT) from error
    values = {(metric.measure, metric.query_id): float(metric.value) for metric in found}
    queries = [str(index) for index, _ in zip(range(len(ranked)), relevant, strict=True)]
    return {
        name: [values.get((measure, query), 0.0) if query in judged else math.nan for query in queries]
        for name, measure in asked.items()
    }


def _measure(name: str) -> Any:
    """The measure of a name like `RR` or `nDCG@5`."""
    from ir_measures.measures import registry

    base, at, cutoff = name.partition("@")
    if base not in registry:
        raise UnknownNameError("retrieval measure", base, registry, _HINT)
    # A cut-off of 0 or less ends the interpreter inside trec_eval.
    if at and not (cutoff.isdecimal() and int(cutoff) >= 1):
        raise SpecError(f"the cut-off of {name!r} is not a whole number from 1", _HINT)
    try:
        measure: Any = registry[base] @ int(cutoff) if at else registry[base]
        measure.validate_params()
    except AssertionError as error:
        raise SpecError(f"the retrieval measure {name!r} needs a cut-off, or takes none", _HINT) from error
    return measure
