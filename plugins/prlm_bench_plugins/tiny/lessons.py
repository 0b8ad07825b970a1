"""What the tiny model learns from: questions of mini-LaMP with some of the user's items, as `direct` shows them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from string import Formatter

from prlm_bench import Document, Example, Ranking
from prlm_bench.prompting import WordTokenizer, by_score, chat_prompt
from prlm_bench.tasks import Task

from .books import Book

#: How the items of a lesson are chosen, and how often.
CHOICES = {"none": 0.08, "words": 0.32, "relevant": 0.32, "random": 0.14, "recent": 0.14}
#: The same for how many items are shown.
COUNTS = {4: 0.64, 3: 0.12, 2: 0.12, 1: 0.12}
#: No prompt of mini-LaMP is cut.
_ROOM = 1 << 20
_WORDS = WordTokenizer()


@dataclass(frozen=True, slots=True)
class Lesson:
    """A prompt with its answer."""

    prompt: str
    answer: str
    #: Parts of the prompt, from character to character, that show how the user writes: worth learning too.
    written: tuple[tuple[int, int], ...]
    #: Whether the answer is a label or a number.
    is_label: bool


def lesson(task: Task, example: Example, items: Sequence[Document]) -> Lesson:
    """A question with the given items, in their order."""
    chat = task.prompts.chat
    prompt = chat_prompt(chat, example, Ranking(tuple(items), (0.0,) * len(items)), _WORDS, _ROOM).text
    spans = written(prompt, items, task.answer_field or chat.long)
    return Lesson(prompt, repr({chat.key: example.gold}), spans, task.output != "text")


def lessons(books: Sequence[Book], seed: int) -> Iterator[Lesson]:
    """Lessons without end: tasks in equal shares, questions and items as they fall."""
    rng = random.Random(f"lessons {seed}")
    while True:
        book = rng.choice(books)
        example = rng.choice(book.examples)
        choice = rng.choices(list(CHOICES), list(CHOICES.values()))[0]
        count = rng.choices(list(COUNTS), list(COUNTS.values()))[0]
        yield lesson(book.task, example, choose(example, choice, count, rng))


def choose(example: Example, choice: str, count: int, rng: random.Random) -> Sequence[Document]:
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
    """What each item shares with the query; a word counts more the fewer items have it."""
    query = set(example.query.lower().split())
    shared = [query.intersection(item.text.lower().split()) for item in example.profile]
    rarity = {word: 1 / sum(word in words for words in shared) for word in set().union(*shared)}
    return [sum(rarity[word] for word in sorted(words)) for words in shared]


def written(prompt: str, items: Sequence[Document], field: str) -> tuple[tuple[int, int], ...]:
    """Where a prompt shows what its user wrote: the values of `field` in the items."""
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
