"""The token budget of a prompt."""

from __future__ import annotations

from ..interfaces import Generator, PromptLimited


def token_budget(generator: Generator, max_length: int) -> int:
    """The budget of a prompt in tokens: `max_length`, or less if the generator's limit is smaller.

    Args:
        generator: receives the prompt.
        max_length: budget of the reasoner, in tokens.
    """
    bound = max_prompt_tokens(generator)
    return max_length if bound is None else min(max_length, bound)


def max_prompt_tokens(generator: Generator) -> int | None:
    """Maximum tokens of a prompt, without the chat template; None if the generator has no stated limit."""
    return generator.max_prompt_tokens if isinstance(generator, PromptLimited) else None
