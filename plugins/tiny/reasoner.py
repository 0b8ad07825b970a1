"""The `tiny-reasoner` trainer: from nothing to a small chat model that reasons unevenly, for others to train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prlm_bench.data.synth import SynthConfig
from prlm_bench.errors import PrlmBenchError
from prlm_bench.interfaces import Context

from .artefact import code_fingerprint, finish, reload, save, whole
from .books import make_books
from .claims import Claims
from .lessons import frames
from .reasoner_judging import judge
from .reasoner_recipe import ReasonerRecipe
from .skills import Skills
from .training import make_model, train_model
from .vocabulary import learn_tokenizer

if TYPE_CHECKING:
    from prlm_bench.running.progress import Progress

_TASKS = (4, 5, 6, 7)
#: Runs use data of seed 0; these seeds lie far from those that anybody gives.
_SEEDS = 1000
#: Dimensions of an attention head.
_HEAD = 32


class TinyReasoner:
    """Makes the model that reinforcement learning starts from: it can read, write and reason, if unevenly.

    Args:
        context: names the task, one of mini-LaMP's 4 to 7, and the seed; the model's own data have another one.
        users: users of the training split.
        steps: optimizer steps.
        hidden: width of the model; its heads have 32 dimensions each, its feed-forward layers three times the width.
        layers: how many.
    """

    def __init__(
        self,
        context: Context,
        users: int = ReasonerRecipe.users,
        steps: int = ReasonerRecipe.steps,
        hidden: int = ReasonerRecipe.hidden,
        layers: int = ReasonerRecipe.layers,
    ) -> None:
        if users < 1 or steps < 1 or layers < 1:
            raise ValueError("users, steps and layers are at least 1")
        if hidden < _HEAD or hidden % _HEAD:
            raise ValueError(f"hidden={hidden} is no multiple of {_HEAD}")
        if context.task.synthetic not in _TASKS:
            known = ", ".join(f"mini_lamp_{number}" for number in _TASKS)
            raise PrlmBenchError(f"tiny-reasoner has no lessons for {context.task.name}", f"--task, one of {known}")
        self._context = context
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
        recipe, task = self._recipe, self._context.task
        config = SynthConfig(recipe.seed, train_users=recipe.users, dev_users=recipe.held_out_users, test_users=1)
        with whole(output) as folder:
            (book,), (held_out,), data = make_books([task], config, progress)
            claims = Claims(task.synthetic or 0, book.truth)
            skills = Skills(book, claims, self._context, recipe)
            progress.note("learning the tokenizer")
            tokenizer = _tokenizer(skills, recipe)
            model = make_model(recipe, tokenizer)
            loss = train_model(model, tokenizer, skills.stream(), recipe, progress)
            save(model, tokenizer, folder)
            facts = {
                "task": task.name,
                "recipe": asdict(recipe),
                "data": data,
                "parameters": model.num_parameters(),
                "vocabulary": len(tokenizer),
                "loss": round(loss, 4),
                "held_out": judge(*reload(folder), Skills(held_out, claims, self._context, recipe), progress),
            }
            return finish(folder, facts)


def _tokenizer(skills: Skills, recipe: ReasonerRecipe) -> Any:
    sample = list(islice(skills.lessons(recipe.mix), recipe.tokenizer_lessons))
    texts = [text for each in sample for text in (each.prompt, each.answer)]
    return learn_tokenizer(texts, [*frames([skills.book.task]), *skills.frames()])
