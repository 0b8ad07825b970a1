"""The `lm-eval` generator: any model backend of lm_eval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from prlm_bench import Completion, Prompt
from prlm_bench.errors import PrlmBenchError
from prlm_bench.interfaces import Context, Tokenizer
from prlm_bench.prompting import load_tokenizer

from .identity import check_folders, identify

if TYPE_CHECKING:
    from .adapter import Backend

#: Options of sampling, which a backend would take for its own.
_SAMPLING = frozenset({"temperature", "do_sample", "top_p", "top_k", "min_p"})
#: Options that hold a key, which a row would show.
_SECRET = frozenset({"auth_token", "api_key", "header", "token"})
#: Backends by what they are; runs make a generator for each task, and the weights are there once.
_loaded: dict[str, Backend] = {}


class LmEvalGenerator:
    """Any model backend of lm_eval, such as hf, vllm, sglang or local-chat-completions; greedy.

    Options beyond these go to the backend: `pretrained`, `dtype`, `batch_size`, `device`, `base_url` and so on.
    A turn of a chat goes into the chat template by way of the backend; where the model has none, it reads the turn
    as plain text. The model is loaded when it is first needed.

    Args:
        backend: its name in lm_eval.
        max_new_tokens: an answer's tokens at most.
        until: texts that end an answer, joined by `+`.
        chunk: prompts that the backend gets at a time; backends return nothing before all of them are done.
        chat: `auto` wraps turns of a chat, and everything where the backend asks a chat server; `always`, `never`.
        more: options of the backend, as text; JSON where they are lists or mappings.

    Raises:
        ValueError: options that a greedy generator does not have, or that hold a key.
        PrlmBenchError: there is no such backend or model folder, or the backend's own packages are missing.
    """

    def __init__(
        self,
        context: Context,
        backend: str,
        max_new_tokens: int = 128,
        until: list[str] | None = None,
        chunk: int = 64,
        chat: Literal["auto", "always", "never"] = "auto",
        **more: str,
    ) -> None:
        if max_new_tokens < 1 or chunk < 1:
            raise ValueError("max_new_tokens and chunk are at least 1")
        if sampling := sorted(_SAMPLING & more.keys()):
            raise ValueError(f"{sampling[0]}: answers are greedy; the generators transformers and openai-api sample")
        if secret := sorted(_SECRET & more.keys()):
            raise ValueError(f"{secret[0]} would be stored with the results; put the key into OPENAI_API_KEY")
        from .adapter import check_options

        check_options(backend, more)
        check_folders(more)
        self._backend, self._more, self._chat, self._chunk = backend, dict(more), chat, chunk
        self._kwargs: Mapping[str, Any] = {"until": until or [], "max_gen_toks": max_new_tokens, "do_sample": False}
        self._cache_dir = context.cache_dir

    @cached_property
    def _identity(self) -> str:
        return identify(self._more, self._cache_dir)

    def fingerprint(self) -> str:
        """Versions of the libraries, hashes of the files that options name, commits on the hub, the server's models.

        Raises:
            RunError: no server answers at `base_url`.
        """
        return self._identity

    @cached_property
    def tokenizer(self) -> Tokenizer | None:
        """That of the option `tokenizer`, or of the model where it runs here; else left to the reasoner."""
        name = self._more.get("tokenizer")
        if name is None and "base_url" not in self._more:
            name = self._more.get("pretrained")
        return load_tokenizer(name) if name else None

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        """Answer prompts, longest first, a chunk at a time.

        Raises:
            PrlmBenchError: the backend cannot be loaded, or a prompt is too long for the model.
        """
        if not prompts:
            return
        backend = self._load()
        texts = [backend.render(prompt.text, self._is_chat(prompt, backend)) for prompt in prompts]
        most = int(self._kwargs["max_gen_toks"])
        for prompt, text in zip(prompts, texts, strict=True):
            _check_room(backend, prompt, text, most)
        order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index].text))
        for start in range(0, len(order), self._chunk):
            places = order[start : start + self._chunk]
            answers = backend.write([texts[place] for place in places], self._kwargs)
            yield from ((place, Completion(answer)) for place, answer in zip(places, answers, strict=True))

    def _is_chat(self, prompt: Prompt, backend: Backend) -> bool:
        return self._chat == "always" or (self._chat == "auto" and (prompt.chat or backend.is_chat_only))

    def _load(self) -> Backend:
        from .adapter import Backend

        key = repr((self._backend, sorted(self._more.items()), self._identity))
        if key not in _loaded:
            _loaded[key] = Backend(self._backend, self._more)
        return _loaded[key]


def _check_room(backend: Backend, prompt: Prompt, text: Any, most: int) -> None:
    """Backends cut what is too long, from the left and with no more than a note in their log."""
    room, length = backend.room(most), backend.length(text)
    if room is not None and length is not None and length > room:
        raise PrlmBenchError(
            f"the prompt of question {prompt.example.id} has {length} tokens, and the model has room for {room} "
            f"beside {most} new ones",
            "a smaller max_length of the reasoner or max_new_tokens",
        )
