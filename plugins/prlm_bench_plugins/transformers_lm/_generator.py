"""The `transformers` generator."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property, lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from prlm_bench import Completion, Prompt
from prlm_bench.errors import PrlmBenchError
from prlm_bench.interfaces import Activity, Context, SameResults
from prlm_bench.prompting import HubTokenizer

from .._hf import (
    CHAT_DATE,
    Dtype,
    chat_date,
    chat_text,
    choose_device,
    decode_answer,
    encode_prompts,
    template_tokens,
    turns,
)
from ._batching import Together
from ._decoding import Decoding
from ._files import find_adapter, find_model
from ._loading import LoadedModel, LoadSettings, Quantization, cached_tokenizer, load_generation_model, ordinary_tokens
from ._precision import batch_words

if TYPE_CHECKING:
    from ._static_engine import StaticEngine

#: Prompts of a stream that are encoded at a time.
_WINDOW = 256


#: A prompt, what the model reads, and how many tokens that is.
_Asked = tuple[Prompt, str, int]


class TransformersGenerator:
    """Any causal or encoder-decoder model that transformers can load.

    The model is loaded when it is first needed; its files are checked before. A turn of a chat goes
    into the model's chat template; where it has none, the model reads the turn as plain text.

    Args:
        model: a folder, or a name on the hub.
        max_new_tokens: an answer's tokens at most.
        temperature: 0 writes the most likely token each time; above 0, draws depend on prompt and seed alone.
        top_p: draw from the most likely tokens that have this share of the probability together.
        num_beams: beams of a beam search.
        dtype: of the weights; `auto` is that of the file.
        device: `cpu`, `cuda`, `cuda:1`, `mps`; by default a GPU if there is one.
        device_map: `auto` spreads the model over all devices (accelerate).
        adapter: a folder with a LoRA adapter (peft).
        quantization: `8bit` or `4bit` (bitsandbytes).
        revision: branch, tag or commit on the hub.
        trust_remote_code: run the model's own Python files.
        allow_pickle: read weights that are not safetensors, which can run code too.
        draw: for sampling: another number draws another completion of the same prompt.
        batch_tokens: tokens of a batch at most, padding and new tokens included; the static engine fills a GPU instead.
        overflow: what happens to a prompt that is too long for the model's window: `error` stops the run;
            `cut-items` has reasoners show less of the items, and stops where the question alone is too long.
        date: what the chat template prints as today's date, as YYYY-MM-DD.
        enable_thinking: argument of the chat templates of some reasoning models.
        chat_template_args: more arguments of the chat template, as JSON.
        batching: `padded`, `same-length`, `single`: which prompts go through the model together; `auto` tries it once
            for each checkpoint and takes the fastest way that writes what `generate()` writes.
        engine: `static` decodes by CUDA graphs, and `ordinary` as before; `auto` takes `static` on an NVIDIA GPU for
            models that it writes the same for (see the guide on GPUs).
        rows: prompts that the static engine answers at the same time at most; by default 512 on a GPU, if they fit.

    Raises:
        ValueError: options that do not go together.
        PrlmBenchError: there is no such model, device or adapter, or it cannot be used.
    """

    def __init__(
        self,
        context: Context,
        model: str,
        max_new_tokens: int = 128,
        temperature: float = 0.0,
        top_p: float = 1.0,
        num_beams: int = 1,
        dtype: Dtype = "auto",
        device: str | None = None,
        device_map: str | None = None,
        adapter: str | None = None,
        quantization: Quantization | None = None,
        revision: str | None = None,
        trust_remote_code: bool = False,
        allow_pickle: bool = False,
        draw: int = 0,
        batch_tokens: int = 16384,
        overflow: Literal["error", "cut-items"] = "error",
        date: str = CHAT_DATE,
        enable_thinking: bool | None = None,
        chat_template_args: dict[str, Any] | None = None,
        batching: Together | Literal["auto"] = "auto",
        engine: Annotated[Literal["auto", "static", "ordinary"], SameResults] = "auto",
        rows: Annotated[int | None, SameResults] = None,
    ) -> None:
        if min(max_new_tokens, num_beams, batch_tokens, 1 if rows is None else rows) < 1:
            raise ValueError("max_new_tokens, num_beams, batch_tokens and rows are at least 1")
        if temperature < 0 or not 0 < top_p <= 1 or (temperature == 0 and top_p < 1):
            raise ValueError("temperature is at least 0, and top_p, for sampling only, above 0 and at most 1")
        if num_beams > 1 and temperature > 0:
            raise ValueError("a beam search does not sample: num_beams=1 or temperature=0")
        if device is not None and device_map is not None:
            raise ValueError("give device or device_map, not both")
        self._files = find_model(model, revision, code=trust_remote_code, pickle=allow_pickle)
        _require("peft", "adapter", adapter)
        _require("bitsandbytes", "quantization", quantization)
        self._adapter = None if adapter is None else find_adapter(adapter)
        device = device_map or choose_device(device)
        self._settings = LoadSettings(
            dtype, device, device_map, self._adapter, quantization, trust_remote_code, allow_pickle, batching
        )
        self._date = chat_date(date)
        thinking = {} if enable_thinking is None else {"enable_thinking": enable_thinking}
        self._rendering = json.dumps([self._date, {**(chat_template_args or {}), **thinking}])
        seed = f"{context.seed}/{draw}" if draw else str(context.seed)
        self._decoding = Decoding(max_new_tokens, temperature, top_p, num_beams, seed)
        self._batch_tokens, self._cut_items = batch_tokens, overflow == "cut-items"
        self._cache_dir = context.cache_dir
        self._wanted, self._rows = engine, rows
        #: Used last, if it is the static one.
        self._engine: StaticEngine | None = None
        if self._prompt_budget is not None and self._prompt_budget < 1:
            raise ValueError(f"max_new_tokens={max_new_tokens} fills the model's window of {self._files.window} tokens")

    def fingerprint(self) -> str:
        """Hashes of the files, the device, the libraries' versions; date and seed if they are used."""
        packages = ["torch", "transformers", "tokenizers"]
        packages += ["peft"] if self._adapter else []
        packages += ["bitsandbytes"] if self._settings.quantization else []
        device = self._settings.device.partition(":")[0]
        parts = [f"files={self._digest}", f"device={device}"]
        parts += [f"{name}={version(name)}" for name in packages]
        if any(
            files is not None and "strftime_now" in (files.template or "") for files in (self._files, self._adapter)
        ):
            parts.append(f"date={self._date}")
        if self._decoding.temperature > 0:
            parts.append(f"seed={self._decoding.seed}")
        parts += batch_words(self._files, self._settings.dtype, self._settings.quantization)
        return " ".join(parts)

    @property
    def tokenizer(self) -> HubTokenizer:
        """The model's own."""
        own = self._adapter is not None and self._adapter.has_tokenizer
        return _counting_tokenizer((self._adapter if own and self._adapter else self._files).folder, self._digest)

    @cached_property
    def max_prompt_tokens(self) -> int | None:
        """Tokens of a prompt that reasoners may use, with overflow=cut-items; None sets no limit.

        Counted as reasoners count, that is, without the chat template.
        """
        if not self._cut_items or self._prompt_budget is None:
            return None
        return max(1, self._prompt_budget - template_tokens(self._hf_tokenizer, self._files.label))

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        """Answer prompts, longest first; answers come as they are finished.

        Raises:
            PrlmBenchError: a prompt is too long, the model cannot be loaded, or memory ran out.
        """
        yield from self._answers(iter(prompts), max(1, len(prompts)))

    def stream(self, prompts: Iterator[Prompt]) -> Iterator[tuple[int, Completion]]:
        """Answer prompts, which are drawn as there is room; answers come as they are finished.

        Raises:
            PrlmBenchError: a prompt is too long, the model cannot be loaded, or memory ran out.
        """
        yield from self._answers(prompts, _WINDOW)

    def activity(self) -> Activity:
        """The rows that the static engine is writing, and how busy the GPU is where nvidia-ml-py is installed."""
        busy = None
        if self._settings.device.startswith("cuda") and "torch" in sys.modules:
            cuda: Any = sys.modules["torch"].cuda
            with suppress(Exception):  # without the package, and from drivers that do not tell
                busy = cuda.utilization(int(self._settings.device.partition(":")[2] or 0)) / 100
        return Activity(None if self._engine is None else self._engine.active, busy)

    def _answers(self, prompts: Iterator[Prompt], window: int) -> Iterator[tuple[int, Completion]]:
        """Answers to prompts that are encoded `window` at a time."""
        asked: dict[int, _Asked] = {}
        windows = self._encoded(prompts, window, asked)
        first = next(windows, None)
        if first is None:
            return
        tokenizer, label = self._hf_tokenizer, self._files.label
        loaded = load_generation_model(self._files, self._loading, tokenizer, self._settings, self._cache_dir)
        from ._answers import answers

        self._engine = self._choose_engine(loaded)
        budget = self._batch_tokens
        for output in answers(loaded, chain([first], windows), self._decoding, budget, self._engine, label):
            prompt, text, read = asked.pop(output.index)
            answer = decode_answer(tokenizer, output.ids, text if prompt.chat else "")
            finish = "stop" if output.ended else "length"
            yield output.index, Completion(answer, finish=finish, tokens=len(output.ids), prompt_tokens=read)

    def _encoded(
        self, prompts: Iterator[Prompt], window: int, asked: dict[int, _Asked]
    ) -> Iterator[list[tuple[str, list[int]]]]:
        """Texts and token ids of prompts, window by window; what is asked is added to `asked` by its number."""
        start = 0
        while some := list(islice(prompts, window)):
            chats = [turns(prompt) for prompt in some]
            ids = encode_prompts(self._hf_tokenizer, chats, self._files.label)
            self._check_lengths(some, ids)
            texts = [chat_text(self._hf_tokenizer, chat, self._files.label) for chat in chats]
            asked |= enumerate(zip(some, texts, map(len, ids), strict=True), start)
            start += len(some)
            yield list(zip(texts, ids, strict=True))

    def _choose_engine(self, loaded: LoadedModel) -> StaticEngine | None:
        from ._static_check import bears_static, choose_engine

        files, folder = self._files, self._cache_dir

        def bears() -> bool:
            tokens = ordinary_tokens(loaded.model, self._hf_tokenizer)
            return bears_static(loaded, files.label, f"{self._loading} {self._settings}", folder, tokens)

        rows, tokens = self._rows, self._batch_tokens
        return choose_engine(loaded, self._decoding, self._wanted, bears, files.label, rows=rows, tokens=tokens)

    @property
    def _hf_tokenizer(self) -> Any:
        return cached_tokenizer(self._files, self._adapter, self._digest, self._settings.code, self._rendering)

    @property
    def _loading(self) -> str:
        """What identifies a loaded model."""
        names = ("torch", "transformers", *(["peft"] if self._adapter else []))
        return " ".join([self._digest, *(f"{name}={version(name)}" for name in names)])

    @cached_property
    def _digest(self) -> str:
        digests = [files.digest(self._cache_dir) for files in (self._files, self._adapter) if files is not None]
        return "+".join(digests)

    @property
    def _prompt_budget(self) -> int | None:
        """Tokens that a prompt may have; an encoder has its window for itself."""
        window = self._files.window
        return window if window is None or self._files.is_encoder_decoder else window - self._decoding.max_new_tokens

    def _check_lengths(self, prompts: Sequence[Prompt], ids: Sequence[Sequence[int]]) -> None:
        if self._prompt_budget is None:
            return
        for prompt, row in zip(prompts, ids, strict=True):
            if len(row) > self._prompt_budget:
                message = (
                    f"the prompt of question {prompt.example.id} has {len(row)} tokens, and the window of "
                    f"{self._files.name!r} has room for {self._prompt_budget} ({self._files.window} in all)"
                )
                hint = "a smaller max_length of the reasoner or max_new_tokens"
                raise PrlmBenchError(message, hint if self._cut_items else f"{hint}, or overflow=cut-items")


def _require(package: str, option: str, value: str | None) -> None:
    if value is not None and find_spec(package) is None:
        raise PrlmBenchError(f"{option}={value} needs the package {package}", f"pip install {package}")


@lru_cache(maxsize=8)
def _counting_tokenizer(folder: Path, digest: str) -> HubTokenizer:
    return HubTokenizer(str(folder))
