"""The `lm-eval` generator: any model backend of lm_eval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from prlm_bench import Completion, Prompt
from prlm_bench.errors import PrlmBenchError
from prlm_bench.interfaces import Context, Tokenizer
from prlm_bench.prompting import load_tokenizer, open_reasoning, stop_texts

from .._hf import CHAT_DATE, Chat, chat_date, turns
from ._backends import check_folders, followed_settings, identify

if TYPE_CHECKING:
    from .adapter import Backend

#: Sampling options, which would otherwise be passed to the backend.
_SAMPLING = frozenset({"temperature", "do_sample", "top_p", "top_k", "min_p"})
#: Options that hold a secret, which stored results would show.
_SECRET = frozenset({"auth_token", "api_key", "header", "token"})
#: Loaded backends by their identity: a run makes a generator for each task, but loads the weights once.
_loaded: dict[str, Backend] = {}


class LmEvalGenerator:
    """Any model backend of lm_eval, such as hf, vllm, sglang or local-chat-completions; greedy.

    Other options go to the backend: `pretrained`, `dtype`, `batch_size`, `device`, `base_url` and so on. The model is
    loaded when it is first needed.

    Args:
        backend: the backend's name in lm_eval.
        max_new_tokens: token limit of an answer.
        until: texts that end an answer, joined by `+`; `\\n`, `\\t` and `\\\\` stand for line break, tab and backslash.
        chunk: number of prompts in one call of the backend, which returns only when all of them are answered.
        chat: `auto` reads each prompt as a user's turn where the backend has a chat template or is a chat server, and
            as plain text where not; `always` refuses a backend without one; `never` reads the text as it is;
            `by-protocol` reads turns of a chat in the template and LaMP's own prompts as plain text.
        date: what chat templates of models that run here print as today's date, as YYYY-MM-DD.
        more: options of the backend, as text; JSON for lists and mappings.

    Raises:
        ValueError: options that a greedy generator does not have, or that hold a secret.
        PrlmBenchError: there is no such backend or model folder, or the backend's own packages are missing.
    """

    def __init__(
        self,
        context: Context,
        backend: str,
        max_new_tokens: int = 128,
        until: list[str] | None = None,
        chunk: int = 64,
        chat: Chat = "auto",
        date: str = CHAT_DATE,
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
        self._date = chat_date(date)
        self._kwargs: Mapping[str, Any] = {
            "until": stop_texts(until),
            "max_gen_toks": max_new_tokens,
            "do_sample": False,
        }
        self._cache_dir = context.cache_dir

    @cached_property
    def _identity(self) -> str:
        return identify(self._more, self._cache_dir)

    def fingerprint(self) -> str:
        """Versions of the libraries, hashes of files, commits on the hub, the server's models, a checkpoint's settings.

        Raises:
            RunError: no server answers at `base_url`.
        """
        if "base_url" in self._more:
            return self._identity
        follows = followed_settings(self._backend, self._more)
        return f"{self._identity} date={self._date}" + (f" follows {follows}" if follows else "")

    @cached_property
    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer of the option `tokenizer`, or of a model that runs here; else None: the reasoner chooses."""
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
        texts = [backend.render(turns(prompt, self._chat), self._chat) for prompt in prompts]
        limit = int(self._kwargs["max_gen_toks"])
        for prompt, text in zip(prompts, texts, strict=True):
            _check_length(backend, prompt, text, limit)
        order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index].text))
        for start in range(0, len(order), self._chunk):
            places = order[start : start + self._chunk]
            answers = backend.write([texts[place] for place in places], self._kwargs)
            for place, answer in zip(places, answers, strict=True):
                yield place, Completion(self._whole(texts[place], answer, prompts[place], backend))

    def render(self, prompt: Prompt) -> str:
        """What the backend gets, as tokens where it tokenizes here; the model is loaded for it.

        Raises:
            PrlmBenchError: the backend cannot be loaded, or refuses the prompt.
        """
        backend = self._load()
        return backend.shown(backend.render(turns(prompt, self._chat), self._chat))

    def loglikelihood(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]) -> list[list[float]]:
        """The log-probability of each continuation of each prompt; see `ScoresContinuations`.

        Raises:
            PrlmBenchError: the backend cannot be loaded or gives no likelihoods, or a prompt is too long for the model.
        """
        if not prompts:
            return []
        backend = self._load()
        found = [[0.0] * len(wanted) for wanted in continuations]
        places, pairs = [], []
        for index, (prompt, wanted) in enumerate(zip(prompts, continuations, strict=True)):
            text = backend.render(turns(prompt, self._chat), self._chat)
            # The last token of a continuation is not read.
            _check_length(backend, prompt, text, max(0, _longest(backend, text, wanted) - 1))
            places += [(index, number) for number, each in enumerate(wanted) if each]
            pairs += [(text, each) for each in wanted if each]
        for (index, number), value in zip(places, backend.loglikelihood(pairs) if pairs else [], strict=True):
            found[index][number] = value
        return found

    def _whole(self, text: Any, answer: str, prompt: Prompt, backend: Backend) -> str:
        """An answer with the mark of reasoning that its chat template has opened."""
        framed = not isinstance(turns(prompt, self._chat), str) and not backend.strips_reasoning
        return open_reasoning(text, answer) if isinstance(text, str) and framed else answer

    def _load(self) -> Backend:
        from .adapter import Backend

        key = repr((self._backend, sorted(self._more.items()), self.fingerprint()))
        if key not in _loaded:
            _loaded[key] = Backend(self._backend, self._more, self._date)
        return _loaded[key]


def _longest(backend: Backend, text: Any, continuations: Sequence[str]) -> int:
    """Tokens of the longest continuation; 0 where the backend cannot count them."""
    alone = backend.length(text)
    if alone is None:
        return 0
    return max(((backend.length(text + each) or 0) - alone for each in continuations), default=0)


def _check_length(backend: Backend, prompt: Prompt, text: Any, max_new_tokens: int) -> None:
    """Refuse a prompt that is too long: backends cut it from the left and only log it."""
    room, length = backend.max_prompt_tokens(max_new_tokens), backend.length(text)
    if room is not None and length is not None and length > room:
        raise PrlmBenchError(
            f"the prompt of question {prompt.example.id} has {length} tokens, and the model has room for {room} "
            f"beside {max_new_tokens} new ones",
            "a smaller max_length of the reasoner or max_new_tokens",
        )
