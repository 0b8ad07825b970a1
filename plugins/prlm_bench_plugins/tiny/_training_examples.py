"""Questions of mini-LaMP as training examples: prompts of the reasoner `direct` with some of the user's items.

Seeds of random generators contain names from earlier versions of this module: the shipped model depends on them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from string import Formatter
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from prlm_bench import Document, Example, Ranking
from prlm_bench.data.synth import VERSION, Preferences, SynthConfig, truth, write_mini_lamp
from prlm_bench.prompting import WordTokenizer, by_score, chat_prompt
from prlm_bench.tasks import Task

if TYPE_CHECKING:
    from prlm_bench.progress import Progress

#: Ways to choose the items of an example, by weight.
CHOICES = {"none": 0.08, "words": 0.32, "relevant": 0.32, "random": 0.14, "recent": 0.14}
#: Numbers of items, by weight.
COUNTS = {4: 0.64, 3: 0.12, 2: 0.12, 1: 0.12}
#: Token budget of prompts, which no prompt of mini-LaMP reaches.
BUDGET = 1 << 20
#: Counts the tokens of prompts.
WORDS = WordTokenizer()


@dataclass(frozen=True, slots=True)
class TaskData:
    """The questions of one task."""

    task: Task
    examples: Sequence[Example]
    #: The preferences that mini-LaMP planted, by user.
    truth: Mapping[str, Preferences] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrainingExample:
    """A prompt with its answer."""

    prompt: str
    answer: str
    #: Spans of the prompt, in characters, that the user wrote; they are learnt too.
    written: tuple[tuple[int, int], ...]
    #: Whether the answer is a label or a number.
    is_label: bool


def make_task_data(
    tasks: Sequence[Task], config: SynthConfig, progress: Progress
) -> tuple[list[TaskData], list[TaskData], dict[str, Any]]:
    """Training and held-out questions of tasks of mini-LaMP, and the identity of the data.

    Args:
        tasks: tasks with a number of mini-LaMP.
        config: seed, users of the splits `train` and `dev`, and the rest.
        progress: receives progress updates.
    """
    from prlm_bench.data import open_dataset  # brings pyarrow, which a list of trainers does not need

    splits: dict[str, list[TaskData]] = {"train": [], "dev": []}
    sha256: dict[str, str] = {}
    progress.start("making mini-LaMP, tasks", len(tasks))
    with TemporaryDirectory() as scratch:
        for task in tasks:
            (folder,) = write_mini_lamp(Path(scratch), [task.synthetic or 0], config)
            planted = truth(folder)
            for split, found in splits.items():
                dataset = open_dataset(task, folder, split, cache=Path(scratch) / "cache")
                found.append(TaskData(task, [example for batch in dataset.batches(512) for example in batch], planted))
                sha256 |= {f"{task.folder}/{name}": value for name, value in dataset.sha256.items()}
            progress.advance()
    data = {"mini_lamp": VERSION, "config": asdict(config), "sha256": sha256}
    return splits["train"], splits["dev"], data


def training_example(task: Task, example: Example, items: Sequence[Document]) -> TrainingExample:
    """A question with the given items in their order, and its gold answer."""
    chat = task.prompts.chat
    prompt = chat_prompt(chat, example, Ranking(tuple(items), (0.0,) * len(items)), WORDS, BUDGET).text
    spans = written_spans(prompt, items, task.answer_field or chat.long)
    return TrainingExample(prompt, repr({chat.key: example.gold}), spans, task.output != "text")


def training_examples(data: Sequence[TaskData], seed: int) -> Iterator[TrainingExample]:
    """Endless training examples: tasks in equal shares, random questions, items by `CHOICES` and `COUNTS`."""
    rng = random.Random(f"lessons {seed}")
    while True:
        of_task = rng.choice(data)
        example = rng.choice(of_task.examples)
        choice = rng.choices(list(CHOICES), list(CHOICES.values()))[0]
        count = rng.choices(list(COUNTS), list(COUNTS.values()))[0]
        yield training_example(of_task.task, example, choose_items(example, choice, count, rng))


def choose_items(example: Example, choice: str, count: int, rng: random.Random) -> Sequence[Document]:
    """Some items of a profile, best first (see `CHOICES`)."""
    profile = example.profile
    match choice:
        case "none":
            return ()
        case "random":
            return rng.sample(profile, min(count, len(profile)))
        case "recent":
            return profile[::-1][:count]
        case "relevant":
            scores = [float(item.id in (example.relevant or ())) for item in profile]
        case _:
            scores = _shared_words(example)
    return by_score(profile, scores, count).items


def frames(tasks: Sequence[Task]) -> Iterator[str]:
    """The fixed strings of all prompts and answers."""
    for task in tasks:
        chat = task.prompts.chat
        yield from (text for text, *_ in Formatter().parse(chat.item) if len(text) > 1)
        yield from (chat.heading, chat.ask, f"{{'{chat.key}': '", "'}")


def _shared_words(example: Example) -> list[float]:
    """Overlap of each item with the query; a word counts more the fewer items have it."""
    query = set(example.query.lower().split())
    shared = [query.intersection(item.text.lower().split()) for item in example.profile]
    rarity = {word: 1 / sum(word in words for words in shared) for word in set().union(*shared)}
    return [sum(rarity[word] for word in sorted(words)) for words in shared]


def written_spans(prompt: str, items: Sequence[Document], field: str) -> tuple[tuple[int, int], ...]:
    """Spans of a prompt that its user wrote: the values of `field` in the items."""
    spans = []
    place = 0
    for item, line in zip(items, prompt.split("\n")[1:], strict=False):
        start = prompt.index(line, place)
        place = start + len(line)
        value = " ".join(item.fields[field].split())
        begin = start + line.rindex(value)
        # With the quote that closes it: where a text ends is part of how it is written.
        spans.append((begin, begin + len(value) + 1))
    return tuple(spans)
