"""The bench's rewards as functions that trl calls: whole batches at a time, each completion parsed once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from prlm_bench import Completion, Prompt, Sample
from prlm_bench.cli.plugin_api import write_whole
from prlm_bench.errors import RunError
from prlm_bench.interfaces import Reasoner, Reward

from .processes import is_main
from .records import COMPLETIONS, TRAIN
from .workshop import PERSONALIZATION, Workshop, sample


class Judge:
    """Scores what a policy writes.

    Args:
        shop: the training.
        reasoner: reads the completions.
        prompts: what was asked, by question id; training and held-back questions.
        rewards: specs with weights.
        folder: where completions are kept to be read.
        keep_every: steps between two that are kept.
    """

    def __init__(
        self,
        shop: Workshop,
        reasoner: Reasoner,
        prompts: Mapping[str, Prompt],
        rewards: Mapping[str, float],
        folder: Path,
        keep_every: int,
    ) -> None:
        self._reasoner, self._prompts, self._keep_every = reasoner, prompts, keep_every
        self._rewards = {name: build_reward(shop, spec) for spec, name in reward_names(rewards).items()}
        self.weights = list(rewards.values())
        self._path = folder / COMPLETIONS
        self._batch: Any = None
        self._samples: list[Sample] = []
        self._scores: dict[str, list[float]] = {}

    @property
    def functions(self) -> list[Any]:
        """One function for each reward, named like it, as trl calls them: in this order for each batch."""
        return [self._function(name) for name in self._rewards]

    def keep_until(self, step: int) -> None:
        """Forget completions of later steps, which will be written anew; a torn last line is one of them.

        Args:
            step: that the training goes on after; -1 forgets all.
        """
        if is_main() and self._path.is_file():
            rows = [row for row in self._path.read_bytes().splitlines(keepends=True) if row.endswith(b"\n")]
            write_whole(self._path, b"".join(row for row in rows if _is_before(orjson.loads(row), step)))

    def _function(self, name: str) -> Callable[..., list[float]]:
        def judge(completions: Any, question: Sequence[str], trainer_state: Any, part: Sequence[str], **_: Any) -> Any:
            if completions is not self._batch:
                self._batch, self._scores = completions, {}
                self._samples = [self._read(name, text) for name, text in zip(question, completions, strict=True)]
            self._scores[name] = self._score(name, trainer_state.global_step)
            if len(self._scores) == len(self._rewards):
                self._keep(trainer_state.global_step, part)
            return self._scores[name]

        judge.__name__ = name
        return judge

    def _read(self, question: str, completion: Any) -> Sample:
        text = completion if isinstance(completion, str) else completion[0]["content"]
        return sample(self._reasoner, self._prompts[question], Completion(text))

    def _score(self, name: str, step: int) -> list[float]:
        try:
            scores = [float(score) for score in self._rewards[name].score(self._samples)]
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise RunError(f"reward {name} failed at step {step}: {type(error).__name__}: {reason}") from error
        if len(scores) != len(self._samples) or not all(map(math.isfinite, scores)):
            raise RunError(f"reward {name} gave no finite number for each completion at step {step}")
        return scores

    def _keep(self, step: int, part: Sequence[str]) -> None:
        if not is_main() or step % self._keep_every:
            return
        rows = []
        for place, (done, of) in enumerate(zip(self._samples, part, strict=True)):
            scores = {name: round(values[place], 4) for name, values in self._scores.items()}
            row = {"step": step, "part": of, "id": done.prompt.example.id, "completion": done.completion.text}
            rows.append({**row, "parsed": done.answer.parsed, "answer": done.answer.text, "rewards": scores})
        with self._path.open("ab") as file:
            file.write(b"".join(orjson.dumps(row) + b"\n" for row in rows))


def _is_before(row: Mapping[str, Any], step: int) -> bool:
    """Training writes after so many steps and before the next; held-back questions are answered before a save."""
    kept: bool = row["step"] < step or (row["step"] == step and row["part"] != TRAIN)
    return kept


def reward_names(rewards: Mapping[str, float]) -> dict[str, str]:
    """What each spec is called in figures: its component, and all of it where several are of one component."""
    parts = Counter(spec.partition(":")[0] for spec in rewards)
    return {spec: spec if parts[spec.partition(":")[0]] > 1 else spec.partition(":")[0] for spec in rewards}


def build_reward(shop: Workshop, spec: str) -> Reward:
    """A registered reward; `personalization` without a model is the one of this training."""
    if spec == PERSONALIZATION:
        made: Reward = shop.context.build(
            "reward", {"name": f"prlm-bench/{spec}", "model": str(shop.output / "reward")}
        )
        return made
    other: Reward = shop.context.build("reward", spec)
    return other


def needs_reward_model(rewards: Mapping[str, float]) -> bool:
    """Whether one of the rewards is the model of the same training."""
    return PERSONALIZATION in rewards
