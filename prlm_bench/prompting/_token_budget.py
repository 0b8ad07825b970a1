"""How long a prompt may be."""

from __future__ import annotations

from ..interfaces import Generator, PromptLimited


def token_budget(generator: Generator, max_length: int) -> int:
    """The budget of a prompt in tokens: `max_length`, or less where the generator's window is smaller.

    Args:
        generator: receives the prompt.
        max_length: tokens that the reasoner allows.
    """
    bound = max_prompt_tokens(generator)
    return max_length if bound is None else min(max_length, bound)


def max_prompt_tokens(generator: Generator) -> int | None:
    """Tokens of a prompt at most, the chat template not counted; None where the generator states no limit."""
    return generator.max_prompt_tokens if isinstance(generator, PromptLimited) else None
