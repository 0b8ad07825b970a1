"""What all stages of a training share: the base model, the training questions and their split, and prompts."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from prlm_bench import Completion, Example, Prompt, Ranking, Sample
from prlm_bench.errors import PrlmBenchError, RunError
from prlm_bench.host import parse_spec
from prlm_bench.identity import package_versions
from prlm_bench.interfaces import Context, Fingerprinted, Generator, Reasoner
from prlm_bench.progress import Progress
from prlm_bench.prompting import parse_completion

from .._hf import Chat
from .._training import MANIFEST, MODEL, TRAINING_PACKAGES, Artefact, Stopwatch, make_artefact, plugin_code, world_size
from ._recipe import Recipe

#: The reward that reads the reward model of the same training.
PERSONALIZATION = "personalization"
#: How a training puts prompts to the model: what `turns` makes of them, as a run does by default.
CHAT: Chat = "auto"
#: Folders of the code that decides the outcome of a training, besides `_training`.
SOURCES = ("prlm", "_hf")
#: Prefix of a base model that a registered trainer makes.
_TRAINER = "trainer:"
_BATCH = 256


class TrainingContext:
    """One training: a recipe on the training split of a task.

    Args:
        context: of the run; its dataset is the training split.
        recipe: the settings.
        output: folder of all stages.
        progress: receives progress updates.
    """

    def __init__(self, context: Context, recipe: Recipe, output: Path, progress: Progress) -> None:
        self.context, self.recipe, self.output, self.progress = context, recipe, output, progress
        self.task, self.dataset, self.seed = context.task, context.dataset, context.seed
        #: Of the stage that is being made.
        self.stopwatch = Stopwatch(output)

    @cached_property
    def started(self) -> Artefact | None:
        """The stage that all others begin with; None where the recipe has no `start`."""
        if self.recipe.start is None:
            return None
        from ._start import make_start

        return make_start(self)

    def before_start(self) -> TrainingContext:
        """The same training as its start sees it: the recipe's own base, and all questions."""
        recipe = self.recipe.model_copy(update={"start": None})
        return type(self)(self.context, recipe, self.output, self.progress)

    @cached_property
    def base(self) -> str:
        """The model that trainings begin with, a hub name or folder: the recipe's base, or the start made of it."""
        return self._own_base if self.started is None else str(self.started.folder / MODEL)

    @property
    def _own_base(self) -> str:
        """The recipe's base; trained first where the recipe names a trainer."""
        base = self.recipe.base
        if not base.startswith(_TRAINER):
            return base
        folder = self.output / "base"
        if not folder.is_dir():
            _require_one_process("the base model")
            self.context.build("trainer", base.removeprefix(_TRAINER)).train(folder, self.progress)
        return str(folder)

    @cached_property
    def base_identity(self) -> str:
        """The hash of the base model's files."""
        return _fingerprint(self.base_model(temperature=1.0))

    def base_model(self, temperature: float = 0.0, draw: int = 0) -> Generator:
        """The base model as a generator, whose completions are kept between runs.

        Args:
            temperature: of the sampling; 0 decodes greedily.
            draw: number of the sample, where a prompt is sampled several times.
        """
        return self.model(self.base, temperature, draw)

    def model(self, model: str, temperature: float = 0.0, draw: int = 0) -> Generator:
        """A model as a generator (further arguments as for `base_model`)."""
        made: Generator = self.context.build(
            "generator",
            {
                "name": "prlm-bench/transformers",
                "model": model,
                "max_new_tokens": self.recipe.max_completion,
                "temperature": temperature,
                "draw": draw,
                "batch_tokens": self.recipe.batch_tokens,
                "overflow": "cut-items",
                "chat": CHAT,
            },
        )
        return made

    @cached_property
    def retriever(self) -> Any:
        """Retrieves the items that prompts show."""
        return self.context.build("retriever", self.recipe.retriever)

    def reasoner(self, spec: str) -> Reasoner:
        """Builds prompts and parses completions, in training as in a run."""
        made: Reasoner = self.context.build("reasoner", spec)
        return made

    @cached_property
    def validation_users(self) -> frozenset[str]:
        """Users of the training split who are held back to choose checkpoints by; nothing is trained on them."""
        users = sorted(set(self.dataset.users), key=self._sort_key)
        if len(users) < 2:
            raise RunError(
                f"{self.task.name} train has only one user",
                "give data of more users; some are held back for validation",
            )
        return frozenset(users[: max(1, math.ceil(self.recipe.held_back * len(users)))])

    def questions(self, limit: int | None, *, validation: bool = False) -> list[Example]:
        """Questions with gold answers, in an order that depends on the seed and their ids alone.

        The first ones belong to the start alone where the recipe has one: no other stage is trained on them.

        Args:
            limit: maximum number of questions; None for all.
            validation: the questions of the validation users instead of those to train on.
        """
        users = zip(self.dataset.ids, self.dataset.users, self.dataset.golds, strict=True)
        of_split = [
            name for name, user, gold in users if gold is not None and (user in self.validation_users) == validation
        ]
        if not of_split:
            kind = "validation questions" if validation else "questions"
            raise RunError(f"{self.task.name} train has no {kind} with gold answers")
        ordered = sorted(of_split, key=self._sort_key)
        if self.recipe.start is not None and not validation:
            ordered = self._after_start(ordered, self.recipe.start.questions)
        order = {name: place for place, name in enumerate(ordered[:limit])}
        found = [e for batch in self.dataset.batches(_BATCH) for e in batch if e.id in order]
        return sorted(found, key=lambda example: order[example.id])

    def _after_start(self, ordered: list[str], taken: int) -> list[str]:
        if len(ordered) <= taken:
            raise RunError(
                f"the start takes {taken} of the {len(ordered)} training questions of {self.task.name}: none is left",
                "reduce start.questions, or give more data",
            )
        return ordered[taken:]

    def _sort_key(self, name: str) -> str:
        return hashlib.sha256(f"{self.seed}\n{name}".encode()).hexdigest()

    def rank(self, examples: Sequence[Example]) -> list[Ranking]:
        """The recipe's k items for each example."""
        k = self.recipe.k
        found: list[Ranking] = []
        self.progress.start(f"retrieving with {self.recipe.retriever}, questions", len(examples))
        for start in range(0, len(examples), _BATCH):
            batch = examples[start : start + _BATCH]
            found += [Ranking(r.items[:k], r.scores[:k]) for r in self.retriever.rank(batch, k)]
            self.progress.advance(len(batch))
        return found

    def prompts(
        self, reasoner: Reasoner, examples: Sequence[Example], rankings: Sequence[Ranking] | None = None
    ) -> list[Prompt]:
        """The prompts that a run would give to the base model; without items if there are no rankings."""
        shown = rankings if rankings is not None else [Ranking()] * len(examples)
        return list(reasoner.prompts(examples, shown, self.base_model()))

    def fits(self, prompt: Prompt) -> bool:
        """False if the question alone leaves no room in the context window for a completion."""
        return self._max_prompt_tokens is None or prompt.tokens <= self._max_prompt_tokens

    @cached_property
    def _max_prompt_tokens(self) -> int | None:
        found: int | None = getattr(self.base_model(), "max_prompt_tokens", None)
        return found

    def training_prompts(
        self, reasoner: Reasoner, limit: int | None, *, validation: bool = False
    ) -> tuple[list[Prompt], int]:
        """Prompts with items for the questions of a split, and how many were left out because they are too long.

        Raises:
            RunError: all are too long.
        """
        examples = self.questions(limit, validation=validation)
        prompts = self.prompts(reasoner, examples, self.rank(examples))
        fitting = [prompt for prompt in prompts if self.fits(prompt)]
        if not fitting:
            raise RunError(
                f"none of {len(prompts)} questions fits the base model's context window beside a completion",
                "reduce max_completion, or take a base model with a larger window",
            )
        return fitting, len(prompts) - len(fitting)

    def answers(self, label: str, reasoner: Reasoner, prompts: Sequence[Prompt], generator: Generator) -> list[Sample]:
        """A generator's completions of prompts, parsed."""
        completions: list[Completion | None] = [None] * len(prompts)
        self.progress.start(f"{label}, prompts", len(prompts))
        for place, completion in generator.generate(prompts):
            completions[place] = completion
            self.progress.advance()
        return [
            parsed_sample(reasoner, prompt, done) for prompt, done in zip(prompts, completions, strict=True) if done
        ]

    def stage(
        self,
        name: str,
        settings: Any,
        work: Callable[[Path], Mapping[str, Any]],
        *,
        folder: str | None = None,
        one_process: bool = False,
        builds_on: Sequence[Artefact] = (),
        **inputs: Any,
    ) -> Artefact:
        """The artefact of a stage in its folder below the output (see `make_artefact`).

        The manifest names the folders that it builds on, the start among them; `Stopwatch` counts its seconds.

        Args:
            name: of the stage and its folder.
            settings: the stage's section of the recipe.
            work: takes the folder and returns figures for the manifest.
            folder: name of the folder, where it is not that of the stage.
            one_process: whether several processes cannot share the work.
            builds_on: other stages, whose cost is part of what this one costs.
            inputs: identities of further inputs.
        """
        where = self.output / (folder or name)
        if one_process and not (where / MANIFEST).is_file():
            _require_one_process(name)
        recipe, identify = self.recipe, self.context.identity_of
        identity = {
            "task": self.task.name,
            "data": dict(self.dataset.sha256),
            "seed": self.seed,
            "base": self.base_identity,
            **({"start": self.started.manifest["files"]} if self.started is not None else {}),
            "retriever": identify("retriever", recipe.retriever),
            "reasoner": identify("reasoner", getattr(settings, "reasoner", recipe.reasoner)),
            "rewards": {
                spec: identify("reward", spec)
                for spec in getattr(settings, "rewards", ())
                if not is_own_reward(spec)  # identified by the hashes of its files
            },
            **{field: getattr(recipe, field) for field in ("k", "max_completion", "held_back", "precision")},
            "chat": CHAT,
            "settings": settings.model_dump(),
            **inputs,
            "code": plugin_code(*SOURCES),
            "versions": package_versions(*TRAINING_PACKAGES),
        }

        def timed(place: Path) -> Mapping[str, Any]:
            self.stopwatch = Stopwatch(place)
            figures = work(place)
            self.stopwatch.write()
            before = [self.started, *builds_on] if self.started is not None else builds_on
            return {**figures, "builds_on": [each.folder.name for each in before]}

        return make_artefact(where, name, identity, timed)


def is_own_reward(spec: str) -> bool:
    """Whether a spec is `personalization` without a folder: the reward model of the same training."""
    parsed = parse_spec(spec)
    return parsed.name == PERSONALIZATION and not {"model", ""} & parsed.options.keys()  # "" is a value without a key


def _fingerprint(generator: Generator) -> str:
    return generator.fingerprint() if isinstance(generator, Fingerprinted) else ""


def _require_one_process(what: str) -> None:
    if world_size() > 1:
        message = f"{what} cannot be made by several processes"
        raise RunError(message, "run `prlm-bench train prlm.reward` without a launcher first")


def parsed_sample(reasoner: Reasoner, prompt: Prompt, completion: Completion) -> Sample:
    """A completion with the answer that the reasoner finds in it.

    Raises:
        PrlmBenchError: the reasoner raises an exception.
    """
    try:
        return Sample(prompt, completion, parse_completion(reasoner, prompt, completion))
    except Exception as error:
        raise PrlmBenchError(f"the reasoner cannot parse a completion: {type(error).__name__}: {error}") from None
