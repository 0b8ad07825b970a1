"""The trainers `tiny` and `tiny-reasoner`: each trains a small chat model from scratch on mini-LaMP of its own seed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prlm_bench.cli.plugin_api import pretty
from prlm_bench.data.synth import SynthConfig
from prlm_bench.errors import PrlmBenchError
from prlm_bench.identity import package_versions
from prlm_bench.interfaces import Context
from prlm_bench.tasks import Task, TaskRegistry

from .._training import (
    MANIFEST,
    file_hashes,
    parse_change,
    trainer_fingerprint,
    whole_folder,
    with_changes,
)
from ._curriculum import Curriculum, staged_examples
from ._evaluation import evaluate, evaluate_reasoner
from ._model import load_saved, make_model, save_model, train_model
from ._recipe import TinyReasonerRecipe, TinyRecipe
from ._tokenizer import learn_tokenizer
from ._training_examples import TaskData, TrainingExample, frames, make_task_data, training_examples
from ._trait_statements import TraitStatements

if TYPE_CHECKING:
    from prlm_bench.progress import Progress

_TINY, _REASONER = TinyRecipe(), TinyReasonerRecipe()
_PACKAGES = ("prlm-bench", "torch", "transformers", "tokenizers")
_HINT = "see docs/models.md"
#: Numbers of mini-LaMP's tasks whose traits are texts.
_TASKS = (4, 5, 6, 7)
#: Added to the run's seed: runs use data of seed 0, and others that users give are small.
_SEED_OFFSET = 1000
#: Dimensions of an attention head.
_HEAD = 32


class TinyTrainer:
    """Makes the tiny model: mini-LaMP of a seed of its own, a tokenizer, and a chat model that reads items.

    Args:
        seed: of data, weights and training examples; runs use data of seed 0, so 0 would train on what is evaluated.
        users: users of each task's training split.
        steps: optimizer steps.
        changes: of other fields of the recipe, such as hidden=64.
    """

    def __init__(
        self,
        seed: int = _TINY.seed,
        users: int = _TINY.users,
        steps: int = _TINY.steps,
        changes: list[str] | None = None,
    ) -> None:
        recipe = TinyRecipe(seed=seed, users=users, steps=steps)
        self.recipe = with_changes(recipe, "tiny", map(parse_change, changes or ()), hint=_HINT)
        if self.recipe.seed == 0:
            raise ValueError("seed=0 makes the data that runs are evaluated on; take another")
        if self.recipe.users < 1 or self.recipe.steps < 1:
            raise ValueError("users and steps are at least 1")

    def fingerprint(self) -> str:
        """The code of this plugin and the libraries."""
        return trainer_fingerprint("tiny", packages=_PACKAGES)

    def train(self, output: Path, progress: Progress) -> Mapping[str, Any]:
        """Make the model in `output`; an interrupted training leaves nothing.

        Raises:
            PrlmBenchError: `output` already exists, or cannot be written.
        """
        tasks = [TaskRegistry().get(f"mini_lamp_{number}") for number in range(1, 8)]
        recipe = self.recipe
        with whole_folder(output) as folder:
            train, held_out, data = make_task_data(tasks, _data_config(recipe), progress)
            sample = islice(training_examples(train, recipe.seed), recipe.tokenizer_lessons)
            examples = training_examples(train, recipe.seed)
            made = _make_model(folder, recipe, sample, frames(tasks), examples, progress)
            facts = {"recipe": recipe.model_dump(), "data": data, **made}
            return _write_manifest(folder, {**facts, "held_out": self.evaluate(folder, held_out, progress)})

    def evaluate(self, folder: Path, held_out: Sequence[TaskData], progress: Progress) -> dict[str, dict[str, float]]:
        """Figures on the held-out users, by task."""
        model, tokenizer = load_saved(folder)
        progress.start("evaluating on held-out users, tasks", len(held_out))
        figures = {}
        for data in held_out:
            name, metric = data.task.name, data.task.metrics[0]
            figures[name] = evaluate(model, tokenizer, data)
            progress.note(f"{name} {metric}: {figures[name]}")
            progress.advance()
        return figures


class TinyReasoner:
    """Makes the model that reinforcement learning starts from: it can read, write and reason, if unevenly.

    Args:
        context: has the task, one of mini-LaMP's 4 to 7, and the seed; the model's own data have another seed.
        tasks: numbers of such tasks, as in `4+7`, whose examples alternate; each needs steps of its own. By default
            the context's task.
        users: users of the training split.
        steps: optimizer steps.
        hidden: width of the model; its heads have 32 dimensions each, its feed-forward layers three times the width.
        layers: number of layers.
        changes: of other fields of the recipe, such as batch=32.
    """

    def __init__(
        self,
        context: Context,
        tasks: str | None = None,
        users: int = _REASONER.users,
        steps: int = _REASONER.steps,
        hidden: int = _REASONER.hidden,
        layers: int = _REASONER.layers,
        changes: list[str] | None = None,
    ) -> None:
        if users < 1 or steps < 1 or layers < 1:
            raise ValueError("users, steps and layers are at least 1")
        if hidden < _HEAD or hidden % _HEAD:
            raise ValueError(f"hidden={hidden} is not a multiple of {_HEAD}")
        self._context = context
        self._tasks = [context.task] if tasks is None else _numbered(tasks)
        for task in self._tasks:
            if task.synthetic not in _TASKS:
                known = ", ".join(f"mini_lamp_{number}" for number in _TASKS)
                raise PrlmBenchError(f"tiny-reasoner cannot be trained on {task.name}", f"--task, one of {known}")
        recipe = TinyReasonerRecipe(
            seed=_SEED_OFFSET + context.seed,
            users=users,
            steps=steps,
            hidden=hidden,
            layers=layers,
            heads=hidden // _HEAD,
            feed_forward=3 * hidden,
        )
        self.recipe = with_changes(recipe, "tiny-reasoner", map(parse_change, changes or ()), hint=_HINT)

    def fingerprint(self) -> str:
        """The code of this plugin and the libraries."""
        return trainer_fingerprint("tiny", packages=_PACKAGES)

    def train(self, output: Path, progress: Progress) -> Mapping[str, Any]:
        """Make the model in `output`; an interrupted training leaves nothing.

        Raises:
            PrlmBenchError: `output` already exists, or cannot be written.
        """
        recipe = self.recipe
        with whole_folder(output) as folder:
            train, held_out, data = make_task_data(self._tasks, _data_config(recipe), progress)
            contexts = [self._context_of(task) for task in self._tasks]
            curricula = list(map(self._curriculum, train, contexts))
            sample = chain.from_iterable(
                islice(curriculum.examples(recipe.mix), recipe.tokenizer_lessons) for curriculum in curricula
            )
            fixed = chain(frames(self._tasks), *(curriculum.frames() for curriculum in curricula))
            made = _make_model(folder, recipe, sample, fixed, staged_examples(curricula), progress)
            facts = {"tasks": [task.name for task in self._tasks], "recipe": recipe.model_dump(), "data": data, **made}
            model, tokenizer = load_saved(folder)
            figures = {
                data.task.name: evaluate_reasoner(model, tokenizer, self._curriculum(data, context), progress)
                for data, context in zip(held_out, contexts, strict=True)
            }
            return _write_manifest(folder, {**facts, "held_out": figures})

    def _context_of(self, task: Task) -> Context:
        from prlm_bench.data import open_split  # brings pyarrow, which a list of trainers does not need

        return self._context if task == self._context.task else self._context.for_dataset(open_split(task, "train"))

    def _curriculum(self, data: TaskData, context: Context) -> Curriculum:
        return Curriculum(data, TraitStatements(data.task.synthetic or 0, data.truth), context, self.recipe)


def _data_config(recipe: TinyRecipe) -> SynthConfig:
    return SynthConfig(recipe.seed, train_users=recipe.users, dev_users=recipe.held_out_users, test_users=1)


def _make_model(
    folder: Path,
    recipe: TinyRecipe,
    sample: Iterator[TrainingExample],
    fixed: Iterator[str],
    examples: Iterator[TrainingExample],
    progress: Progress,
) -> dict[str, Any]:
    """Learn the tokenizer, train the model and save both in the folder.

    Args:
        folder: of the model.
        recipe: its hyperparameters.
        sample: examples that the tokenizer is learnt from.
        fixed: strings that become single tokens.
        examples: to train on.
        progress: receives progress updates.

    Returns:
        Facts for the manifest.
    """
    progress.note("learning the tokenizer")
    tokenizer = learn_tokenizer([text for each in sample for text in (each.prompt, each.answer)], fixed)
    model = make_model(recipe, tokenizer)
    loss = train_model(model, tokenizer, examples, recipe, progress)
    save_model(model, tokenizer, folder)
    return {"parameters": model.num_parameters(), "vocabulary": len(tokenizer), "loss": round(loss, 4)}


def _write_manifest(folder: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write the facts, the libraries, and the hash of each file; returns all of it."""
    import torch

    environment = {"threads": torch.get_num_threads(), "versions": package_versions(*_PACKAGES)}
    manifest = {**facts, **environment, "files": file_hashes(folder)}
    (folder / MANIFEST).write_bytes(pretty(manifest))
    return manifest


def _numbered(tasks: str) -> list[Task]:
    if not re.fullmatch(r"[1-7](\+[1-7])*", tasks):
        raise ValueError(f"tasks={tasks!r} is not a list of mini-LaMP's task numbers, such as 4+7")
    return [TaskRegistry().get(f"mini_lamp_{number}") for number in dict.fromkeys(tasks.split("+"))]
