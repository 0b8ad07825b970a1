"""From a ranking to a prompt, and from a completion to an answer."""

from .chat import chat_prompt, shown_items
from .lamp import lamp_prompt, lamp_prompts
from .parsing import find_answer, read_object, split_reasoning
from .room import prompt_room

__all__ = [
    "chat_prompt",
    "find_answer",
    "lamp_prompt",
    "lamp_prompts",
    "prompt_room",
    "read_object",
    "shown_items",
    "split_reasoning",
]
