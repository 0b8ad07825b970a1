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
        ranked: for each question the ids of its items, best first; for a repeated id the first rank counts.
        relevant: for each question the ids of its relevant items, in the ranking or not.
        measures: ir_measures names with or without a cutoff, such as `nDCG@5` and `RR`.

    Returns:
        For each measure, in the given order, n values: 0.0 for an empty ranking, and nan if nothing is relevant; such
        questions are left out of means, as in trec_eval.

    Raises:
        UnknownNameError: ir_measures has no such measure.
        SpecError: the cutoff is invalid or missing, or the measure needs a package that is not installed.
    """
    import ir_measures

    requested = {name: _measure(name) for name in measures}
    judged = {str(index): dict.fromkeys(ids, 1) for index, ids in enumerate(relevant) if ids}
    run = {}
    for index, ids in enumerate(ranked):
        if ids and str(index) in judged:
            distinct = list(dict.fromkeys(ids))
            run[str(index)] = {item: float(len(distinct) - place) for place, item in enumerate(distinct)}
    try:
        found = list(ir_measures.iter_calc(set(requested.values()), judged, run)) if run else []
    except (ValueError, KeyError) as error:
        raise SpecError(f"ir_measures cannot compute one of {', '.join(requested)}", _HINT) from error
    values = {(metric.measure, metric.query_id): float(metric.value) for metric in found}
    queries = [str(index) for index, _ in zip(range(len(ranked)), relevant, strict=True)]
    return {
        name: [values.get((measure, query), 0.0) if query in judged else math.nan for query in queries]
        for name, measure in requested.items()
    }


def _measure(name: str) -> Any:
    """The measure of a name like `RR` or `nDCG@5`."""
    from ir_measures.measures import registry

    base, at, cutoff = name.partition("@")
    if base not in registry:
        raise UnknownNameError("retrieval measure", base, registry, _HINT)
    # A cutoff of 0 or less crashes the interpreter inside trec_eval.
    if at and not (cutoff.isdecimal() and int(cutoff) >= 1):
        raise SpecError(f"the cutoff of {name!r} is not a positive integer", _HINT)
    try:
        measure: Any = registry[base] @ int(cutoff) if at else registry[base]
        measure.validate_params()
    except AssertionError as error:
        raise SpecError(f"the retrieval measure {name!r} needs a cutoff, or does not take one", _HINT) from error
    return measure
