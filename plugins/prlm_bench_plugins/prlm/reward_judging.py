"""Whether a reward model tells personal answers from others, and whether it only measures length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from prlm_bench.stats import bootstrap_totals, percentile_interval, user_totals

from .pairs import Pair
from .scorer import Scorer, question_text

_BINS = 10


def judge_pairs(scorer: Scorer, train: Sequence[Pair], held_back: Sequence[Pair], *, profile: bool) -> dict[str, Any]:
    """Figures on the pairs of held-back users, which nothing was chosen by.

    `accuracy` is the share of pairs whose better answer scores higher, with a 95 % interval over users; beside
    it stand that of the rule "longer is better" (or shorter, whichever holds in the training pairs), and
    `beats_echo`, the share of better answers that score above the question's own text. `calibration_error` is
    the expected calibration error of sigmoid(margin) in ten bins (Guo et al. 2017, section 2).
    """
    texts = [question_text(pair.query, pair.items, profile=profile) for pair in held_back]
    better = np.array(scorer.score(texts, [pair.better for pair in held_back]))
    worse = np.array(scorer.score(texts, [pair.worse for pair in held_back]))
    echo = np.array(scorer.score(texts, [pair.query for pair in held_back]))
    users = [pair.user for pair in held_back]
    sign = 1.0 if _longer(train).mean() >= 0.5 else -1.0
    lengths = [len(text) for pair in held_back for text in (pair.better, pair.worse)]
    scores = [value for pair in zip(better, worse, strict=True) for value in pair]
    return {
        "held_back_users": len(set(users)),
        "accuracy": _share(_wins(better - worse), users),
        "accuracy_of_length": _share(_longer(held_back) if sign > 0 else 1 - _longer(held_back), users),
        "beats_echo": _share(_wins(better - echo), users),
        "rank_correlation_with_length": _correlation(scores, lengths),
        "calibration_error": round(_calibration_error(better - worse), 4),
    }


def _wins(margins: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 for above, 0 for below, a half for equal."""
    won: NDArray[np.float64] = (np.sign(margins) + 1) / 2
    return won


def _longer(pairs: Sequence[Pair]) -> NDArray[np.float64]:
    return _wins(np.array([len(pair.better) - len(pair.worse) for pair in pairs], dtype=np.float64))


def _share(values: NDArray[np.float64], users: Sequence[str]) -> dict[str, float]:
    """The mean with a 95 % interval; users are resampled."""
    totals = user_totals(np.stack([values, np.ones_like(values)], axis=1), users)
    resampled = bootstrap_totals(totals)
    low, high = percentile_interval(resampled[:, 0] / resampled[:, 1])
    return {"value": round(float(values.mean()), 4), "low": round(low, 4), "high": round(high, 4)}


def _correlation(scores: Sequence[float], lengths: Sequence[int]) -> float | None:
    if len(set(scores)) < 2 or len(set(lengths)) < 2:
        return None
    return round(float(spearmanr(scores, lengths).statistic), 4)


def _calibration_error(margins: NDArray[np.float64]) -> float:
    confidence = 1 / (1 + np.exp(-np.abs(margins)))
    place = np.minimum(((confidence - 0.5) * 2 * _BINS).astype(int), _BINS - 1)
    right = _wins(margins)
    gaps = [abs(confidence[place == b].mean() - right[place == b].mean()) * (place == b).mean() for b in set(place)]
    return float(sum(gaps))
