"""Loads a model with xllamacpp, and asks it: llama.cpp's server, in this process.

Tokenizing alone goes through its HTTP: the server listens on this machine, on a free port and with a secret key.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import signal
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import httpx
import orjson

from prlm_bench.errors import RunError
from prlm_bench.files import parse_record

from .._hf import ModelError
from ._files import GgufFile, check_memory

#: Signals whose handlers llama.cpp replaces by its own, which end its server and not the command.
_TAKEN = (signal.SIGINT, signal.SIGTERM)
#: Bytes that hold any system's `struct sigaction`.
_SIGACTION = 512
#: llama.cpp rounds the tokens of a slot up to a multiple.
_STEP = 256
#: A bias that makes a token the most likely one, and the logarithm of the smallest float: llama.cpp gives the lowest
#: number there is for probabilities below it.
_FORCED, _LOWEST = 1e9, -103.3
#: Draws as transformers does: no other filters, and the temperature before `top_p`.
_SAMPLING: Mapping[str, Any] = {"samplers": ["temperature", "top_p"], "top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0}


@dataclass(frozen=True)
class LoadSettings:
    """How a model is loaded; generators with equal settings share it."""

    path: Path
    #: SHA-256 of the file.
    digest: str
    #: Tokens of a prompt and its answer together.
    window: int
    #: Prompts that are answered at the same time.
    slots: int
    threads: int
    #: Layers on a GPU: -1 as many as fit.
    gpu_layers: int = -1
    flash_attention: str = "auto"


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model wrote."""

    text: str
    finish: str
    tokens: int


@dataclass
class LlamaModel:
    """A loaded model.

    Args:
        server: of xllamacpp.
        http: a client of the same server.
        label: the model, for messages.
        free: numbers of the slots that answer nothing.
        slots: how many there are.
        vocabulary: how many tokens there are.
        end: a token that is a whole text.
    """

    server: Any
    http: httpx.Client
    label: str
    slots: int
    vocabulary: int
    end: int
    free: SimpleQueue[int] = field(default_factory=SimpleQueue)

    def __post_init__(self) -> None:
        for number in range(self.slots):
            self.free.put(number)

    @property
    def busy(self) -> int:
        """Slots that answer a prompt."""
        return self.slots - self.free.qsize()

    def tokenize(self, text: str, special: bool) -> list[int]:
        """Token ids of a text, in which special tokens are read as such.

        Args:
            text: to tokenize; lone surrogates are read as question marks.
            special: add what the model's vocabulary adds around a text, such as its first token.
        """
        content = text.encode("utf-8", "replace").decode()
        ids: list[int] = self._post("/tokenize", content=content, add_special=special, parse_special=True)["tokens"]
        return ids

    def detokenize(self, ids: Sequence[int]) -> str:
        """The text of tokens."""
        return str(self._post("/detokenize", tokens=list(ids))["content"])

    def _post(self, path: str, **content: Any) -> Any:
        try:
            reply = self.http.post(path, content=orjson.dumps(content))
            reply.raise_for_status()
        except httpx.HTTPError as error:
            raise RunError(f"llama.cpp cannot tokenize for {self.label}: {error}") from None
        return parse_record(reply.content, dict[str, Any], f"llama.cpp's reply for {self.label}", error=RunError)

    @contextmanager
    def slot(self) -> Iterator[int]:
        """A slot of one's own; what follows in it is read from where it differs from what came before."""
        number = self.free.get()
        try:
            yield number
        finally:
            self.free.put(number)

    def write(self, slot: int, ids: Sequence[int], fields: Mapping[str, Any], stop: threading.Event) -> Reply:
        """Continue a prompt.

        Args:
            slot: see `slot`.
            ids: of the prompt, at least one.
            fields: of llama.cpp's request.
            stop: once set, what was written so far is returned.

        Raises:
            RunError: llama.cpp refuses the request.
        """
        request = {"prompt": list(ids), "id_slot": slot, "cache_prompt": True, "stream": True, **_SAMPLING, **fields}
        chunks: list[bytes] = []

        def take(chunk: bytes) -> bool:
            chunks.append(chunk)
            return stop.is_set()  # True has llama.cpp leave the request

        request["stream_options"] = {"include_usage": True}
        self.server.handle_completions(orjson.dumps(request), take)
        return self._read(chunks)

    def _read(self, chunks: Sequence[bytes]) -> Reply:
        text, finish, tokens = [], "stop", 0
        for chunk in map(orjson.loads, chunks):
            for choice in self._choices(chunk):
                text.append(choice["text"])
                finish = choice["finish_reason"] or finish
            tokens = (chunk.get("usage") or {}).get("completion_tokens", tokens)
        return Reply("".join(text), finish, tokens)

    def _choices(self, reply: Mapping[str, Any]) -> list[dict[str, Any]]:
        error = reply.get("error") or (reply if "choices" not in reply else None)
        if error:
            reason = " ".join(str(error.get("message", error)).split())[:300]
            raise RunError(f"llama.cpp cannot answer with {self.label}: {reason}")
        choices: list[dict[str, Any]] = reply["choices"]
        return choices

    def score(self, slot: int, prompt: Sequence[int], ids: Sequence[int], stop: threading.Event) -> float:
        """The natural log-probability of tokens after a prompt, as a sum; 0 for none.

        A token whose probability no float holds counts with that of the smallest float, -103.3.

        Args:
            slot: see `slot`.
            prompt: token ids, at least one.
            ids: of the tokens.
            stop: once set, the result is not needed.

        Raises:
            RunError: llama.cpp refuses the request.
        """
        read, total = list(prompt), 0.0
        for number in ids:
            if stop.is_set():
                break
            # Scores are those before the bias, which has the token written.
            found = self._next(slot, read, {"n_probs": 1, "logit_bias": [[number, _FORCED]]})
            # None comes with a token that ends inside a character.
            score = found[0]["logprob"] if found else self.next_scores(slot, read)[number]
            total += max(score, _LOWEST)
            read.append(number)
        return total

    def next_scores(self, slot: int, ids: Sequence[int]) -> dict[int, float]:
        """The natural log-probability of each token of the vocabulary after others; takes a while."""
        fields = {"n_probs": self.vocabulary, "logit_bias": [[self.end, _FORCED]]}
        return {token["id"]: token["logprob"] for token in self._next(slot, ids, fields)[0]["top_logprobs"]}

    def _next(self, slot: int, ids: Sequence[int], fields: Mapping[str, Any]) -> list[dict[str, Any]]:
        request = {"prompt": list(ids), "id_slot": slot, "cache_prompt": True, "max_tokens": 1, "temperature": 0.0}
        (choice,) = self._choices(self.server.handle_completions({**request, **fields}))
        return (choice.get("logprobs") or {}).get("content") or []


