"""The `tiny` trainer: from nothing to a small chat model that personalizes."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import orjson

from prlm_bench.data.synth import VERSION, SynthConfig, write_mini_lamp
from prlm_bench.errors import PrlmBenchError
from prlm_bench.quiet import quiet_transformers
from prlm_bench.tasks import TaskBook

from .judging import judge
from .lessons import Book, frames, lessons
from .recipe import Recipe
from .training import make_model, train_model
from .vocabulary import learn_tokenizer

if TYPE_CHECKING:
    from prlm_bench.running.progress import Progress

MANIFEST = "manifest.json"


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
        code = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
        versions = (f"{name}={number}" for name, number in _versions().items())
        return " ".join([f"code={hashlib.sha256(code).hexdigest()[:16]}", *versions])

    def train(self, output: Path, progress: Progress) -> Mapping[str, Any]:
        """Make the model in `output`, which appears when it is whole; an unfinished training leaves nothing.

        Raises:
            PrlmBenchError: `output` is there already, or cannot be written.
        """
        import torch

        recipe = self._recipe
        with _whole(output) as folder:
            books, held_out, data = _books(recipe, progress)
            tokenizer = _tokenizer(books, recipe, progress)
            model = make_model(recipe, tokenizer)
            loss = train_model(model, tokenizer, books, recipe, progress)
            _save(model.to(torch.bfloat16), tokenizer, folder)
            # What is judged is what a user will load: files that read otherwise than they were made show here.
            kept, reader = _reload(folder)
            figures = _figures(kept, reader, held_out, progress)
            manifest = {
                "recipe": asdict(recipe),
                "data": data,
                "parameters": model.num_parameters(),
                "vocabulary": len(tokenizer),
                "loss": round(loss, 4),
                "held_out": figures,
                "threads": torch.get_num_threads(),
                "versions": _versions(),
                "files": {path.name: _sha256(path) for path in sorted(folder.iterdir())},
            }
            (folder / MANIFEST).write_bytes(orjson.dumps(manifest, option=orjson.OPT_INDENT_2) + b"\n")
        return manifest


@contextmanager
def _whole(output: Path) -> Iterator[Path]:
    """A folder that takes the name `output` only when the block ends well."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise PrlmBenchError(f"{output} is there already", "give another folder, or remove it")
    scratch = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    try:
        scratch.mkdir(parents=True)
        yield scratch
        scratch.rename(output)
    except OSError as error:
        raise PrlmBenchError(f"{error.filename or output}: cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _books(recipe: Recipe, progress: Progress) -> tuple[list[Book], list[Book], dict[str, Any]]:
    """Training and held-out questions of all seven tasks, and what they are known by."""
    from prlm_bench.data import open_dataset  # brings pyarrow, which a list of trainers does without

    config = SynthConfig(recipe.seed, train_users=recipe.users, dev_users=recipe.held_out_users, test_users=1)
    tasks = [TaskBook().get(f"mini_lamp_{number}") for number in range(1, 8)]
    splits: dict[str, list[Book]] = {"train": [], "dev": []}
    sha256: dict[str, str] = {}
    progress.start("making mini-LaMP, tasks", len(tasks))
    with TemporaryDirectory() as scratch:
        for task in tasks:
            (folder,) = write_mini_lamp(Path(scratch), [task.synthetic or 0], config)
            for split, books in splits.items():
                dataset = open_dataset(task, folder, split, cache=Path(scratch) / "cache")
                books.append(Book(task, [example for batch in dataset.batches(512) for example in batch]))
                sha256 |= {f"{task.folder}/{name}": value for name, value in dataset.sha256.items()}
            progress.advance()
    data = {"mini_lamp": VERSION, "config": asdict(config), "sha256": sha256}
    return splits["train"], splits["dev"], data


def _tokenizer(books: list[Book], recipe: Recipe, progress: Progress) -> Any:
    progress.note("learning the tokenizer")
    sample = list(islice(lessons(books, recipe.seed), recipe.tokenizer_lessons))
    texts = [text for each in sample for text in (each.prompt, each.answer)]
    return learn_tokenizer(texts, frames([book.task for book in books]))


def _save(model: Any, tokenizer: Any, folder: Path) -> None:
    from safetensors.torch import save_file

    tied = "lm_head.weight"  # the same numbers as the embedding
    weights = {name: value.contiguous() for name, value in model.state_dict().items() if name != tied}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)  # it comes readable for its owner alone
    model.config.architectures = [type(model).__name__]
    model.config.dtype = model.dtype
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _reload(folder: Path) -> tuple[Any, Any]:
    """Model, in single precision, and tokenizer, as anyone loads them."""
    import transformers

    auto: Any = transformers
    with quiet_transformers():
        model = auto.AutoModelForCausalLM.from_pretrained(folder, dtype="float32", local_files_only=True)
        return model.eval(), auto.AutoTokenizer.from_pretrained(folder, local_files_only=True)


def _figures(model: Any, tokenizer: Any, held_out: list[Book], progress: Progress) -> dict[str, dict[str, float]]:
    progress.start("judging held-out users, tasks", len(held_out))
    figures = {}
    for book in held_out:
        figures[book.task.name] = judge(model, tokenizer, book)
        progress.note(f"{book.task.name} {book.task.metrics[0]}: {figures[book.task.name]}")
        progress.advance()
    return figures


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("prlm-bench", "torch", "transformers", "tokenizers")}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
