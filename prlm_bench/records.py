"""The records passed between the stages of a run: frozen, without behaviour.

Flow: `Example` -> `Ranking` -> `Prompt` -> `Completion` -> `Answer`, gathered in a `Sample`. A `Prompt` may be a chat
of several `Turn`s, and have `Draft`s: what a reasoner had a generator write before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "Answer",
    "Completion",
    "Document",
    "Draft",
    "Example",
    "Prompt",
    "Ranking",
    "Sample",
    "Turn",
]


@dataclass(frozen=True, slots=True)
class Document:
    """One item of a user's profile."""

    #: The item's id in the data. Ids are opaque and may repeat in other profiles.
    id: str
    #: The text that retrieval reads: the item rendered by the task's corpus template.
    text: str
    #: The item's own fields by name, such as `title` and `text`.
    fields: Mapping[str, str]
    #: The item's date as written in the data (`YYYY-MM-DD...`), where there is one.
    date: str | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """One question with the profile of its user."""

    id: str
    #: The unit of inference. In the user split every question is its own user.
    user: str
    #: The question in the benchmark's wording.
    input: str
    #: The retrieval query: the part of the input that the task selects.
    query: str
    #: The profile in the order of the data.
    profile: tuple[Document, ...]
    #: The reference answer; None where it is withheld.
    gold: str | None = None
    #: Ids of the relevant profile items; None if there are no relevance labels.
    relevant: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Ranking:
    """Profile items for one example, best first, with the scores that ordered them."""

    items: tuple[Document, ...] = ()
    scores: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a chat."""

    #: Who speaks. Not every chat template has a place for `system`.
    role: Literal["system", "user", "assistant"]
    #: What is said.
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """The input of a generator, and how much of the ranking fits into it."""

    example: Example
    #: The ranking, cut to k.
    ranking: Ranking
    #: The prompt; in a chat, the user's message. In a chat of several turns, all of them as one text: for generators
    #: that read no chat, and for whoever reads the record.
    text: str
    #: True if `text` is a chat message, to be wrapped in the model's chat template.
    chat: bool = False
    #: Length in tokens of the tokenizer that set the budget.
    tokens: int = 0
    #: Items in the prompt, whole or cut.
    shown: int = 0
    #: Of these, items whose text was cut to fit.
    cut: int = 0
    #: Items of the ranking left out for lack of space.
    dropped: int = 0
    #: The key of the answer object that the prompt asks for; None if the whole completion is the answer.
    key: str | None = None
    #: True if the completion should begin with reasoning, closed by `</think>`.
    reasons: bool = False
    #: The chat turn by turn, the last one a user's; empty for a chat of one turn, which is `text`.
    turns: tuple[Turn, ...] = ()
    #: What a generator wrote for this prompt, such as a draft or a description of the user, in the order of asking. The
    #: harness fills it in where a reasoner leaves it empty.
    drafts: tuple[Draft, ...] = ()
    #: Ranks of the items in the prompt, from 1; None if they are the first `shown` ones.
    ranks: tuple[int, ...] | None = None

    @property
    def shown_items(self) -> dict[int, Document]:
        """The items in the prompt, whole or cut, by their rank from 1."""
        ranks = range(1, self.shown + 1) if self.ranks is None else self.ranks
        return {rank: self.ranking.items[rank - 1] for rank in ranks}


@dataclass(frozen=True, slots=True)
class Completion:
    """The output of a generator."""

    text: str
    #: True if `text` is the answer itself and needs no parsing (model-free generators).
    is_answer: bool = False
    #: Why the generator stopped: "stop", "length", "refused" (a content filter kept the text back, or part of it), a
    #: server's own word that prlm-bench does not know, or None if nothing is said.
    finish: str | None = None
    #: Number of generated tokens, if known.
    tokens: int | None = None
    #: Prompt tokens counted by the generator, chat template included, if known.
    prompt_tokens: int | None = None
    #: Cost of the completion, in the currency of the given prices; None without prices.
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """What a reasoner asked of a generator while it made a prompt."""

    #: What it asked; its `example` is the question that the draft is for.
    prompt: Prompt
    #: What the generator wrote.
    completion: Completion


@dataclass(frozen=True, slots=True)
class Answer:
    """A parsed completion."""

    #: The answer that is scored; empty if none was found.
    text: str
    #: The name of the parsing step that found it; None marks a parse failure.
    parsed: str | None
    #: The reasoning before the answer, if any.
    reasoning: str | None = None
    #: Ids of the shown items that the reasoning cites, in order of first mention.
    cited: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """One example processed by one method: the input of rewards, stored in the journal."""

    prompt: Prompt
    completion: Completion
    answer: Answer
