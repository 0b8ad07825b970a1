"""Reasoners that ask for an answer object in a single user turn of a chat.

`ChatReasoner` shows the items and asks for the answer object. Its subclasses differ in the instruction that
stands before that request, in the marks before the items, and in what they read out of a completion.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

from prlm_bench import Answer, Completion, Example, Prompt, Ranking
from prlm_bench.interfaces import Context, Generator, Tokenizer
from prlm_bench.prompting import chat_prompt, find_answer, load_tokenizer, token_budget


class TokenBudget:
    """The length limit of a prompt and the tokenizer that counts it.

    Args:
        max_length: tokens of the prompt, without those of the model's chat template.
        tokenizer: `words`, a folder or a hub name; by default the generator's own, else `words`.

    Raises:
        ValueError: `max_length` is below 1.
        PrlmBenchError: the tokenizer cannot be loaded.
    """

    def __init__(self, max_length: int, tokenizer: str | None) -> None:
        if max_length < 1:
            raise ValueError("max_length must be at least 1")
        self._max_length = max_length
        self._own = load_tokenizer(tokenizer) if tokenizer else None
        self._default = load_tokenizer("words")

    def fingerprint(self) -> str:
        """The fingerprint of the `tokenizer` option; "" without it, as the generator identifies its own tokenizer."""
        return self._own.fingerprint() if self._own else ""

    def of(self, generator: Generator) -> tuple[Tokenizer, int]:
        """The tokenizer for prompts to a generator, and their length limit in its tokens."""
        return self._own or generator.tokenizer or self._default, token_budget(generator, self._max_length)


class ChatReasoner:
    """Shows the items and asks for the answer object.

    Args:
        max_length: token budget of the prompt; lower where the generator's own limit is.
        tokenizer: `words`, a folder or a hub name; by default the generator's own, else `words`.

    Raises:
        ValueError: `max_length` is below 1.
        PrlmBenchError: the tokenizer cannot be loaded.
    """

    #: Stands before the sentence that asks for the answer; "" for none.
    instruction: ClassVar[str] = ""
    #: Whether completions begin with reasoning that `</think>` closes.
    expects_reasoning: ClassVar[bool] = False

    def __init__(self, context: Context, max_length: int = 512, tokenizer: str | None = None) -> None:
        self._task = context.task
        self._budget = TokenBudget(max_length, tokenizer)

    def fingerprint(self) -> str:
        """The fingerprint of the `tokenizer` option, "" without it."""
        return self._budget.fingerprint()

    def prompts(self, examples: Sequence[Example], rankings: Sequence[Ranking], generator: Generator) -> list[Prompt]:
        """One prompt for each example, within the token budget."""
        tokenizer, length = self._budget.of(generator)
        return [
            self._prompt(example, ranking, tokenizer, length)
            for example, ranking in zip(examples, rankings, strict=True)
        ]

    def parse(self, prompt: Prompt, completion: Completion) -> Answer:
        """The answer object; where reasoning is expected, the one after it."""
        key = self._task.prompts.chat.key
        # Where nothing is known, reasoning that has begun and not ended was more likely cut off than left open.
        cut = completion.finish != "stop"
        return find_answer(self._task, completion.text, key, thinks=self.expects_reasoning, cut=cut)

    def _prompt(
        self, example: Example, ranking: Ranking, tokenizer: Tokenizer, max_length: int, block: str = ""
    ) -> Prompt:
        parts = {"block": block, "instruction": self.instruction}
        chat, reasons = self._task.prompts.chat, self.expects_reasoning
        return chat_prompt(chat, example, ranking, tokenizer, max_length, **parts, reasons=reasons)


class Think(ChatReasoner):
    """Shows the items and asks for reasoning inside <think> and </think> before the answer object.

    The model need not be trained for it.
    """

    instruction = (
        "Before you answer, think inside <think> and </think>: what does the above show of this user's interests, "
        "opinions and way of writing, and what follows from it here? After </think>, give the answer."
    )
    expects_reasoning = True


class Prlm(ChatReasoner):
    """PrLM's trained format: reasoning that is closed by </think>, then the answer object.

    Source: PrLM (arXiv 2508.07342). Its code trains with a system prompt and evaluates without one; here the
    same prompt, without a system prompt, serves training and evaluation.
    """

    instruction = (
        "Reason first: what the above shows of this user's interests and way of writing, and how it bears on this "
        "request. Close the reasoning with a line that holds nothing but </think>. Then give the answer."
    )
    expects_reasoning = True


class Cite(ChatReasoner):
    """Shows numbered items and asks for reasoning that names the ones it uses, then the answer object.

    Items are numbered by rank, as in [1]; on a task whose labels look like that, as in [item 1]. Without items
    the prompt is that of `think`. The answer holds the ids of the shown items that the reasoning names.
    """

    instruction = (
        "Before you answer, think inside <think> and </think>: what do the items above show of this user's interests, "
        "opinions and way of writing, and what follows from it here? Name each item that you rely on by its number in "
        "brackets, such as {mark}, and no other. After </think>, give the answer."
    )
    expects_reasoning = True
    _NUMBERS: ClassVar[str] = r"([0-9]{1,6}(?:\s*(?:,|;|&|and|to|-|–)\s*(?:items?\s+)?[0-9]{1,6})*)"

    def __init__(self, context: Context, max_length: int = 512, tokenizer: str | None = None) -> None:
        super().__init__(context, max_length, tokenizer)
        word = "item " if any(re.fullmatch(r"\[\d+\]", label) for label in self._task.labels) else ""
        self._mark = f"[{word}{{n}}]"
        self._mention = re.compile(rf"\[\s*(?:items?\s+){'' if word else '?'}{self._NUMBERS}\s*\]", re.IGNORECASE)

    def parse(self, prompt: Prompt, completion: Completion) -> Answer:
        """The answer object after the reasoning, and the ids of the shown items that the reasoning names."""
        answer = super().parse(prompt, completion)
        shown = prompt.shown_items
        named = dict.fromkeys(self._named(answer.reasoning or "", shown.keys()))
        return replace(answer, cited=tuple(shown[number].id for number in named))

    def _prompt(
        self, example: Example, ranking: Ranking, tokenizer: Tokenizer, max_length: int, block: str = ""
    ) -> Prompt:
        cites = self.instruction.format(mark=self._mark.format(n=1))
        instruction = cites if ranking.items else Think.instruction
        chat, mark = self._task.prompts.chat, f"{self._mark} "
        parts = {"block": block, "mark": mark, "instruction": instruction}
        return chat_prompt(chat, example, ranking, tokenizer, max_length, **parts, reasons=True)

    def _named(self, reasoning: str, known: Collection[int]) -> Iterator[int]:
        """The numbers that the reasoning names, as far as they are known; a range such as [1-3] names all in it."""
        for match in self._mention.finditer(reasoning):
            for part in re.split(r"[,;&]|and", match[1], flags=re.IGNORECASE):
                first, *rest = (int(number) for number in re.findall(r"[0-9]+", part))
                last = rest[-1] if rest else first
                yield from (number for number in sorted(known) if first <= number <= last)
