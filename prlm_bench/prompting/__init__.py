"""From a ranking to a prompt, and from a completion to an answer."""

from ._chat import chat_prompt, shown_items
from ._lamp import lamp_prompt, lamp_prompts
from ._parsing import find_answer, read_object, split_reasoning
from ._token_budget import token_budget

__all__ = [
    "chat_prompt",
    "find_answer",
    "lamp_prompt",
    "lamp_prompts",
    "read_object",
    "shown_items",
    "split_reasoning",
    "token_budget",
]
