"""The `direct` reasoner: how published retrieval-augmented baselines work."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from prlm_bench import Answer, Completion, Example, Prompt, Ranking
from prlm_bench.interfaces import Context, Generator, Tokenizer
from prlm_bench.prompting import chat_prompt, find_answer, lamp_prompts, plain_ask

from ._chat import ChatReasoner
from ._shots import Shots


class Direct(ChatReasoner):
    """Shows the items and asks for the answer, without reasoning.

    Args:
        protocol: `lamp`, LaMP's in-prompt augmentation, where the completion is the answer; `chat`, this project's
            own wording, answered by an object such as {'title': '...'}; `plain`, the same wording, answered by the text
            alone, so that the completion is the answer.
        shots: solved questions of other users to show first, drawn from the train split by the seed and the question's
            id. They count towards `max_length`: items are cut first, then examples are left out.
        max_length: token budget of the prompt; lower where the generator's own limit is.
        tokenizer: `words`, a folder or a hub name; by default the generator's own, else `words`.

    Raises:
        ValueError: `shots` is below 0.
        RunError: `shots` is above 0, and there is no train split with reference answers.
    """

    def __init__(
        self,
        context: Context,
        protocol: Literal["lamp", "chat", "plain"] = "lamp",
        shots: int = 0,
        max_length: int = 512,
        tokenizer: str | None = None,
    ) -> None:
        super().__init__(context, max_length, tokenizer)
        if shots < 0:
            raise ValueError("shots must be at least 0")
        self._lamp = protocol == "lamp"
        self._ask = plain_ask(self._task) if protocol == "plain" else None
        self._key = self._task.prompts.chat.key if protocol == "chat" else None
        self._shots = Shots(context, shots) if shots else None

    def fingerprint(self) -> str:
        """The `tokenizer` option, the wording of `plain`, and where solved examples come from."""
        parts = [super().fingerprint()]
        if self._ask is not None:
            parts.append(f"ask={hashlib.sha256(self._ask.encode()).hexdigest()[:16]}")
        if self._shots is not None:
            parts.append(self._shots.fingerprint())
        return " ".join(filter(None, parts))

    def prompts(self, examples: Sequence[Example], rankings: Sequence[Ranking], generator: Generator) -> list[Prompt]:
        """One prompt for each example, within the token budget."""
        if not self._lamp:
            return super().prompts(examples, rankings, generator)
        tokenizer, length = self._budget.of(generator)
        if self._shots is None:
            return lamp_prompts(self._task.prompts.lamp, examples, rankings, tokenizer, length)
        pairs = zip(examples, rankings, strict=True)
        return [self._lamp_after_shots(example, ranking, tokenizer, length) for example, ranking in pairs]

    def parse(self, prompt: Prompt, completion: Completion) -> Answer:
        """The completion, or the answer object in it."""
        if self._key is not None:
            return super().parse(prompt, completion)
        return find_answer(self._task, completion.text, None)

    def _prompt(
        self, example: Example, ranking: Ranking, tokenizer: Tokenizer, max_length: int, block: str = ""
    ) -> Prompt:
        chat = self._task.prompts.chat
        if self._shots is not None:
            frame = chat_prompt(chat, example, Ranking(), tokenizer, max_length, ask=self._ask)
            block = self._shots.block(example, self._key, tokenizer, max_length - frame.tokens - 2)
        return chat_prompt(chat, example, ranking, tokenizer, max_length, block=block, ask=self._ask)

    def _lamp_after_shots(self, example: Example, ranking: Ranking, tokenizer: Tokenizer, max_length: int) -> Prompt:
        assert self._shots is not None
        # Two tokens for the empty line between.
        block = self._shots.block(example, None, tokenizer, max_length - tokenizer.count(example.input) - 2)
        room = max_length - tokenizer.count(block) - 2 if block else max_length
        (made,) = lamp_prompts(self._task.prompts.lamp, [example], [ranking], tokenizer, room)
        text = f"{block}\n\n{made.text}" if block else made.text
        return replace(made, text=text, tokens=tokenizer.count(text))
