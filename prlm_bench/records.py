"""What passes between the rooms of the harness: frozen records without behaviour.

Flow: `Example` -> `Ranking` -> `Prompt` -> `Completion` -> `Answer`, gathered in a `Sample`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = [
    "Answer",
    "Completion",
    "Document",
    "Example",
    "Prompt",
    "Ranking",
    "Sample",
]


@dataclass(frozen=True, slots=True)
class Document:
    """One item of a user's profile."""

    #: The item's id as the data has it. Ids are opaque and need not be unique outside one profile.
    id: str
    #: What retrieval reads: the item rendered by the task's corpus template.
    text: str
    #: The item's own fields by name, such as `title` and `text`.
    fields: Mapping[str, str]
    #: The item's date as written in the data (`YYYY-MM-DD...`), where there is one.
    date: str | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """One question, with the profile of the user who asks it."""

    id: str
    #: The unit of inference. In the user split every question is its own user.
    user: str
    #: The question as the benchmark words it.
    input: str
    #: What retrieval searches for: the part of the input that the task names.
    query: str
    #: The profile in the order of the data.
    profile: tuple[Document, ...]
    #: The reference answer; None where it is withheld.
    gold: str | None = None
    #: Ids of the profile items that are truly relevant; None where nobody knows.
    relevant: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Ranking:
    """Profile items for one example, best first, with the scores that ordered them."""

    items: tuple[Document, ...] = ()
    scores: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a generator is asked, and how much of the ranking found room in it."""

    example: Example
    #: The ranking, cut to k.
    ranking: Ranking
    #: The prompt itself; in a chat, the user's turn.
    text: str
    #: True where `text` is a turn of a chat, to be wrapped in the model's chat template.
    chat: bool = False
    #: Length in tokens of the tokenizer that set the budget.
    tokens: int = 0
    #: Items that are in the prompt, whole or cut.
    shown: int = 0
    #: Items of these whose text was cut to fit.
    cut: int = 0
    #: Items of the ranking that found no room.
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """What a generator returned."""

    text: str
    #: True where `text` is the answer itself, so that no reasoner needs to parse it (model-free generators).
    is_answer: bool = False
    #: Why the generator stopped: "stop", "length", or None where it does not say.
    finish: str | None = None
    #: Tokens generated, where known.
    tokens: int | None = None
    #: Tokens of the prompt as the generator counted them, its chat template included, where known.
    prompt_tokens: int | None = None
    #: What the completion cost, in the currency of the prices that the generator was given; None without prices.
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A completion, parsed."""

    #: The answer that is scored; empty where none could be found.
    text: str
    #: The name of the parsing step that found it; None marks a parse failure.
    parsed: str | None
    #: The reasoning that came before the answer, where there was any.
    reasoning: str | None = None
    #: Ids of the shown items that the reasoning names, in the order of their first mention.
    cited: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """One example taken through one method: what rewards judge and the journal keeps."""

    prompt: Prompt
    completion: Completion
    answer: Answer
