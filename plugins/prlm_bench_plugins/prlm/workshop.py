"""What all stages share: the base model, the training questions, who is kept back, and prompts."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from prlm_bench import Answer, Completion, Example, Prompt, Ranking, Sample
from prlm_bench.errors import PrlmBenchError, RunError
from prlm_bench.interfaces import Context, Generator, Reasoner
from prlm_bench.progress import Progress
from prlm_bench.running import CachedGenerator, GenerationCache

from .artefact import MANIFEST, Artefact, make_artefact
from .identity import code, package_versions
from .processes import world_size
from .recipe import Recipe

#: The reward that reads the model of its own training.
PERSONALIZATION = "personalization"
_TRAINER = "trainer:"
_BATCH = 256


class Workshop:
    """One training: a recipe on a task's training split.

    Args:
        context: the run's; its dataset is the training split.
        recipe: the settings.
        output: the folder of all stages.
        progress: told about the course.
    """

    def __init__(self, context: Context, recipe: Recipe, output: Path, progress: Progress) -> None:
        self.context, self.recipe, self.output, self.progress = context, recipe, output, progress
        self.task = context.task

    @cached_property
    def base(self) -> str:
        """The base model: a hub name or folder, made first where a trainer makes it."""
        base = self.recipe.base
        if not base.startswith(_TRAINER):
            return base
        folder = self.output / "base"
        if not folder.is_dir():
            _refuse_several("the base")
            self.context.build("trainer", base.removeprefix(_TRAINER)).train(folder, self.progress)
        return str(folder)

    @cached_property
    def base_identity(self) -> str:
        """The hash of the base model's files."""
        return self._made(1.0).fingerprint()

    def generator(self, temperature: float = 0.0, draw: int = 0, seen: str | None = None) -> Generator:
        """The base model, its completions kept between runs.

        Args:
            temperature: 0 for the likeliest tokens.
            draw: tells several samples of one prompt apart.
            seen: another model than the base.
        """
        made = self._made(temperature, draw, seen)
        identity = {"generator": "prlm base", "settings": self._decoding(temperature, draw), "made": made.fingerprint()}
        return CachedGenerator(made, GenerationCache(self.context.cache_dir, identity))

    def _made(self, temperature: float, draw: int = 0, model: str | None = None) -> Generator:
        made: Generator = self.context.build(
            "generator",
            {
                "name": "prlm-bench/transformers",
                "model": model or self.base,
                "max_new_tokens": self.recipe.max_completion,
                "temperature": temperature,
                "draw": draw,
                "batch_tokens": self.recipe.batch_tokens,
                "overflow": "cut-items",
            },
        )
        return made

    def _decoding(self, temperature: float, draw: int) -> str:
        return f"{self.recipe.max_completion} {temperature} {draw}"

    @cached_property
    def retriever(self) -> Any:
        """Finds the items that prompts show."""
        return self.context.build("retriever", self.recipe.retriever)

    def reasoner(self, spec: str) -> Reasoner:
        """Shapes prompts and reads completions, in training as in a run."""
        made: Reasoner = self.context.build("reasoner", spec)
        return made

    @cached_property
    def held_back(self) -> frozenset[str]:
        """Users of the training split that nothing is trained on; to choose by."""
        users = sorted(set(self.context.dataset.users), key=self._lot)
        if len(users) < 2:
            raise RunError(
                f"{self.task.name} train has one user", "users to choose by are needed besides; give more data"
            )
        return frozenset(users[: max(1, math.ceil(self.recipe.held_back * len(users)))])

    def questions(self, most: int | None, *, held_back: bool = False) -> list[Example]:
        """Training questions with golds, in the order of lots.

        Args:
            most: so many at most; None for all.
            held_back: those of the users who are kept back, instead of those to train on.
        """
        dataset = self.context.dataset
        of_whom = zip(dataset.ids, dataset.users, dataset.golds, strict=True)
        names = [name for name, user, gold in of_whom if gold is not None and (user in self.held_back) == held_back]
        if not names:
            raise RunError(f"{self.task.name} train has no questions with golds {'to choose by' if held_back else ''}")
        chosen = {name: place for place, name in enumerate(sorted(names, key=self._lot)[:most])}
        found = [e for batch in dataset.batches(_BATCH) for e in batch if e.id in chosen]
        return sorted(found, key=lambda example: chosen[example.id])

    def _lot(self, name: str) -> str:
        return hashlib.sha256(f"{self.context.seed}\n{name}".encode()).hexdigest()

    def rank(self, examples: Sequence[Example]) -> list[Ranking]:
        """The recipe's k items for each example."""
        k = self.recipe.k
        found: list[Ranking] = []
        self.progress.start(f"retrieving with {self.recipe.retriever}, questions", len(examples))
        for start in range(0, len(examples), _BATCH):
            part = examples[start : start + _BATCH]
            found += [Ranking(r.items[:k], r.scores[:k]) for r in self.retriever.rank(part, k)]
            self.progress.advance(len(part))
        return found

    def prompts(
        self, reasoner: Reasoner, examples: Sequence[Example], rankings: Sequence[Ranking] | None = None
    ) -> list[Prompt]:
        """The prompts that a run would show to the base model; without items where no rankings are given."""
        generator = self._made(0.0)
        shown = rankings if rankings is not None else [Ranking()] * len(examples)
        return list(reasoner.prompts(examples, shown, generator))

    def fits(self, prompt: Prompt) -> bool:
        """False where the question alone leaves the model no room to answer."""
        return self._room is None or prompt.tokens <= self._room

    @cached_property
    def _room(self) -> int | None:
        """Tokens that a prompt may have."""
        room: int | None = getattr(self._made(0.0), "max_prompt_tokens", None)
        return room

    def asked(self, reasoner: Reasoner, most: int | None, *, held_back: bool) -> tuple[list[Prompt], int]:
        """Questions with their items as prompts, and how many were left out because they alone are too long.

        Raises:
            RunError: none is left.
        """
        examples = self.questions(most, held_back=held_back)
        prompts = self.prompts(reasoner, examples, self.rank(examples))
        fitting = [prompt for prompt in prompts if self.fits(prompt)]
        if not fitting:
            raise RunError(
                f"each of {len(prompts)} questions alone leaves the base no room to answer",
                "a smaller max_completion, or a base that reads more",
            )
        return fitting, len(prompts) - len(fitting)

    def answers(self, label: str, reasoner: Reasoner, prompts: Sequence[Prompt], generator: Generator) -> list[Sample]:
        """What a generator makes of prompts, parsed."""
        completions: list[Completion | None] = [None] * len(prompts)
        self.progress.start(f"{label}, prompts", len(prompts))
        for place, completion in generator.generate(prompts):
            completions[place] = completion
            self.progress.advance()
        return [sample(reasoner, prompt, done) for prompt, done in zip(prompts, completions, strict=True) if done]

    def stage(self, name: str, settings: Any, work: Any, *, alone: bool = False, **inputs: Any) -> Artefact:
        """The artefact of a stage in its folder below the output (see `make_artefact`).

        Args:
            name: of the stage and its folder.
            settings: the stage's own part of the recipe.
            work: takes the folder and returns figures.
            alone: several processes cannot share the work.
            inputs: identities of what else goes in.
        """
        if alone and not (self.output / name / MANIFEST).is_file():
            _refuse_several(name)
        recipe = self.recipe
        identity = {
            "task": self.task.name,
            "data": dict(self.context.dataset.sha256),
            "seed": self.context.seed,
            "base": self.base_identity,
            "retriever": self.context.identity_of("retriever", recipe.retriever),
            "reasoner": self.context.identity_of("reasoner", getattr(settings, "reasoner", recipe.reasoner)),
            "rewards": {
                spec: self.context.identity_of("reward", spec)
                for spec in getattr(settings, "rewards", ())
                if spec != PERSONALIZATION  # known by the hashes of its files
            },
            **{field: getattr(recipe, field) for field in ("k", "max_completion", "held_back", "precision")},
            "settings": settings.model_dump(),
            **inputs,
            "code": code(),
            "versions": package_versions(),
        }
        return make_artefact(self.output / name, name, identity, work)


def _refuse_several(what: str) -> None:
    if world_size() > 1:
        raise RunError(f"{what} is made by one process", "train prlm.reward without a launcher first")


def sample(reasoner: Reasoner, prompt: Prompt, completion: Completion) -> Sample:
    """A completion, parsed unless it is the answer already."""
    if completion.is_answer:
        return Sample(prompt, completion, Answer(completion.text, "whole"))
    try:
        return Sample(prompt, completion, reasoner.parse(prompt, completion))
    except Exception as error:
        raise PrlmBenchError(f"the reasoner cannot read a completion: {type(error).__name__}: {error}") from None
