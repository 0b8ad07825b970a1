"""The `summary` reasoner: an answer from a summary of the profile and from retrieved items.

Source: Richardson et al. 2023 (arXiv 2310.20081), summary-augmented generation; here the generator that answers
also writes the summary.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace

from prlm_bench import Document, Draft, Example, Prompt, Ranking
from prlm_bench.errors import RunError
from prlm_bench.interfaces import Context, Generator, Tokenizer
from prlm_bench.prompting import chat_prompt, find_reasoning, token_budget

from ..baselines import date_parts
from ._chat import ChatReasoner

_QUESTION = (
    "Describe the user behind these items: interests, opinions, tone and habits of wording, as far as they show."
)
_ASK = "Answer with the description alone, in at most {words} words."
_BLOCK = "What is known about this user: {summary}"


class Summary(ChatReasoner):
    """Has the generator describe the user first, then shows that description beside the items.

    The newest items of the profile are described (the first ones where an item has no date), once for each user
    and state of the profile. The controls stay controls: without retrieved items there is no description, and
    where the retrieved items are another user's, those are described.

    Args:
        items: maximum number of profile items to describe.
        words: maximum length of the description, in words, as the prompt requests it.
        profile_length: token budget of the prompt that requests the description.
        max_length: token budget of the final prompt; the description may take a quarter of it. Both budgets are
            lower where the generator's own limit is.
        tokenizer: `words`, a folder or a hub name; by default the generator's own, else `words`.

    Raises:
        ValueError: a number is below 1.
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
        super().__init__(context, max_length, tokenizer)
        self._items, self._profile_length = items, profile_length
        self._ask = _ASK.format(words=words)
        #: What was asked by the generator's id. The generator is kept too, so that no other object can get its id.
        self._written: dict[int, tuple[Generator, dict[str, Draft]]] = {}

    def prompts(self, examples: Sequence[Example], rankings: Sequence[Ranking], generator: Generator) -> list[Prompt]:
        """One prompt for each example, within the token budget; the generator writes missing descriptions first.

        Raises:
            RunError: the generator leaves a description unwritten.
        """
        tokenizer, length = self._budget.of(generator)
        pairs = list(zip(examples, rankings, strict=True))
        sources = [self._source(example, ranking) for example, ranking in pairs]
        written = self._describe(examples, sources, generator, tokenizer)
        found = []
        for (example, ranking), source in zip(pairs, sources, strict=True):
            drafts = (written[_key(example, source)],) if source else ()
            described = _description(drafts[0].completion.text) if drafts else ""
            prompt = self._prompt(example, ranking, tokenizer, length, _block(described, tokenizer, length // 4))
            # Stated here, since a description that was written for an earlier question of the user is asked once.
            found.append(replace(prompt, drafts=drafts))
        return found

    def _source(self, example: Example, ranking: Ranking) -> tuple[Document, ...]:
        """The items to describe, newest first; in profile order where an item has no date."""
        if not ranking.items:
            return ()
        own = all(item in example.profile for item in ranking.items)
        items = example.profile if own else ranking.items
        try:
            days = [date_parts(item.date) for item in items]
        except ValueError:
            return items[: self._items]
        newest = sorted(range(len(items)), key=days.__getitem__, reverse=True)
        return tuple(items[place] for place in newest[: self._items])

    def _describe(
        self,
        examples: Sequence[Example],
        sources: Sequence[tuple[Document, ...]],
        generator: Generator,
        tokenizer: Tokenizer,
    ) -> dict[str, Draft]:
        """Descriptions by `_key`, as they were written; missing ones are generated."""
        max_length = token_budget(generator, self._profile_length)
        _, written = self._written.setdefault(id(generator), (generator, {}))
        wanted: dict[str, Prompt] = {}
        for example, source in zip(examples, sources, strict=True):
            key = _key(example, source)
            if source and key not in written and key not in wanted:
                question = replace(example, input=_QUESTION)
                ranking = Ranking(source, tuple(float(-place) for place in range(len(source))))
                chat = self._task.prompts.chat
                wanted[key] = chat_prompt(chat, question, ranking, tokenizer, max_length, ask=self._ask)
        keys = list(wanted)
        if keys:
            for index, completion in generator.generate(list(wanted.values())):
                written[keys[index]] = Draft(wanted[keys[index]], completion)
        missing = sum(key not in written for key in keys)
        if missing:
            raise RunError(f"the generator left {missing} of {len(keys)} profile summaries unwritten")
        return written


def _block(summary: str, tokenizer: Tokenizer, max_length: int) -> str:
    try:
        text, _ = tokenizer.truncate(summary, max_length)
    except ValueError:  # a tokenizer whose special tokens alone exceed the limit
        return ""
    return _BLOCK.format(summary=text) if text.strip() else ""


def _key(example: Example, source: Sequence[Document]) -> str:
    state = [example.user, [[item.id, item.date, sorted(item.fields.items())] for item in source]]
    return hashlib.sha256(json.dumps(state).encode()).hexdigest()


def _description(text: str) -> str:
    """The text after the reasoning, on one line; "" where the reasoning is not closed."""
    found = find_reasoning(text)
    return "" if found.unclosed is not None else " ".join(found.rest.split())
