"""Prompts and completions as text and token ids, the same in training and in a run.

A tokenizer is one of transformers. A prompt is what `turns` gives: a chat, or plain text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date as Date, datetime
from typing import Any, Literal

from prlm_bench import Prompt
from prlm_bench.prompting import open_reasoning, reasoning_marks

from ._files import ModelError, one_line

#: The day that chat templates print as today's, so that an answer does not depend on the day of the run. Templates
#: of Llama 3.2 print it themselves where they get none.
CHAT_DATE = "2024-07-26"

#: Which prompts are a user's turn in the model's chat template: `auto`, all of them where there is a template;
#: `always`, all of them, and a model without a template is refused; `never`; `by-protocol`, those that a reasoner asks
#: as a turn, while LaMP's own prompts are plain text.
Chat = Literal["auto", "always", "never", "by-protocol"]

#: A chat as a list of `{"role": ..., "content": ...}`, or plain text.
Turns = str | list[dict[str, str]]


def chat_date(text: str) -> str:
    """A date for chat templates.

    Raises:
        ValueError: the text is no date.
    """
    try:
        return Date.fromisoformat(text).isoformat()
    except ValueError:
        raise ValueError(f"date={text!r} is no date: write it as {CHAT_DATE}") from None


@dataclass(frozen=True)
class Rendering:
    """How chat templates are rendered; called in place of a tokenizer's `apply_chat_template`.

    Args:
        apply: the tokenizer's own method.
        day: what a template prints as today.
        arguments: of the template, such as `enable_thinking`; those of a call come first.
    """

    apply: Any
    day: Date
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, *values: Any, **options: Any) -> Any:
        """See `apply_chat_template` of transformers."""
        with _today(self.day):
            return self.apply(*values, **{**self.arguments, **options})


def fix_rendering(tokenizer: Any, date: str = CHAT_DATE, arguments: Mapping[str, Any] | None = None) -> None:
    """Have a tokenizer render its chat template with a fixed date and more arguments, whoever asks it to.

    Args:
        tokenizer: of transformers.
        date: what the template prints as today, as YYYY-MM-DD.
        arguments: see `Rendering`.
    """
    apply = tokenizer.apply_chat_template
    own = apply.apply if isinstance(apply, Rendering) else apply
    tokenizer.apply_chat_template = Rendering(own, Date.fromisoformat(date), dict(arguments or {}))


@contextmanager
def _today(day: Date) -> Iterator[None]:
    # Templates get the date from `strftime_now` of transformers, which takes no argument for it.
    from transformers.utils import chat_template_utils

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime(day.year, day.month, day.day, tzinfo=tz)

    module: Any = chat_template_utils
    before, module.datetime = module.datetime, Clock
    try:
        yield
    finally:
        module.datetime = before


def turns(prompt: Prompt, chat: Chat = "auto") -> Turns:
    """A prompt as every model reads it, in training and in a run: a user's turn, or plain text.

    Args:
        prompt: of a reasoner.
        chat: see `Chat`; where there is no template, `chat_text` and `encode_prompts` read a turn as plain text.
    """
    framed = prompt.chat if chat == "by-protocol" else chat != "never"
    return [{"role": "user", "content": prompt.text}] if framed else prompt.text


def require_template(chat: Chat, template: Any, name: str) -> None:
    """Refuse `chat=always` for a model without a chat template.

    Raises:
        ModelError: there is none.
    """
    if chat == "always" and not template:
        raise ModelError(
            f"{name} has no chat template, which chat=always needs", "chat=auto reads prompts as plain text"
        )


def chat_text(tokenizer: Any, prompt: Turns, name: str = "the model", *, begin: bool = True) -> str:
    """What the model reads: a chat in its chat template, which opens the answer; else the text itself.

    Args:
        tokenizer: of the model; where it has no template, a chat is read as plain text.
        prompt: see `turns`.
        name: of the model, for messages.
        begin: keep the token that begins each text where the template writes it; without it, the text can be given
            to a tokenizer that adds special tokens.

    Raises:
        ModelError: the template refuses the chat.
    """
    if isinstance(prompt, str):
        return prompt
    if not tokenizer.chat_template:
        return "\n".join(turn["content"] for turn in prompt)
    try:
        text: str = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
    except Exception as error:  # a template may raise anything
        raise ModelError(f"the chat template of {name} refuses a user's turn: {one_line(error)}") from None
    if not begin and tokenizer.bos_token and tokenizer("")["input_ids"]:
        return text.removeprefix(tokenizer.bos_token)
    return text


def begin_completion(text: str, beginning: str) -> str:
    """What the model reads where its completion was begun.

    Args:
        text: of the prompt; see `chat_text`.
        beginning: of the completion as `decode_answer` writes it: a mark of reasoning that the template has opened is
            not written twice.
    """
    return text + beginning.removeprefix(open_reasoning(text, ""))


def encode_prompts(tokenizer: Any, prompts: Sequence[Turns], name: str = "the model") -> list[list[int]]:
    """Token ids of each prompt; a chat template brings its own special tokens.

    Raises:
        ModelError: the template refuses a chat.
    """
    special = [not is_framed(tokenizer, prompt) for prompt in prompts]
    return encode_texts(tokenizer, [chat_text(tokenizer, prompt, name) for prompt in prompts], special)


def encode_texts(tokenizer: Any, texts: Sequence[str], special: Sequence[bool]) -> list[list[int]]:
    """Token ids of each text, with the special tokens that the tokenizer adds or without."""
    found: list[list[int]] = [[] for _ in texts]
    for adds in (True, False):
        places = [place for place, own in enumerate(special) if own is adds]
        if places:
            encoded = tokenizer([texts[place] for place in places], add_special_tokens=adds)["input_ids"]
            for place, ids in zip(places, encoded, strict=True):
                found[place] = ids
    return found


def decode_answer(tokenizer: Any, ids: Sequence[int], prompt: str = "") -> str:
    """A completion as text: without special tokens, except those that mark reasoning.

    Args:
        tokenizer: of the model.
        ids: what the model wrote.
        prompt: what it read, in its chat template; reasoning that the template opens begins the completion.
    """
    marks = _mark_ids(tokenizer)
    parts: list[str] = []
    start = 0
    for end in [*(place for place, token in enumerate(ids) if token in marks), len(ids)]:
        if end > start:
            parts.append(tokenizer.decode(ids[start:end], skip_special_tokens=True))
        if end < len(ids):
            parts.append(marks[ids[end]] if parts else marks[ids[end]].lstrip())
        start = end + 1
    return open_reasoning(prompt, "".join(parts))


def _mark_ids(tokenizer: Any) -> dict[int, str]:
    known: dict[int, str] | None = tokenizer.__dict__.get("_reasoning_marks")
    if known is None:
        special = {token: number for number, token in _special_tokens(tokenizer)}
        known = {special[mark]: written for mark, written in reasoning_marks(special).items()}
        tokenizer.__dict__["_reasoning_marks"] = known
    return known


def _special_tokens(tokenizer: Any) -> list[tuple[int, str]]:
    """What decoding drops: id and text."""
    known = getattr(tokenizer, "added_tokens_decoder", {})
    added = [(number, token.content) for number, token in known.items() if token.special]
    return [*zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=False), *added]


def encode_completions(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of completions, each with the token that ends it.

    They are not put into the chat template: templates of reasoning models drop the reasoning of an answer.
    """
    found: list[list[int]] = tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []
    return [[*ids, tokenizer.eos_token_id] for ids in found]


def template_tokens(tokenizer: Any, name: str = "the model", chat: Chat = "auto") -> int:
    """The tokens that the chat template puts around a user's turn, one more at most; 0 where none is used.

    Raises:
        ModelError: the template refuses a turn.
    """
    if chat == "never" or not tokenizer.chat_template:
        return 0
    chats: list[Turns] = [[{"role": "user", "content": text}] for text in ("a", "")]
    return max(map(len, encode_prompts(tokenizer, chats, name)))


def is_framed(tokenizer: Any, prompt: Turns) -> bool:
    """Whether a prompt goes into the chat template, which brings its own special tokens."""
    return not isinstance(prompt, str) and bool(tokenizer.chat_template)
