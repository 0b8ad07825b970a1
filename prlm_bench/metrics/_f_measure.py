"""The harmonic mean of precision and recall, as computed by the two ROUGE packages."""

from __future__ import annotations


def lamp_f(matches: int, answer_size: int, gold_size: int) -> float:
    """F1 of rouge_score 0.1.2, 0..1; a side of size 0 gives 0."""
    precision = matches / max(answer_size, 1)
    recall = matches / max(gold_size, 1)
    return 2 * precision * recall / (precision + recall) if matches else 0.0


def prlm_f(matches: int, answer_size: int, gold_size: int) -> float:
    """F1 of rouge_chinese 1.0.3, 0..1, with the 1e-8 in its denominator; a side of size 0 gives 0."""
    precision = matches / max(answer_size, 1)
    recall = matches / max(gold_size, 1)
    return 2.0 * ((precision * recall) / (precision + recall + 1e-8))
