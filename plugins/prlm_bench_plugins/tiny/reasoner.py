"""The `tiny-reasoner` trainer: from nothing to a small chat model that reasons unevenly, for others to train."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prlm_bench.data.synth import SynthConfig
from prlm_bench.errors import PrlmBenchError
from prlm_bench.interfaces import Context
from prlm_bench.tasks import Task, TaskRegistry

from .artefact import code_fingerprint, finish, reload, save, whole
from .books import Book, make_books
from .claims import Claims
from .lessons import frames
from .reasoner_judging import judge
from .reasoner_recipe import ReasonerRecipe
from .skills import Skills, course
from .training import make_model, train_model
from .vocabulary import learn_tokenizer

if TYPE_CHECKING:
    from prlm_bench.progress import Progress

_TASKS = (4, 5, 6, 7)
#: Runs use data of seed 0; these seeds lie far from those that anybody gives.
_SEEDS = 1000
#: Dimensions of an attention head.
_HEAD = 32


class TinyReasoner:
    """Makes the model that reinforcement learning starts from: it can read, write and reason, if unevenly.

    Args:
        context: names the task, one of mini-LaMP's 4 to 7, and the seed; the model's own data have another one.
        tasks: numbers of such tasks, as in `4+7`, whose lessons come in turn; each needs steps of its own. By default
            the context's task.
        users: users of the training split.
        steps: optimizer steps.
        hidden: width of the model; its heads have 32 dimensions each, its feed-forward layers three times the width.
        layers: how many.
    """

    def __init__(
        self,
        context: Context,
        tasks: str | None = None,
        users: int = ReasonerRecipe.users,
        steps: int = ReasonerRecipe.steps,
        hidden: int = ReasonerRecipe.hidden,
        layers: int = ReasonerRecipe.layers,
    ) -> None:
        if users < 1 or steps < 1 or layers < 1:
            raise ValueError("users, steps and layers are at least 1")
        if hidden < _HEAD or hidden % _HEAD:
            raise ValueError(f"hidden={hidden} is no multiple of {_HEAD}")
        self._context = context
        self._tasks = [context.task] if tasks is None else _numbered(tasks)
        for task in self._tasks:
            if task.synthetic not in _TASKS:
                known = ", ".join(f"mini_lamp_{number}" for number in _TASKS)
                raise PrlmBenchError(f"tiny-reasoner has no lessons for {task.name}", f"--task, one of {known}")
        self._recipe = ReasonerRecipe(
            seed=_SEEDS + context.seed,
            users=users,
            steps=steps,
            hidden=hidden,
            layers=layers,
            heads=hidden // _HEAD,
            feed_forward=3 * hidden,
        )

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
        with whole(output) as folder:
            books, held_out, data = make_books(self._tasks, config, progress)
            contexts = [self._over(task) for task in self._tasks]
            skills, unseen = (list(map(self._skills, part, contexts)) for part in (books, held_out))
            progress.note("learning the tokenizer")
            tokenizer = _tokenizer(skills, recipe)
            model = make_model(recipe, tokenizer)
            loss = train_model(model, tokenizer, course(skills), recipe, progress)
            save(model, tokenizer, folder)
            facts = {
                "tasks": [task.name for task in self._tasks],
                "recipe": asdict(recipe),
                "data": data,
                "parameters": model.num_parameters(),
                "vocabulary": len(tokenizer),
                "loss": round(loss, 4),
                "held_out": _judged(folder, unseen, progress),
            }
            return finish(folder, facts)

    def _over(self, task: Task) -> Context:
        from prlm_bench.data import open_split  # brings pyarrow, which a list of trainers does without

        return self._context if task == self._context.task else self._context.over(open_split(task, "train"))

    def _skills(self, book: Book, context: Context) -> Skills:
        return Skills(book, Claims(book.task.synthetic or 0, book.truth), context, self._recipe)


def _judged(folder: Path, held_out: Sequence[Skills], progress: Progress) -> dict[str, Any]:
    model, tokenizer = reload(folder)
    return {skills.book.task.name: judge(model, tokenizer, skills, progress) for skills in held_out}


def _numbered(tasks: str) -> list[Task]:
    if not re.fullmatch(r"[1-7](\+[1-7])*", tasks):
        raise ValueError(f"tasks={tasks!r} is not numbers of mini-LaMP's tasks, such as 4+7")
    return [TaskRegistry().get(f"mini_lamp_{number}") for number in dict.fromkeys(tasks.split("+"))]


def _tokenizer(tasks: Sequence[Skills], recipe: ReasonerRecipe) -> Any:
    sample = [lesson for skills in tasks for lesson in islice(skills.lessons(recipe.mix), recipe.tokenizer_lessons)]
    texts = [text for each in sample for text in (each.prompt, each.answer)]
    fixed = chain.from_iterable(skills.frames() for skills in tasks)
    return learn_tokenizer(texts, [*frames([skills.book.task for skills in tasks]), *fixed])
