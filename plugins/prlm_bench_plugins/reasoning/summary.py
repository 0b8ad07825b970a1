"""An answer from a summary of the profile and from retrieved items.

Source: Richardson et al. 2023 (arXiv 2310.20081), summary-augmented generation; the summary is written by
the generator that answers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace

from prlm_bench import Answer, Completion, Document, Example, Prompt, Ranking
from prlm_bench.errors import RunError
from prlm_bench.interfaces import Context, Generator, Tokenizer
from prlm_bench.prompting import chat_prompt, find_answer, split_reasoning, token_budget

from ._budget import Budget

_QUESTION = (
    "Describe the user behind these items: interests, opinions, tone and habits of wording, as far as they show."
)
_ASK = "Answer with the description alone, in at most {words} words."
_BLOCK = "What is known about this user: {summary}"


class Summary:
    """Has the generator describe the user first, then shows that description beside the items.

    The description is of the newest items of the profile (of the first ones where items have no dates). It is
    written once for each user and state of the profile. It says nothing that the retriever keeps back: without
    items there is none, and where the items are another user's, it is of those.

    Args:
        items: profile items that are described, at most.
        words: length that the description is asked to have.
        profile_length: token budget of the prompt that asks for it.
        max_length: token budget of the final prompt; the description may take a quarter of it. Both budgets are
            less where the generator has room for less.
        tokenizer: `words`, a folder or a hub name; by default the generator's own, else `words`.
    """

    def __init__(
        self,
        context: Context,
        items: int = 20,
        words: int = 80,
        profile_length: int = 2048,
        max_length: int = 512,
        tokenizer: str | None = None,
    ) -> None:
        if min(items, words, profile_length) < 1:
            raise ValueError("items, words and profile_length must be at least 1")
        self._chat, self._task = context.task.prompts.chat, context.task
        self._items, self._profile_length = items, profile_length
        self._ask = self._chat.model_copy(update={"ask": _ASK.format(words=words)})
        self._budget = Budget(max_length, tokenizer)
        #: Descriptions by generator; the generator is held so that its id stays its own.
        self._written: dict[int, tuple[Generator, dict[str, str]]] = {}

    def fingerprint(self) -> str:
        """That of a tokenizer of its own; the generator is part of every method's identity."""
        return self._budget.fingerprint()

    def prompts(self, examples: Sequence[Example], rankings: Sequence[Ranking], generator: Generator) -> list[Prompt]:
        """One prompt for each example, within the budget; asks the generator for descriptions first."""
        tokenizer, length = self._budget.of(generator)
        pairs = list(zip(examples, rankings, strict=True))
        sources = [self._source(example, ranking) for example, ranking in pairs]
        written = self._describe(examples, sources, generator, tokenizer)
        found = []
        for (example, ranking), source in zip(pairs, sources, strict=True):
            block = _block(written[_key(example, source)] if source else "", tokenizer, length // 4)
            found.append(chat_prompt(self._chat, example, ranking, tokenizer, length, block=block))
        return found

    def parse(self, prompt: Prompt, completion: Completion) -> Answer:
        """The answer object."""
        return find_answer(self._task, completion.text, self._chat.key)

    def _source(self, example: Example, ranking: Ranking) -> tuple[Document, ...]:
        """The items to describe, newest first."""
        if not ranking.items:
            return ()
        own = all(item in example.profile for item in ranking.items)
        items = example.profile if own else ranking.items
        try:
            days = {id(item): tuple(int(part) for part in str(item.date).split("-")) for item in items}
        except ValueError:
            return items[: self._items]
        return tuple(sorted(items, key=lambda item: days[id(item)], reverse=True)[: self._items])

    def _describe(
        self,
        examples: Sequence[Example],
        sources: Sequence[tuple[Document, ...]],
        generator: Generator,
        tokenizer: Tokenizer,
    ) -> dict[str, str]:
        """Descriptions by `_key`; those that are not there yet are generated."""
        room = token_budget(generator, self._profile_length)
        _, written = self._written.setdefault(id(generator), (generator, {}))
        wanted: dict[str, Prompt] = {}
        for example, source in zip(examples, sources, strict=True):
            key = _key(example, source)
            if source and key not in written and key not in wanted:
                asked = replace(example, input=_QUESTION)
                ranking = Ranking(source, tuple(float(-place) for place in range(len(source))))
                wanted[key] = chat_prompt(self._ask, asked, ranking, tokenizer, room)
        keys = list(wanted)
        if keys:
            for index, completion in generator.generate(list(wanted.values())):
                written[keys[index]] = _description(completion.text)
        missing = sum(key not in written for key in keys)
        if missing:
            raise RunError(f"the generator left {missing} of {len(keys)} profile summaries unwritten")
        return written


def _block(summary: str, tokenizer: Tokenizer, room: int) -> str:
    try:
        text, _ = tokenizer.truncate(summary, room)
    except ValueError:  # a tokenizer whose special tokens alone need more room
        return ""
    return _BLOCK.format(summary=text) if text.strip() else ""


def _key(example: Example, source: Sequence[Document]) -> str:
    state = [example.user, [[item.id, item.date, sorted(item.fields.items())] for item in source]]
    return hashlib.sha256(json.dumps(state).encode()).hexdigest()


def _description(text: str) -> str:
    """What was written after the reasoning, on one line; "" where the reasoning never ended."""
    reasoning, rest = split_reasoning(text)
    if reasoning is None and rest.lstrip().startswith("<think>"):
        return ""
    return " ".join(rest.split())
