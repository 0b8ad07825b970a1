"""Reasoning that names the items it rests on."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from prlm_bench import Answer, Completion, Example, Prompt, Ranking
from prlm_bench.interfaces import Context, Generator
from prlm_bench.prompting import chat_prompt, find_answer, shown_items

from . import think
from ._budget import Budget

_INSTRUCTION = (
    "Before you answer, think inside <think> and </think>: what do the items above show of this user's interests, "
    "opinions and way of writing, and what follows from it here? Name each item that you rely on by its number in "
    "brackets, such as {mark}, and no other. After </think>, give the answer."
)
_NUMBERS = r"([0-9]{1,6}(?:\s*(?:,|;|&|and|to|-|–)\s*(?:items?\s+)?[0-9]{1,6})*)"


class Cite:
    """Shows numbered items and asks for reasoning that names the ones it uses, then the answer object.

    Items are numbered by rank, as in [1]; on a task whose labels look like that, as in [item 1]. The answer
    keeps the ids of the shown items that the reasoning names.

    Args:
        max_length: token budget of the prompt; less where the generator has room for less.
        tokenizer: `words`, a folder or a hub name; by default the generator's own, else `words`.
    """

    def __init__(self, context: Context, max_length: int = 512, tokenizer: str | None = None) -> None:
        self._task = context.task
        self._budget = Budget(max_length, tokenizer)
        word = "item " if any(re.fullmatch(r"\[\d+\]", label) for label in self._task.labels) else ""
        self._mark = f"[{word}{{n}}]"
        self._mention = re.compile(rf"\[\s*(?:items?\s+){'' if word else '?'}{_NUMBERS}\s*\]", re.IGNORECASE)

    def fingerprint(self) -> str:
        """That of a tokenizer of its own."""
        return self._budget.fingerprint()

    def prompts(self, examples: Sequence[Example], rankings: Sequence[Ranking], generator: Generator) -> list[Prompt]:
        """One prompt for each example, within the budget; without items, that of `think`."""
        chat = self._task.prompts.chat
        tokenizer, length = self._budget.of(generator)
        instruction = _INSTRUCTION.format(mark=self._mark.format(n=1))
        return [
            chat_prompt(
                chat,
                example,
                ranking,
                tokenizer,
                length,
                mark=f"{self._mark} ",
                instruction=instruction if ranking.items else think.INSTRUCTION,
            )
            for example, ranking in zip(examples, rankings, strict=True)
        ]

    def parse(self, prompt: Prompt, completion: Completion) -> Answer:
        """The answer object after the reasoning, and the shown items that the reasoning names."""
        chat = self._task.prompts.chat
        answer = find_answer(self._task, completion.text, chat.key, thinks=True)
        shown = shown_items(chat, prompt, f"{self._mark} ")
        named = dict.fromkeys(self._named(answer.reasoning or "", shown.keys()))
        return replace(answer, cited=tuple(shown[number].id for number in named))

    def _named(self, reasoning: str, known: Collection[int]) -> Iterator[int]:
        for match in self._mention.finditer(reasoning):
            for part in re.split(r"[,;&]|and", match[1], flags=re.IGNORECASE):
                first, *rest = (int(number) for number in re.findall(r"[0-9]+", part))
                last = rest[-1] if rest else first
                yield from (number for number in sorted(known) if first <= number <= last)