_loading = threading.Lock()


def load_model(file: GgufFile, settings: LoadSettings) -> LlamaModel:
    """The model, loaded once for all generators with equal settings.

    Raises:
        ModelError: llama.cpp cannot load it, or this machine's memory is too small.
    """
    with _loading:
        return _load(file, settings)


@lru_cache(maxsize=2)
def _load(file: GgufFile, settings: LoadSettings) -> LlamaModel:
    import xllamacpp

    check_memory(file, settings.window, settings.slots)
    key = secrets.token_urlsafe()
    try:
        with _own_signals():
            server = xllamacpp.Server(_parameters(xllamacpp, settings, key))
    except RuntimeError:
        name = file.header.architecture
        message = f"llama.cpp cannot load {file.label}, whose architecture is {name!r}"
        hint = f"xllamacpp {xllamacpp.__version__} may not know it, or memory ran out: a smaller window or slots"
        raise ModelError(message, hint) from None
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    http = httpx.Client(base_url=server.listening_address, headers=headers, trust_env=False, timeout=60)
    model = LlamaModel(server, http, file.label, settings.slots, file.vocabulary, file.token_id("eos") or 0)
    weakref.finalize(model, http.close)
    return model


def _parameters(xllamacpp: Any, settings: LoadSettings, key: str) -> Any:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(settings.path)
    parameters.n_parallel = settings.slots
    parameters.n_ctx = settings.slots * -(-settings.window // _STEP) * _STEP
    parameters.n_gpu_layers = settings.gpu_layers
    parameters.flash_attn_type = getattr(
        xllamacpp.llama_flash_attn_type, f"LLAMA_FLASH_ATTN_TYPE_{_FLASH[settings.flash_attention]}"
    )
    for threads in (parameters.cpuparams, parameters.cpuparams_batch):
        # Threads that poll for work slow a shared machine down.
        threads.n_threads, threads.poll = settings.threads, 0
    parameters.hostnames, parameters.port, parameters.api_keys = ["127.0.0.1"], 0, [key]
    parameters.ui = parameters.endpoint_slots = False
    # Chats are rendered before; one that llama.cpp cannot read would keep the model from loading.
    parameters.chat_template = "chatml"
    # Silent; and nothing is changed to fit into memory, or kept of prompts that have left their slot.
    parameters.verbosity = -1
    parameters.fit_params = parameters.warmup = parameters.cache_idle_slots = False
    parameters.cache_ram_mib = 0
    return parameters


_FLASH = {"auto": "AUTO", "on": "ENABLED", "off": "DISABLED"}


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep the handlers of signals; they are those of the process, which Python sets in its main thread alone."""
    if os.name != "posix":
        yield
        return
    system = ctypes.CDLL(None)
    before = {number: ctypes.create_string_buffer(_SIGACTION) for number in _TAKEN}
    for number, action in before.items():
        system.sigaction(int(number), None, action)
    try:
        yield
    finally:
        for number, action in before.items():
            system.sigaction(int(number), action, None)
