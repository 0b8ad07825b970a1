"""Rewards of finished samples; one that fails has no value in the cells where it fails, and only there."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from .._util.text import shown, well_formed
from ..errors import PrlmBenchError
from ..interfaces import Reward
from ..profiling import timed
from ..records import Sample
from ._stages import grouped


@dataclass(frozen=True, slots=True)
class Result:
    """A finished sample of one cell."""

    cell: int
    sample: Sample
    retrieval: dict[str, float]
    rewards: dict[str, float]
    #: Why a reward gave no value, in one line, by its name.
    reward_failures: dict[str, str] = field(default_factory=dict)
    #: Seconds that its generator took; None for completions from the cache, and for answers without a model.
    seconds: float | None = None


class Scoring:
    """The rewards of a run.

    Args:
        rewards: by name.
    """

    def __init__(self, rewards: dict[str, Reward]) -> None:
        self.rewards = rewards
        #: Why a reward failed, by cell and the name of the reward.
        self._lost: defaultdict[int, dict[str, str]] = defaultdict(dict)

    def score(self, results: Sequence[Result], names: Sequence[str]) -> list[Result]:
        """Copies of the results with rewards; each reward is called once for all of them.

        A reward that raises, or does not give one number for each sample, is called again for each cell alone, so that
        it has no value only in the cells where it fails. There it is not called for later samples.

        Args:
            results: finished samples.
            names: what a profile calls their cells.
        """
        scored = list(results)
        with timed("rewards", names):
            for name in self.rewards:
                places = [j for j, result in enumerate(scored) if name not in self._lost[result.cell]]
                if places:
                    self._score(name, places, scored)
        return [replace(result, reward_failures=dict(self._lost[result.cell])) for result in scored]

    def _score(self, name: str, places: Sequence[int], scored: list[Result]) -> None:
        try:
            values = _reward_values(self.rewards[name], [scored[j].sample for j in places])
        except Exception as error:
            cells = grouped(places, lambda j: scored[j].cell)
            if len(cells) == 1:
                self._lost[scored[places[0]].cell][name] = one_line(error)
                return
            for cell in cells:
                self._score(name, cell, scored)
            return
        for j, value in zip(places, values, strict=True):
            scored[j] = replace(scored[j], rewards=scored[j].rewards | {name: value})


def _reward_values(reward: Reward, samples: Sequence[Sample]) -> list[float]:
    """One number for each sample; nan where the reward gives None or no finite number.

    Raises:
        Exception: the reward raises, or gives something else; its message does not depend on the number of samples.
    """
    given = reward.score(samples)
    if isinstance(given, str | bytes | Mapping):
        raise PrlmBenchError(f"gave a {type(given).__name__}, not a sequence of numbers")
    values = list(given)
    if len(values) != len(samples):
        raise PrlmBenchError(f"gave {'fewer' if len(values) < len(samples) else 'more'} scores than samples")
    if any(isinstance(value, str | bytes) for value in values):
        raise PrlmBenchError("gave text, not numbers")
    numbers = [math.nan if value is None else float(value) for value in values]
    return [value if math.isfinite(value) else math.nan for value in numbers]


def one_line(error: Exception) -> str:
    """An error as one line; those that are not ours with their type."""
    reason = str(error) if isinstance(error, PrlmBenchError) else f"{type(error).__name__}: {error}"
    return shown(well_formed(" ".join(reason.split())))
