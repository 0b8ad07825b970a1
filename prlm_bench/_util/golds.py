"""What a reference answer must be, for data files and for metrics in the same words."""

from __future__ import annotations

import math
from collections.abc import Sequence


def finite_number(text: str) -> float | None:
    """The number that a text spells, as `float` reads it; None where it spells none or is not finite."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def label_problem(gold: str, labels: Sequence[str]) -> str | None:
    """What is wrong with the gold of a task with labels; None where it is one of them after stripping."""
    if gold.strip() in labels:
        return None
    return f"the gold {gold!r} is not in the task's label list (labels: {', '.join(map(repr, labels))})"


def number_problem(gold: str) -> str | None:
    """What is wrong with the gold of a task whose answers are numbers; None where it is a finite number."""
    return None if finite_number(gold) is not None else f"the gold {gold!r} is not a number"
