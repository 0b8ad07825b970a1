"""The `tiny` trainer: from nothing to a small chat model that personalizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prlm_bench.data.synth import SynthConfig
from prlm_bench.tasks import TaskRegistry

from .artefact import code_fingerprint, finish, reload, save, whole
from .books import Book, make_books
from .judging import judge
from .lessons import frames, lessons
from .recipe import Recipe
from .training import make_model, train_model
from .vocabulary import learn_tokenizer

if TYPE_CHECKING:
    from prlm_bench.progress import Progress


class TinyTrainer:
    """Makes the tiny model: mini-LaMP of a seed of its own, a tokenizer, and a chat model that reads items.

    Args:
        seed: of data, weights and lessons; runs use data of seed 0, so 0 would train on what is judged.
        users: users of each task's training split.
        steps: optimizer steps.
    """

    def __init__(self, seed: int = 1, users: int = Recipe.users, steps: int = Recipe.steps) -> None:
        if seed == 0:
            raise ValueError("seed=0 makes the data that runs are judged on; take another")
        if users < 1 or steps < 1:
            raise ValueError("users and steps are at least 1")
        self._recipe = Recipe(seed=seed, users=users, steps=steps)

    def fingerprint(self) -> str:
        """The code of this plugin and the libraries."""
        return code_fingerprint()

    def train(self, output: Path, progress: Progress) -> Mapping[str, Any]:
        """Make the model in `output`, which appears when it is whole; an unfinished training leaves nothing.

        Raises:
            PrlmBenchError: `output` is there already, or cannot be written.
        """
        recipe = self._recipe
        config = SynthConfig(recipe.seed, train_users=recipe.users, dev_users=recipe.held_out_users, test_users=1)
        tasks = [TaskRegistry().get(f"mini_lamp_{number}") for number in range(1, 8)]
        with whole(output) as folder:
            books, held_out, data = make_books(tasks, config, progress)
            tokenizer = _tokenizer(books, recipe, progress)
            model = make_model(recipe, tokenizer)
            loss = train_model(model, tokenizer, lessons(books, recipe.seed), recipe, progress)
            save(model, tokenizer, folder)
            facts = {
                "recipe": asdict(recipe),
                "data": data,
                "parameters": model.num_parameters(),
                "vocabulary": len(tokenizer),
                "loss": round(loss, 4),
                "held_out": _figures(*reload(folder), held_out, progress),
            }
            return finish(folder, facts)


def _tokenizer(books: list[Book], recipe: Recipe, progress: Progress) -> Any:
    progress.note("learning the tokenizer")
    sample = list(islice(lessons(books, recipe.seed), recipe.tokenizer_lessons))
    texts = [text for each in sample for text in (each.prompt, each.answer)]
    return learn_tokenizer(texts, frames([book.task for book in books]))


def _figures(model: Any, tokenizer: Any, held_out: list[Book], progress: Progress) -> dict[str, dict[str, float]]:
    progress.start("judging held-out users, tasks", len(held_out))
    figures = {}
    for book in held_out:
        figures[book.task.name] = judge(model, tokenizer, book)
        progress.note(f"{book.task.name} {book.task.metrics[0]}: {figures[book.task.name]}")
        progress.advance()
    return figures
