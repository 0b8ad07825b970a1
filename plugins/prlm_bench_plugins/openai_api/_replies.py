"""Reads completions out of replies."""

from __future__ import annotations

import json
from typing import Any

from prlm_bench import Completion

from ._faults import unreadable, web_page, words
from ._server import Key

#: Words that servers have for the two usual ends; others are kept as they are.
_FINISHES = {"eos_token": "stop", "stop_sequence": "stop", "end_turn": "stop", "max_tokens": "length"}


def read_json(body: bytes) -> dict[str, Any]:
    """A reply as a JSON object.

    Raises:
        Fault: it is something else.
    """
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        if body.lstrip()[:1] == b"<":
            raise web_page() from None
        raise unreadable("JSON that breaks off or is damaged" if body.strip() else "nothing") from None
    if not isinstance(found, dict):
        raise unreadable("JSON that is no object")
    return found


def read_completion(body: bytes, chat: bool, key: Key, prices: tuple[float, float] | None) -> Completion:
    """The first choice of a reply.

    Reasoning that the server has split off is put back before the text, between <think> and </think>.

    Args:
        body: the reply.
        chat: it comes from /chat/completions.
        key: is blotted out, should the text repeat it.
        prices: of a million prompt tokens and of a million generated ones.

    Raises:
        Fault: the reply is damaged or holds no choice.
    """
    found = read_json(body)
    choices = found.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        error = words(key, body)[0] if "error" in found else ""
        raise unreadable("a reply without choices" + (f", but the error {error!r}" if error else ""))
    text = _chat_text(choice) if chat else choice.get("text")
    if not isinstance(text, str):
        raise unreadable("a choice without text")
    finish = choice.get("finish_reason")
    usage = found.get("usage")
    sent, written = (_count(usage, name) for name in ("prompt_tokens", "completion_tokens"))
    cost = None
    if prices is not None and sent is not None and written is not None:
        cost = (sent * prices[0] + written * prices[1]) / 1e6
    return Completion(
        _storable(key.hide(text, always=False)),
        finish=_FINISHES.get(finish, finish) if isinstance(finish, str) else None,
        tokens=written,
        prompt_tokens=sent,
        cost=cost,
    )


def _chat_text(choice: dict[str, Any]) -> str | None:
    message = choice.get("message")
    if not isinstance(message, dict) or not {"content", "reasoning_content", "reasoning", "refusal"} & message.keys():
        return None
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    if content is None:  # reasoning alone, a refusal or a tool call
        content = ""
    if not isinstance(content, str):
        return None
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    if not isinstance(reasoning, str) or not reasoning.strip() or "</think>" in content:
        return content
    # Nothing after the reasoning: it never ended, and closing it here would say otherwise.
    return f"<think>\n{reasoning.strip()}\n" + (f"</think>\n{content}" if content.strip() else "")


def _count(usage: Any, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _storable(text: str) -> str:
    """`text` with halves of characters, which no file can hold, replaced by U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
