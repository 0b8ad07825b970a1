"""Rewards of finished samples; one that fails has no value in the cells where it fails, and only there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ..host import ComponentChoice, Fault, fault_of
from ..host._faults import told
from ..interfaces import Reward
from ..profiling import timed
from ..records import Sample
from ._calls import reward_values
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
        choices: the same as they were chosen, for messages.
    """

    def __init__(self, rewards: dict[str, Reward], choices: Sequence[ComponentChoice] = ()) -> None:
        self.rewards = rewards
        self._choices = {str(choice): choice for choice in choices}
        #: The errors of rewards, by what is said of them.
        self.faults: dict[str, Fault] = {}
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
            values = reward_values(self.rewards[name], [scored[j].sample for j in places])
        except Exception as error:
            cells = grouped(places, lambda j: scored[j].cell)
            if len(cells) == 1:
                self._lose(scored[places[0]].cell, name, error)
                return
            for cell in cells:
                self._score(name, cell, scored)
            return
        for j, value in zip(places, values, strict=True):
            scored[j] = replace(scored[j], rewards=scored[j].rewards | {name: value})

    def _lose(self, cell: int, name: str, error: Exception) -> None:
        fault = fault_of(error)
        self._lost[cell][name] = fault.stored
        self.faults.setdefault(told(self._choices[name], fault) if name in self._choices else f"reward {name}", fault)
