"""The generator `openai-api`: a model behind an OpenAI-compatible server."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from prlm_bench import Completion, Prompt
from prlm_bench.errors import RunError
from prlm_bench.interfaces import NOT_VERIFIED, Context, SameResults, Tokenizer
from prlm_bench.prompting import load_tokenizer, stop_texts

from .._hf import Chat, turns
from .._samples import gathered, require_sampling
from ._server import Server, read_key, read_url

_CHAT, _PLAIN = "/chat/completions", "/completions"
#: What the values of the option `endpoint` are called now.
_ENDPOINTS = {"auto": "by-protocol", "chat": "always", "completions": "never"}
#: Bytes that a reply may have, and as many more for each token that may be generated: far more than any token has.
_REPLY_BYTES, _TOKEN_BYTES = 4 << 20, 1 << 10
#: What the seed of a prompt's next sample is higher by.
_NEXT_SAMPLE = 1_000_003
#: Fields of a request that `extra` must not contain.
_OURS = frozenset(
    {"model", "messages", "prompt", "stream", "n", "max_tokens", "max_completion_tokens", "temperature"}
) | {"top_p", "seed", "stop", "chat_template_kwargs"}
#: Completions after which the server is asked again which model it serves.
_CHECK_EVERY = 128
_log = logging.getLogger(__name__)


class OpenAIServer:
    """Queries an OpenAI-compatible server with several requests at a time, and retries those that may succeed later.

    The key is read from the environment and masked in everything that is stored or shown.

    `concurrency`, `timeout`, `max_retries`, `api_key_env` and the prices cannot change an answer and are not part of
    the generator's identity: other values reuse completions and rows instead of paying for them again. A
    completion's cost is thus its cost when it was generated: stored and cached ones keep it (None if no price was
    given then) after the prices change. Each sample has both token counts, from which the cost at other prices
    follows: `(generator_prompt_tokens * price_in + completion_tokens * price_out) / 1e6`.

    Args:
        model: the model's name on the server.
        base_url: the part of the address before `/chat/completions`, such as http://localhost:8000/v1; by
            default the value of OPENAI_BASE_URL.
        chat: `auto` and `always` send each prompt as a user's turn to /chat/completions; `never` sends the text as it
            is to /completions, for servers and models that have nothing else; `by-protocol` sends turns of a chat to
            the first and LaMP's own prompts to the second.
        system: a system prompt; before a plain completion, a paragraph of its own.
        max_tokens: maximum length of a completion in tokens.
        temperature: 0 is greedy; `none` leaves it to the server.
        top_p: nucleus sampling; by default left to the server.
        seed: sent with each request; by default the run's seed when the temperature is above 0.
        stop: texts that end a completion, joined by `+`; `\\n`, `\\t` and `\\\\` stand for line break,
            tab and backslash.
        concurrency: maximum number of simultaneous requests, in each process of a run.
        timeout: seconds for one attempt, from connecting to the last byte.
        max_retries: maximum number of further attempts after one that failed for a passing reason.
        max_reply: MiB that a reply may have after unpacking; by default 4, and 1 KiB for each token of `max_tokens`.
        api_key_env: the environment variable that holds the key.
        price_in: price of a million prompt tokens, in any currency.
        price_out: price of a million generated tokens, in the same currency.
        limit_key: the server's name for `max_tokens`.
        tokenizer: sets prompt budgets: `words`, a folder or a hub name; by default left to the reasoner.
        template: arguments of the server's chat template as JSON, such as {"enable_thinking": false}; sent as
            `chat_template_kwargs` with chat prompts.
        extra: further fields of each request as JSON, such as {"reasoning_effort": "low"}.
        refused: what becomes of a prompt that the server's content filter refuses: `error` ends the row, `empty`
            counts it as an empty answer, which is marked as refused.
        endpoint: the earlier name of `chat`, refused with the value to write now.
    """

    def __init__(
        self,
        context: Context,
        model: str,
        base_url: str | None = None,
        chat: Chat = "auto",
        system: str | None = None,
        max_tokens: int = 256,
        temperature: float | None = 0.0,
        top_p: float | None = None,
        seed: int | None = None,
        stop: list[str] | None = None,
        concurrency: Annotated[int, SameResults] = 8,
        timeout: Annotated[float, SameResults] = 120.0,
        max_retries: Annotated[int, SameResults] = 8,
        max_reply: Annotated[float | None, SameResults] = None,
        api_key_env: Annotated[str, SameResults] = "OPENAI_API_KEY",
        price_in: Annotated[float | None, SameResults] = None,
        price_out: Annotated[float | None, SameResults] = None,
        limit_key: Literal["max_tokens", "max_completion_tokens"] = "max_tokens",
        tokenizer: str | None = None,
        template: dict[str, Any] | None = None,
        extra: dict[str, Any] | None = None,
        refused: Literal["error", "empty"] = "error",
        endpoint: str | None = None,
    ) -> None:
        # First, because other errors show the whole spec, and an address may contain a password.
        url, key = read_url(base_url), read_key(api_key_env)
        if endpoint is not None:
            now = _ENDPOINTS.get(endpoint, "auto")
            raise ValueError(f"endpoint={endpoint} is now chat={now}")
        if min(max_tokens, concurrency) < 1 or timeout <= 0 or max_retries < 0:
            raise ValueError("max_tokens and concurrency must be at least 1, timeout above 0, max_retries at least 0")
        if reserved := sorted(_OURS & (extra or {}).keys()):
            raise ValueError(f"extra must not contain {reserved[0]}, which has an option or is sent by prlm-bench")
        if max_reply is not None and not 0 < max_reply < 2**20:
            raise ValueError("max_reply must be above 0, and below 2**20")
        largest = _REPLY_BYTES + _TOKEN_BYTES * max_tokens if max_reply is None else int(max_reply * 2**20)
        self._server = Server(
            url, model, key, api_key_env, concurrency, timeout, max_retries, max_reply_bytes=largest, refused=refused
        )
        self._chat, self._system, self._template, self._extra = chat, system, template, extra or {}
        sampled = temperature is None or temperature > 0
        seed = context.seed if seed is None and sampled else seed
        given = {"temperature": temperature, "top_p": top_p, "seed": seed, "stop": stop_texts(stop) or None}
        self._sampling = {"model": model, limit_key: max_tokens} | {k: v for k, v in given.items() if v is not None}
        self._prices = None if price_in is None and price_out is None else (price_in or 0.0, price_out or 0.0)
        self._tokenizer = load_tokenizer(tokenizer) if tokenizer else None
        self._identity = self._report = ""
        #: Reasons to finish that are not known and were named in a warning.
        self._named: set[str] = set()

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer that the option names, if any."""
        return self._tokenizer

    def fingerprint(self) -> str:
        """The model's name, the server's address, what the server reports about the model, and the seed in use.

        It says `model not verified` if the server reports nothing that tells the model from another of this name.

        Raises:
            RunError: the server cannot be reached, rejects the key, or sends a web page.
        """
        if not self._identity:
            from ._served import query_model

            self._report, self._server = query_model(self._server)
            parts = [f"model={self._server.model}", f"server={self._server.address}", f"reported={self._report}"]
            if "seed" in self._sampling:
                parts.append(f"seed={self._sampling['seed']}")
            if self._tokenizer is not None:
                parts.append(f"tokenizer={self._tokenizer.fingerprint()}")
            self._identity = "; ".join(parts)
        return self._identity

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        """Yield completions as they arrive; see `stream`."""
        return self.stream(iter(prompts))

    def stream(self, prompts: Iterator[Prompt]) -> Iterator[tuple[int, Completion]]:
        """Yield completions as they arrive, drawing prompts so that `concurrency` requests are always in flight.

        Raises:
            RunError: a request failed for good, or the server serves another model by now than when the fingerprint
                was taken; completions that arrived before were yielded.
        """
        for index, _, completion in self._write(prompts, [{}]):
            yield index, completion

    def sample(self, prompts: Sequence[Prompt], n: int) -> Iterator[tuple[int, list[Completion]]]:
        """Draw n completions of each prompt, each with a request and a seed of its own.

        Sample j has the generator's seed plus 1000003 * j, so that the samples of runs with small seeds differ too.

        Raises:
            PrlmBenchError: the temperature is 0, or as for `generate`.
        """
        seed: Any = self._sampling.get("seed")
        require_sampling(n, self._sampling.get("temperature"), "temperature=0 asks for")
        fields = [{} if seed is None else {"seed": seed + _NEXT_SAMPLE * number} for number in range(n)]
        yield from gathered(self._write(iter(prompts), fields), n)

    def render(self, prompt: Prompt) -> str:
        """The request's content as JSON; the server's own chat template is not known here."""
        path, content = self._payload(prompt)
        return json.dumps({"POST": path, **content}, ensure_ascii=False, indent=2)

    def _write(
        self, prompts: Iterator[Prompt], variants: Sequence[dict[str, Any]]
    ) -> Iterator[tuple[int, int, Completion]]:
        """Index of a prompt, number of a variant (further fields of the request), and the completion."""
        from ._client import Request, send_all
        from ._replies import read_completion

        def read(request: Request, body: bytes) -> Completion:
            url = self._server.url + request.path
            chat = request.path == _CHAT
            return self._named_finish(read_completion(body, chat, self._server, url, request.question, self._prices))

        requests = (
            Request("POST", path, {**content, **fields}, prompt.example.id)
            for prompt in prompts
            for path, content in [self._payload(prompt)]
            for fields in variants
        )
        arrived = 0
        for arrived, (number, completion) in enumerate(send_all(self._server, requests, read), 1):
            yield *divmod(number, len(variants)), completion
            if arrived % _CHECK_EVERY == 0:
                self._check_model()
        if arrived % _CHECK_EVERY:
            self._check_model()

    def _check_model(self) -> None:
        """Check that the server still serves the model of the fingerprint, if it says which."""
        from ._served import query_model

        if not self._report or NOT_VERIFIED in self._report:
            return
        try:
            report, _ = query_model(self._server)
        except RunError:  # the answers are there, and nothing speaks against them
            return
        if report != self._report and NOT_VERIFIED not in report:
            what = f"the server at {self._server.address} serves another model than when the run was planned"
            raise RunError(what, "run again: the other model has a row of its own")

    def _named_finish(self, completion: Completion) -> Completion:
        """Name an unknown reason to finish, once; its answer counts as whole."""
        from ._replies import is_known

        finish = completion.finish
        if not is_known(finish) and finish not in self._named:
            self._named.add(str(finish))
            text = "prlm-bench: warning: %s: finish_reason %r is not known; such answers count as whole"
            _log.warning(text, self._server.address, finish)
        return completion

    def _payload(self, prompt: Prompt) -> tuple[str, dict[str, Any]]:
        """Path and content of the request."""
        fields = {**self._extra, **self._sampling}
        turn = turns(prompt, self._chat)
        if not isinstance(turn, str):
            if self._template is not None:
                fields["chat_template_kwargs"] = self._template
            return _CHAT, {**fields, "messages": _with_system(self._system, turn)}
        text = f"{self._system}\n\n{prompt.text}" if self._system else prompt.text
        return _PLAIN, {**fields, "prompt": text}


def _with_system(system: str | None, turn: list[dict[str, str]]) -> list[dict[str, str]]:
    """The turns behind the option `system`, in one turn with that of the prompt: many templates take no second one."""
    if not system:
        return turn
    own = [each["content"] for each in turn[:1] if each["role"] == "system"]
    return [{"role": "system", "content": "\n\n".join([system, *own])}, *turn[len(own) :]]
