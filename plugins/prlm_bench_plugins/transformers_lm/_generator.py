"""The `transformers` generator."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property, lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from prlm_bench import Completion, Prompt
from prlm_bench.errors import MissingDependencyError, PrlmBenchError
from prlm_bench.interfaces import Activity, AlsoCalled, Context, SameResults
from prlm_bench.profiling import timed, timed_each
from prlm_bench.prompting import HubTokenizer

from .._hf import (
    CHAT_DATE,
    Chat,
    Dtype,
    chat_date,
    choose_device,
    decode_answer,
    require_template,
    stated_settings,
    template_tokens,
)
from .._samples import gathered, require_sampling
from ._batching import Together
from ._decoding import Decoding
from ._dtype import identity_of, resolved_dtype
from ._encoding import PromptEncoder
from ._files import find_adapter, find_model
from ._loading import LoadedModel, LoadSettings, Quantization, cached_tokenizer, load_generation_model, ordinary_tokens

if TYPE_CHECKING:
    from ._answers import Constrain
    from ._static_engine import StaticEngine

#: Prompts of a stream that are encoded at a time.
_WINDOW = 256


class TransformersGenerator:
    """Any causal or encoder-decoder model that transformers can load.

    The model is loaded when it is first needed; its files are checked before.

    Args:
        model: a folder, a GGUF file, a name on the hub, or `smollm2`.
        max_new_tokens: an answer's tokens at most.
        temperature: 0 writes the most likely token each time; above 0, draws depend on prompt and seed alone.
        top_p: draw from the most likely tokens that have this share of the probability together.
        num_beams: beams of a beam search.
        dtype: of the weights; `auto` is that of the file on a GPU, and float32 on a CPU but where the file is stored in
            bfloat16 and the processor has it.
        device: `cpu`, `cuda`, `cuda:1`, `mps`; by default a GPU if there is one.
        device_map: `auto` spreads the model over all devices (accelerate).
        adapter: a folder with a LoRA adapter (peft).
        quantization: `8bit` or `4bit` (bitsandbytes).
        revision: branch, tag or commit on the hub.
        trust_remote_code: run the model's own Python files.
        allow_pickle: read weights that are not safetensors, which can run code too.
        constrain: `object` leaves nothing possible but the answer object that a prompt asks for (llguidance): one of
            the task's labels, or any text of one line without braces; reasoning before it is free until it is closed.
        draw: for sampling: another number draws another completion of the same prompt.
        batch_tokens: tokens of a batch at most, padding and new tokens included; the static engine fills a GPU instead.
        overflow: what happens to a prompt that is too long for the model's window: `error` stops the run;
            `cut-items` has reasoners show less of the items, and stops where the question alone is too long.
        chat: `auto` reads each prompt as a user's turn where the checkpoint has a chat template, and as plain text
            where it has none; `always` refuses a checkpoint without one; `never` reads the text as it is; `by-protocol`
            reads turns of a chat in the template and LaMP's own prompts as plain text.
        date: what the chat template prints as today's date, as YYYY-MM-DD.
        enable_thinking: argument of the chat templates of some reasoning models.
        chat_template_args: more arguments of the chat template, as JSON.
        max_input: the end of prompts with more tokens is cut off, as LaMP's code does; only with `chat=never`.
        batching: `padded`, `same-length`, `single`: which prompts go through the model together; `auto` tries it once
            for each checkpoint and takes the fastest way that writes what `generate()` writes.
        gguf_file: name of a GGUF file in the folder or repository that `model` names.
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
        model: Annotated[str, AlsoCalled("pretrained")],
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
        constrain: Literal["object"] | None = None,
        draw: int = 0,
        batch_tokens: int = 16384,
        overflow: Literal["error", "cut-items"] = "error",
        chat: Chat = "auto",
        date: str = CHAT_DATE,
        enable_thinking: bool | None = None,
        chat_template_args: dict[str, Any] | None = None,
        batching: Together | Literal["auto"] = "auto",
        gguf_file: str | None = None,
        max_input: int | None = None,
        engine: Annotated[Literal["auto", "static", "ordinary"], SameResults] = "auto",
        rows: Annotated[int | None, SameResults] = None,
    ) -> None:
        if min(max_new_tokens, num_beams, batch_tokens, 1 if rows is None else rows) < 1:
            raise ValueError("max_new_tokens, num_beams, batch_tokens and rows are at least 1")
        if temperature < 0 or not 0 < top_p <= 1 or (temperature == 0 and top_p < 1):
            raise ValueError("temperature is at least 0, and top_p, for sampling only, above 0 and at most 1")
        if num_beams > 1 and temperature > 0:
            raise ValueError("a beam search does not sample: num_beams=1 or temperature=0")
        if constrain is not None and engine == "static":
            raise ValueError("engine=static knows no constraints: leave engine or constrain out")
        if constrain is not None and num_beams > 1:
            raise ValueError("constrained decoding has no beams: num_beams=1, or leave constrain out")
        if max_input is not None and (chat != "never" or max_input < 1):
            raise ValueError("max_input is at least 1, and needs chat=never: a cut chat has lost its last turn's end")
        if device is not None and device_map is not None:
            raise ValueError("give device or device_map, not both")
        self._files = find_model(model, revision, code=trust_remote_code, pickle=allow_pickle, gguf_file=gguf_file)
        _require("peft", "adapter", adapter)
        _require("bitsandbytes", "quantization", quantization)
        if constrain is not None and find_spec("llguidance") is None:
            raise MissingDependencyError(f"constrain={constrain}", "llguidance", "constrain")
        self._constrain, self._task = constrain is not None, context.task
        self._adapter = None if adapter is None else find_adapter(adapter)
        device = device_map or choose_device(device)
        # Quantized weights are in the precision that bitsandbytes takes them in.
        computed = resolved_dtype(self._files, dtype, device if quantization is None else quantization)
        self._settings = LoadSettings(
            computed, device, device_map, self._adapter, quantization, trust_remote_code, allow_pickle, batching
        )
        templates = [files.template for files in (self._adapter, self._files) if files is not None]
        require_template(chat, any(templates), self._files.label)
        self._chat, self._date = chat, chat_date(date)
        thinking = {} if enable_thinking is None else {"enable_thinking": enable_thinking}
        self._rendering = json.dumps([self._date, {**(chat_template_args or {}), **thinking}])
        self._seed, self._draw = context.seed, draw
        self._decoding = Decoding(max_new_tokens, temperature, top_p, num_beams, _draw_seed(context.seed, draw))
        self._batch_tokens, self._cut_items = batch_tokens, overflow == "cut-items"
        self._cache_dir = context.cache_dir
        # A constraint follows what a row has written in Python, which no CUDA graph can.
        self._wanted, self._rows = "ordinary" if constrain else engine, rows
        #: Used last, if it is the static one.
        self._engine: StaticEngine | None = None
        self._encoder = PromptEncoder(
            self._files, lambda: self._hf_tokenizer, chat, self._prompt_budget, max_input, self._cut_items
        )
        if self._prompt_budget is not None and self._prompt_budget < 1:
            raise ValueError(f"max_new_tokens={max_new_tokens} fills the model's window of {self._files.window} tokens")

    def fingerprint(self) -> str:
        """Hashes of files, the device, versions; date, seed and the checkpoint's settings where they are used."""
        packages = ["torch", "transformers", "tokenizers"]
        packages += ["gguf"] if self._files.header else []
        packages += ["peft"] if self._adapter else []
        packages += ["bitsandbytes"] if self._settings.quantization else []
        packages += ["llguidance"] if self._constrain else []
        device = self._settings.device.partition(":")[0]
        parts = [
            f"files={self._digest}",
            f"device={device}",
            *identity_of(self._settings.dtype, bool(self._settings.quantization)),
        ]
        parts += [f"{name}={version(name)}" for name in packages]
        if any(
            files is not None and "strftime_now" in (files.template or "") for files in (self._files, self._adapter)
        ):
            parts.append(f"date={self._date}")
        # A GGUF file has no such settings, and is converted only when it is needed.
        if self._files.header is None and (settings := stated_settings(self._files.folder)):
            parts.append(f"follows {settings};")
        if self._decoding.temperature > 0:
            parts.append(f"seed={self._decoding.seed}")
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
        return max(1, self._prompt_budget - template_tokens(self._hf_tokenizer, self._files.label, self._chat))

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        """Answer prompts, longest first; answers come as they are finished.

        Raises:
            PrlmBenchError: a prompt is too long, the model cannot be loaded, or memory ran out.
        """
        for index, _, completion in self._answers(iter(prompts), max(1, len(prompts)), [None]):
            yield index, completion

    def stream(self, prompts: Iterator[Prompt]) -> Iterator[tuple[int, Completion]]:
        """Answer prompts, which are drawn as there is room; answers come as they are finished.

        Raises:
            PrlmBenchError: a prompt is too long, the model cannot be loaded, or memory ran out.
        """
        for index, _, completion in self._answers(prompts, _WINDOW, [None]):
            yield index, completion

    def sample(self, prompts: Sequence[Prompt], n: int) -> Iterator[tuple[int, list[Completion]]]:
        """Draw n completions of each prompt, which is read once for them.

        Sample j is what `generate` writes with the option `draw` raised by j.

        Raises:
            PrlmBenchError: the temperature is 0, or as for `generate`.
        """
        require_sampling(n, self._decoding.temperature, f"{self._files.label} writes")
        seeds = [_draw_seed(self._seed, self._draw + number) for number in range(n)]
        yield from gathered(self._answers(iter(prompts), max(1, len(prompts)), seeds), n)

    def continued(self, prompts: Sequence[Prompt], beginnings: Sequence[str]) -> Iterator[tuple[int, Completion]]:
        """Go on with completions that were begun; see `ContinuesCompletions`.

        Raises:
            PrlmBenchError: answers are constrained, or as for `generate`.
        """
        if self._constrain:
            raise PrlmBenchError(f"constrain={self._constrain} has no form for answers that were begun", "leave it out")
        for index, _, completion in self._answers(iter(prompts), max(1, len(prompts)), [None], beginnings):
            yield index, completion

    def loglikelihood(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]) -> list[list[float]]:
        """The log-probability of each continuation of each prompt; see `ScoresContinuations`.

        Raises:
            PrlmBenchError: a prompt is too long, the model cannot be loaded, or memory ran out.
        """
        if not prompts:
            return []
        tokenizer, label = self._hf_tokenizer, self._files.label
        texts, framed = self._encoder.texts(prompts)
        loaded = self._load()
        from ._encoding import encode_pairs
        from ._likelihood import Question, score_all, scoring_way

        apart = self._files.is_encoder_decoder
        with timed("tokenizing"):
            pairs = encode_pairs(tokenizer, texts, framed, continuations, apart)
        # The last token of a continuation is not read.
        extra = [0 if apart else max(0, max(map(len, rows), default=0) - 1) for _, rows in pairs]
        self._encoder.check_lengths(prompts, [ids for ids, _ in pairs], self._files.window, extra)
        questions = [Question(place, ids or [loaded.pad_id], rows) for place, (ids, rows) in enumerate(pairs)]
        way = scoring_way(loaded, label, lambda: ordinary_tokens(loaded.model, tokenizer))
        with timed("device"):
            found = dict(score_all(replace(loaded, batching=way), questions, self._batch_tokens))
        return [found[place] for place in range(len(prompts))]

    def render(self, prompt: Prompt) -> str:
        """What the model reads, with special tokens.

        Raises:
            PrlmBenchError: the chat template refuses the prompt.
        """
        return self._encoder.render(prompt)

    def activity(self) -> Activity:
        """The rows that the static engine is writing, and how busy the GPU is where nvidia-ml-py is installed."""
        busy = None
        if self._settings.device.startswith("cuda") and "torch" in sys.modules:
            cuda: Any = sys.modules["torch"].cuda
            with suppress(Exception):  # without the package, and from drivers that do not tell
                busy = cuda.utilization(int(self._settings.device.partition(":")[2] or 0)) / 100
        return Activity(None if self._engine is None else self._engine.active, busy)

    def _answers(
        self, prompts: Iterator[Prompt], window: int, seeds: Sequence[str | None], beginnings: Sequence[str] = ()
    ) -> Iterator[tuple[int, int, Completion]]:
        """Index of a prompt, number of a seed, and the completion with it.

        Args:
            prompts: drawn as there is room.
            window: prompts that are encoded at a time.
            seeds: of the samples of each prompt; None is the decoding's.
            beginnings: of the completions, one for each prompt if there are any.
        """
        windows = self._encoder.windows(prompts, window, seeds, beginnings)
        first = next(windows, None)
        if first is None:
            return
        loaded = self._load()
        from ._answers import answers

        self._engine = self._choose_engine(loaded)
        found = answers(
            loaded,
            chain([first], windows),
            self._decoding,
            self._batch_tokens,
            self._engine,
            self._files.label,
            self._constraint(loaded),
        )
        for one, output in timed_each("device", found):
            answer = decode_answer(self._hf_tokenizer, output.ids, one.framed)
            finish = "stop" if output.ended else "length"
            completion = Completion(answer, finish=finish, tokens=len(output.ids), prompt_tokens=len(one.ids))
            yield *divmod(output.index, len(seeds)), completion

    def _constraint(self, loaded: LoadedModel) -> Constrain | None:
        """What answers may be; None where they are free."""
        if not self._constrain:
            return None
        from ._constraint import ObjectConstraints

        made = ObjectConstraints(self._task, self._hf_tokenizer, loaded.end_ids, self._files.label)
        return lambda one: made.of(one.prompt, one.framed)

    def _choose_engine(self, loaded: LoadedModel) -> StaticEngine | None:
        from ._static_check import bears_static, choose_engine

        files, folder = self._files, self._cache_dir

        def bears() -> bool:
            tokens = ordinary_tokens(loaded.model, self._hf_tokenizer)
            return bears_static(loaded, files.label, f"{self._loading} {self._settings}", folder, tokens)

        rows, tokens = self._rows, self._batch_tokens
        return choose_engine(loaded, self._decoding, self._wanted, bears, files.label, rows=rows, tokens=tokens)

    def _load(self) -> LoadedModel:
        with timed("loading"):
            return load_generation_model(
                self._files, self._loading, self._hf_tokenizer, self._settings, self._cache_dir
            )

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


def _draw_seed(seed: int, draw: int) -> str:
    return f"{seed}/{draw}" if draw else str(seed)


def _require(package: str, option: str, value: str | None) -> None:
    if value is not None and find_spec(package) is None:
        raise PrlmBenchError(f"{option}={value} needs the package {package}", f"pip install {package}")


@lru_cache(maxsize=8)
def _counting_tokenizer(folder: Path, digest: str) -> HubTokenizer:
    with timed("loading"):
        return HubTokenizer(str(folder))
