"""Reads replies: completions, with why each ended, and the list of models."""

from __future__ import annotations

import json
from typing import Any

from prlm_bench import Completion
from prlm_bench.prompting import mark_reasoning

from ._errors import RequestError, UnreadableReplyError, reported_error
from ._json import one_line, parse
from ._server import Key, Server

#: What servers call the ways in which a completion ends, by the name that is stored; `failed` is never stored. Compared
#: without case and punctuation: `MAX_TOKENS`, `max-tokens` and `maxTokens` are one. Sources: OpenAI, Azure, Anthropic,
#: Mistral, Cohere, Gemini, DeepSeek, Zhipu, vLLM, SGLang, TGI, llama.cpp, Ollama, LM Studio, AI SDK.
_NAMES = {
    "stop": "stop eos eos_token eos_found eot stop_token stop_sequence stop_string stop_string_found stop_word word "
    "end end_turn pause_turn end_of_text complete completed finished done success tool_call tool_calls tool_use "
    "function_call",
    "length": "length limit max_length max_tokens max_output_tokens max_new_tokens max_completion_tokens model_length "
    "token_limit context_length context_length_reached max_predicted_tokens_reached model_context_window_exceeded "
    "repetition incomplete time_limit",
    "refused": "content_filter content_filtered content_moderation moderation filtered refusal refused safety "
    "recitation blocklist blocked prohibited_content spii sensitive guardrail guardrail_intervened language",
    "failed": "error error_limit error_toxic fail failed failure server_error internal_error network_error abort "
    "aborted cancel canceled cancelled user_cancel user_stopped interrupted disconnect disconnected timeout timed_out "
    "overloaded unavailable preempted insufficient_system_resource load unload model_unloaded "
    "malformed_function_call malformed_response",
}
#: The reply that stands for a prompt that a content filter refused.
REFUSED = b'{"choices": [{"message": {"content": ""}, "text": "", "finish_reason": "content_filter"}]}'


def _squeezed(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum()).removeprefix("finishreason")


_FINISHES = {_squeezed(name): kind for kind, names in _NAMES.items() for name in names.split()}


def read_finish(reason: Any) -> str | None:
    """Why a completion ended: `stop`, `length`, `refused`, `failed`, the server's own word, or None if it says nothing.

    Args:
        reason: the field `finish_reason`; some servers put the word into an object, as its `type`.
    """
    if isinstance(reason, dict):
        reason = reason.get("type")
    if not isinstance(reason, str) or not reason.strip():
        return None
    return _FINISHES.get(_squeezed(reason), one_line(reason, Key(""), 40) or None)


def is_known(finish: str | None) -> bool:
    """False for a server's own word, of which nobody knows whether it means that the answer is whole."""
    return finish is None or finish in _NAMES


def read_json(body: bytes, key: Key) -> dict[str, Any]:
    """A reply as a JSON object (see `parse`).

    Raises:
        RequestError: it is a web page, or (`UnreadableReplyError`) anything else.
    """
    try:
        found = parse(body, key)
    except ValueError:
        if body.lstrip()[:1] == b"<":
            hint = "base_url usually ends in /v1"
            raise RequestError("the server sent a web page instead of JSON", hint) from None
        raise UnreadableReplyError("truncated or invalid JSON" if body.strip() else "an empty reply") from None
    if not isinstance(found, dict):
        raise UnreadableReplyError("JSON that is not an object")
    return found


def read_completion(
    body: bytes, chat: bool, server: Server, url: str, question: str, prices: tuple[float, float] | None
) -> Completion:
    """The first choice of a reply.

    Reasoning that the server has split off is put back before the text, between <think> and </think>.

    Args:
        body: the reply.
        chat: the reply comes from /chat/completions.
        server: its key is masked if the reply repeats it.
        url, question: where the question was sent, and its id, for messages.
        prices: price of a million prompt tokens and of a million generated ones.

    Raises:
        RequestError: the reply is damaged, has no choice, or says that the completion failed.
    """
    reply = read_json(body, server.key)
    choices = reply.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    error = reply.get("error") or (choice.get("error") if isinstance(choice, dict) else None)
    if not isinstance(choice, dict):
        if isinstance(error, dict) and error.get("code"):
            raise reported_error(server, url, error, question)
        said = f" but with the error {one_line(_error_text(error), server.key)!r}" if error else ""
        raise UnreadableReplyError(f"a reply without choices{said}")
    finish = read_finish(choice.get("finish_reason"))
    if error or finish == "failed":
        raise reported_error(server, url, error or f"finish_reason {choice['finish_reason']}", question)
    text = _chat_text(choice) if chat else _plain_text(choice)
    if text is None:
        raise UnreadableReplyError("a choice without text")
    if not text and isinstance(choice.get("message"), dict) and choice["message"].get("refusal"):
        finish = "refused"
    usage = reply.get("usage")
    prompt_tokens = _count(usage, "prompt_tokens", "input_tokens")
    tokens = _count(usage, "completion_tokens", "output_tokens")
    cost = None
    if prices is not None and prompt_tokens is not None and tokens is not None:
        cost = (prompt_tokens * prices[0] + tokens * prices[1]) / 1e6
    return Completion(text, finish=finish, tokens=tokens, prompt_tokens=prompt_tokens, cost=cost)


def _error_text(error: Any) -> str:
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        return str(error["message"])
    return error if isinstance(error, str) else json.dumps(error)


def _plain_text(choice: dict[str, Any]) -> str | None:
    """The text of a choice of /completions; null is an empty text."""
    text = choice.get("text", 0)
    return "" if text is None else text if isinstance(text, str) else None


def _chat_text(choice: dict[str, Any]) -> str | None:
    message = choice.get("message")
    if not isinstance(message, dict) or not {"content", "reasoning_content", "reasoning", "refusal"} & message.keys():
        return None
    content, thoughts = message.get("content"), ""
    if isinstance(content, list):
        thoughts, content = _joined(content, thinking=True), _joined(content, thinking=False)
    if content is None:  # only reasoning, a refusal or a tool call
        content = ""
    if not isinstance(content, str):
        return None
    split_off = (message.get("reasoning_content"), message.get("reasoning"), thoughts)
    reasoning = next((text for text in split_off if isinstance(text, str) and text.strip()), "")
    return mark_reasoning(reasoning, content) if reasoning else content


def _joined(parts: list[Any], thinking: bool) -> str:
    """The text of those parts of a content that are reasoning (as Mistral's and Anthropic's are), or of the others."""
    texts = []
    for part in parts:
        if isinstance(part, dict) and (part.get("type") in ("thinking", "reasoning")) is thinking:
            inner = part.get("thinking", part.get("text")) if thinking else part.get("text")
            texts.append(_joined(inner, thinking=False) if isinstance(inner, list) else inner)
        elif not thinking:
            texts.append(part)
    return "".join(text for text in texts if isinstance(text, str))


def _count(usage: Any, *names: str) -> int | None:
    """The count by the first of its names that there is: some proxies keep Anthropic's."""
    value = next((usage[name] for name in names if name in usage), None) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def read_models(body: bytes, key: Key) -> list[dict[str, Any]]:
    """The models of a reply to GET /models.

    Raises:
        RequestError: the reply has no such list.
    """
    models = read_json(body, key).get("data")
    if not isinstance(models, list):
        raise UnreadableReplyError("no list of models")
    return [model for model in models if isinstance(model, dict)]
