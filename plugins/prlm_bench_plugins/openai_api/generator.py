"""A model behind an OpenAI-compatible server, as a generator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from prlm_bench import Completion, Prompt
from prlm_bench.interfaces import Context, Tokenizer
from prlm_bench.prompting import load_tokenizer

from ._server import Server, read_key, read_url


class OpenAIServer:
    """Asks an OpenAI-compatible server, several requests at a time, and retries what may succeed later.

    The key is read from the environment and kept out of everything that is written or shown.

    Args:
        model: the name under which the server has the model.
        base_url: the part of the address before `/chat/completions`, such as http://localhost:8000/v1; by
            default what OPENAI_BASE_URL holds.
        endpoint: `chat` or `completions` for every prompt; `auto` sends chat prompts (one user's turn) to
            /chat/completions and plain ones to /completions.
        system: a system prompt; before a plain completion, a paragraph of its own.
        max_tokens: length of a completion at most.
        temperature: 0 is greedy; `none` leaves it to the server.
        top_p: nucleus sampling; left to the server by default.
        seed: sent with each request; by default the run's seed when the temperature is above 0.
        stop: texts that end a completion, joined by `+`; `\\n` and `\\t` stand for line break and tab.
        concurrency: requests under way at a time, in each process of a run.
        timeout: seconds that one request may take.
        max_retries: further attempts after one that failed for a passing reason.
        api_key_env: the environment variable that holds the key.
        price_in: price of a million prompt tokens, in any currency.
        price_out: price of a million generated tokens, in the same currency.
        limit_key: the name that the server has for `max_tokens`.
        tokenizer: sets prompt budgets: `words`, a folder or a hub name; by default left to the reasoner.
    """

    def __init__(
        self,
        context: Context,
        model: str,
        base_url: str | None = None,
        endpoint: Literal["auto", "chat", "completions"] = "auto",
        system: str | None = None,
        max_tokens: int = 256,
        temperature: float | None = 0.0,
        top_p: float | None = None,
        seed: int | None = None,
        stop: list[str] | None = None,
        concurrency: int = 8,
        timeout: float = 120.0,
        max_retries: int = 8,
        api_key_env: str = "OPENAI_API_KEY",
        price_in: float | None = None,
        price_out: float | None = None,
        limit_key: Literal["max_tokens", "max_completion_tokens"] = "max_tokens",
        tokenizer: str | None = None,
    ) -> None:
        # First of all: other errors show the whole spec, and an address may hold a password.
        url, key = read_url(base_url), read_key(api_key_env)
        if min(max_tokens, concurrency) < 1 or timeout <= 0 or max_retries < 0:
            raise ValueError("max_tokens and concurrency must be at least 1, timeout above 0, max_retries at least 0")
        self._server = Server(url, model, key, api_key_env, concurrency, timeout, max_retries)
        self._endpoint, self._system = endpoint, system
        sampled = temperature is None or temperature > 0
        seed = context.seed if seed is None and sampled else seed
        given = {"temperature": temperature, "top_p": top_p, "seed": seed, "stop": _unescaped(stop)}
        self._sampling = {"model": model, limit_key: max_tokens} | {k: v for k, v in given.items() if v is not None}
        self._prices = None if price_in is None and price_out is None else (price_in or 0.0, price_out or 0.0)
        self._tokenizer = load_tokenizer(tokenizer) if tokenizer else None
        self._identity = ""

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The one that was named, if any."""
        return self._tokenizer

    def fingerprint(self) -> str:
        """The model's name, the server's address, what the server reports of the model, and the seed in use.

        Raises:
            RunError: no server answers, it refuses the key, or it is no API.
        """
        if not self._identity:
            from ._models import ask_models

            report, self._server = ask_models(self._server)
            parts = [f"model={self._server.model}", f"server={self._server.address}", f"reported={report}"]
            if "seed" in self._sampling:
                parts.append(f"seed={self._sampling['seed']}")
            if self._tokenizer is not None:
                parts.append(f"tokenizer={self._tokenizer.fingerprint()}")
            self._identity = "; ".join(parts)
        return self._identity

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        """Yield completions as they arrive.

        Raises:
            RunError: a request failed for good; what had been answered by then was yielded before.
        """
        if not prompts:
            return
        from ._replies import read_completion
        from ._stream import Request, stream

        def read(request: Request, body: bytes) -> Completion:
            return read_completion(body, request.path == _CHAT, self._server.key, self._prices)

        requests = [Request("POST", *self._payload(prompt)) for prompt in prompts]
        yield from stream(self._server, requests, read)

    def _payload(self, prompt: Prompt) -> tuple[str, dict[str, Any]]:
        """Path and content of the request."""
        if self._endpoint == "chat" or (self._endpoint == "auto" and prompt.chat):
            system = [{"role": "system", "content": self._system}] if self._system else []
            return _CHAT, {**self._sampling, "messages": [*system, {"role": "user", "content": prompt.text}]}
        text = f"{self._system}\n\n{prompt.text}" if self._system else prompt.text
        return _PLAIN, {**self._sampling, "prompt": text}


_CHAT, _PLAIN = "/chat/completions", "/completions"


def _unescaped(stop: list[str] | None) -> list[str] | None:
    return [text.replace("\\n", "\n").replace("\\t", "\t") for text in stop] if stop else None
