"""Answer at once, the items in the prompt: how published retrieval-augmented baselines work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from prlm_bench import Answer, Completion, Example, Prompt, Ranking
from prlm_bench.interfaces import Context, Generator
from prlm_bench.prompting import chat_prompt, find_answer, lamp_prompts, load_tokenizer, token_budget


class Direct:
    """Shows the items and asks for the answer, without reasoning.

    Args:
        protocol: `lamp`, LaMP's in-prompt augmentation, the completion being the answer; or `chat`, the
            project's own wording, answered by an object such as {'title': '...'}.
        max_length: token budget of the prompt; less where the generator has room for less.
        tokenizer: `words`, a folder or a hub name; by default the generator's own, else `words`.
    """

    def __init__(
        self,
        context: Context,
        protocol: Literal["lamp", "chat"] = "lamp",
        max_length: int = 512,
        tokenizer: str | None = None,
    ) -> None:
        if max_length < 1:
            raise ValueError("max_length must be at least 1")
        self._task = context.task
        self._chat = protocol == "chat"
        self._max_length = max_length
        self._tokenizer = load_tokenizer(tokenizer) if tokenizer else None
        self._default = load_tokenizer("words")

    def fingerprint(self) -> str:
        """That of a tokenizer of its own."""
        return self._tokenizer.fingerprint() if self._tokenizer else ""

    def prompts(self, examples: Sequence[Example], rankings: Sequence[Ranking], generator: Generator) -> list[Prompt]:
        """One prompt for each example, within the budget."""
        tokenizer = self._tokenizer or generator.tokenizer or self._default
        room = token_budget(generator, self._max_length)
        if self._chat:
            chat = self._task.prompts.chat
            pairs = zip(examples, rankings, strict=True)
            return [chat_prompt(chat, example, ranking, tokenizer, room) for example, ranking in pairs]
        return lamp_prompts(self._task.prompts.lamp, examples, rankings, tokenizer, room)

    def parse(self, prompt: Prompt, completion: Completion) -> Answer:
        """The completion, or the answer object in it."""
        return find_answer(self._task, completion.text, self._task.prompts.chat.key if self._chat else None)
