"""The generator `llama-cpp`."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib.metadata import version
from typing import Annotated, Any, Literal

from prlm_bench import Completion, Prompt
from prlm_bench.errors import PrlmBenchError
from prlm_bench.interfaces import NOT_BATCH_INVARIANT, Activity, Context, SameResults
from prlm_bench.prompting import open_reasoning

from .._hf import CHAT_DATE, Chat, chat_date, require_template
from .._samples import require_sampling
from ._files import find_file
from ._grammar import object_grammar
from ._model import LlamaModel, LoadSettings, Reply, load_model
from ._slots import in_slots
from ._text import Encoded, LlamaTokenizer, Texts, template_arguments

#: The window where none is given: memory for keys and values is taken when the model is loaded, for every slot.
_WINDOW = 4096
#: Seeds of llama.cpp are below this number, which asks it for a random one.
_SEEDS = 2**32 - 1


class LlamaCppGenerator:
    """A GGUF model by llama.cpp in this process, which answers several prompts at a time.

    The model is loaded when it is first needed; its file is checked before. A prompt is read from where it differs from
    the one that its slot has answered before.

    Args:
        model: a .gguf file, or `smollm2`.
        max_new_tokens: an answer's tokens at most.
        temperature: 0 writes the most likely token each time; above 0, draws depend on prompt and seed alone.
        top_p: draw from the most likely tokens that have this share of the probability together.
        window: tokens of a prompt and its answer together at most; by default the model's own, and 4096 at most.
        slots: prompts that are answered at the same time; each has memory for a whole window.
        threads: of the processor; by default OMP_NUM_THREADS, else one for each core that the process may use.
        gpu_layers: layers on a GPU, where xllamacpp was built for one; -1 for as many as fit, 0 for none.
        flash_attention: `auto`, `on` or `off`.
        chat: `auto` reads each prompt as a user's turn where the file has a chat template, and as plain text where
            not; `always` refuses a file without one; `never` reads the text as it is; `by-protocol` reads turns of a
            chat in the template and LaMP's own prompts as plain text.
        date: what the chat template prints as today's date, as YYYY-MM-DD.
        enable_thinking: argument of the chat templates of some reasoning models.
        chat_template_args: more arguments of the chat template, as JSON.
        constrain: `object` has a grammar leave nothing possible but the answer object that a prompt asks for: one of
            the task's labels, or a text. Prompts that ask for reasoning first are refused.
        draw: for sampling: another number draws another completion of the same prompt.
        overflow: what happens to a prompt that is too long for the window: `error` stops the run; `cut-items` has
            reasoners show less of the items, and stops where the question alone is too long.

    Raises:
        ValueError: options that do not go together.
        PrlmBenchError: there is no such file, or it cannot be used.
    """

    def __init__(
        self,
        context: Context,
        model: str,
        max_new_tokens: int = 128,
        temperature: float = 0.0,
        top_p: float = 1.0,
        window: int | None = None,
        slots: Annotated[int, SameResults] = 8,
        threads: Annotated[int | None, SameResults] = None,
        gpu_layers: int = -1,
        flash_attention: Literal["auto", "on", "off"] = "auto",
        chat: Chat = "auto",
        date: str = CHAT_DATE,
        enable_thinking: bool | None = None,
        chat_template_args: dict[str, Any] | None = None,
        constrain: Literal["object"] | None = None,
        draw: int = 0,
        overflow: Literal["error", "cut-items"] = "error",
    ) -> None:
        if min(max_new_tokens, slots, 1 if threads is None else threads) < 1:
            raise ValueError("max_new_tokens, slots and threads are at least 1")
        if temperature < 0 or not 0 < top_p <= 1 or (temperature == 0 and top_p < 1):
            raise ValueError("temperature is at least 0, and top_p, for sampling only, above 0 and at most 1")
        self._file = find_file(model)
        require_template(chat, self._file.header.template, self._file.label)
        self._window = _choose_window(window, self._file.header.window)
        self._room = self._window - max_new_tokens
        if self._room < 1:
            raise ValueError(f"max_new_tokens={max_new_tokens} fills the window of {self._window} tokens")
        arguments = template_arguments(enable_thinking, chat_template_args)
        self._texts = Texts(self._file, self._model, chat, chat_date(date), arguments)
        self._load = (slots, threads or _threads(), gpu_layers, flash_attention)
        self._temperature, self._seed, self._draw = temperature, context.seed, draw
        self._fields: dict[str, Any] = {"max_tokens": max_new_tokens, "temperature": temperature, "top_p": top_p}
        self._constrain, self._task = constrain is not None, context.task
        self._cut_items, self._cache_dir = overflow == "cut-items", context.cache_dir
        #: The model, once it is loaded.
        self._loaded: LlamaModel | None = None

    def fingerprint(self) -> str:
        """Hash of the file, version of the library; date and seed if they are used."""
        parts = [f"gguf={self._digest}", f"xllamacpp={version('xllamacpp')}", *self._texts.identity]
        if self._temperature > 0:
            parts.append(f"seed={self._seed}")
        return " ".join([*parts, NOT_BATCH_INVARIANT])

    @cached_property
    def tokenizer(self) -> LlamaTokenizer:
        """The model's own."""
        return LlamaTokenizer(self._file, self._digest, version("xllamacpp"), self._model)

    @cached_property
    def max_prompt_tokens(self) -> int | None:
        """Tokens of a prompt that reasoners may use, with overflow=cut-items, the chat template not counted."""
        return max(1, self._room - self._texts.template_tokens) if self._cut_items else None

    def activity(self) -> Activity:
        """The prompts that are being answered."""
        return Activity(rows=self._loaded.busy if self._loaded is not None else 0)

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        """Answer prompts; answers come as they are finished.

        Raises:
            PrlmBenchError: a prompt is too long, or the model cannot be loaded.
        """
        return self.stream(iter(prompts))

    def stream(self, prompts: Iterator[Prompt]) -> Iterator[tuple[int, Completion]]:
        """Answer prompts, which are drawn as slots become free.

        Raises:
            PrlmBenchError: a prompt is too long, or the model cannot be loaded; answers in flight come before it.
        """
        for number, completions in self._written(prompts, 1):
            yield number, completions[0]

    def sample(self, prompts: Sequence[Prompt], n: int) -> Iterator[tuple[int, list[Completion]]]:
        """Draw n completions of each prompt, which is read once for them.

        Sample j is what `generate` writes with the option `draw` raised by j.

        Raises:
            PrlmBenchError: the temperature is 0, or as for `generate`.
        """
        require_sampling(n, self._temperature, f"{self._file.label} writes")
        yield from self._written(iter(prompts), n)

    def loglikelihood(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]) -> list[list[float]]:
        """The log-probability of each continuation of each prompt, which is read once; see `ScoresContinuations`.

        Raises:
            PrlmBenchError: a prompt is too long, or the model cannot be loaded.
        """
        if not prompts:
            return []
        model = self._model()

        def score(slot: int, job: tuple[list[int], list[list[int]]], stop: threading.Event) -> list[float]:
            return [model.score(slot, job[0], ids, stop) for ids in job[1]]

        found = dict(in_slots(model, self._pairs(prompts, continuations), score))
        return [found[place] for place in range(len(prompts))]

    def _written(self, prompts: Iterator[Prompt], n: int) -> Iterator[tuple[int, list[Completion]]]:
        first = next(prompts, None)
        if first is None:
            return
        model = self._model()

        def encoded() -> Iterator[Encoded]:
            yield self._fitting(self._texts.encode(first))
            for prompt in prompts:
                yield self._fitting(self._texts.encode(prompt))

        def write(slot: int, job: Encoded, stop: threading.Event) -> list[Completion]:
            fields = {**self._fields, "preserved_tokens": [*self._texts.marks], **self._grammar(job)}
            replies = (
                model.write(slot, job.ids, {**fields, "seed": self._draw_seed(job.text, self._draw + number)}, stop)
                for number in range(n)
            )
            return [self._completion(job, reply) for reply in replies]

        yield from in_slots(model, encoded(), write)

    def _pairs(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]
    ) -> Iterator[tuple[list[int], list[list[int]]]]:
        for prompt, wanted in zip(prompts, continuations, strict=True):
            ids, rows = self._texts.continuations(self._texts.encode(prompt), wanted)
            self._check_length(prompt, len(ids), self._window - max(map(len, rows), default=0))
            yield ids, rows

    def _grammar(self, job: Encoded) -> dict[str, str]:
        prompt = job.prompt
        if not self._constrain:
            return {}
        if prompt.key is None:
            message = f"constrain=object: the prompt of question {prompt.example.id} asks for no answer object"
            raise PrlmBenchError(message, "take direct:protocol=chat, or leave constrain out")
        if prompt.reasons or (job.framed and open_reasoning(job.text, "")):
            message = f"constrain=object: the answer to question {prompt.example.id} begins with reasoning"
            raise PrlmBenchError(message, "take direct:protocol=chat, or enable_thinking=false, or leave constrain out")
        return {"grammar": object_grammar(self._task, prompt.key)}

    def _completion(self, job: Encoded, reply: Reply) -> Completion:
        text = self._texts.answer(job, reply.text)
        return Completion(text, finish=reply.finish, tokens=reply.tokens, prompt_tokens=len(job.ids))

    def _draw_seed(self, text: str, draw: int) -> int:
        """A seed that depends on the prompt, the run's seed and the draw alone."""
        seed = f"{self._seed}/{draw}" if draw else str(self._seed)
        digest = hashlib.sha256(f"{seed}\n{text}".encode("utf-8", "replace")).digest()
        return int.from_bytes(digest[:8]) % _SEEDS

    def _fitting(self, encoded: Encoded) -> Encoded:
        self._check_length(encoded.prompt, len(encoded.ids), self._room)
        return encoded

    def _check_length(self, prompt: Prompt, length: int, room: int) -> None:
        if length > room:
            message = (
                f"the prompt of question {prompt.example.id} has {length} tokens, and the window of "
                f"{self._file.name!r} has room for {room} ({self._window} in all)"
            )
            hint = "a smaller max_length of the reasoner or max_new_tokens, or a larger window"
            raise PrlmBenchError(message, hint if self._cut_items else f"{hint}, or overflow=cut-items")

    def _model(self) -> LlamaModel:
        if self._loaded is None:
            slots, threads, layers, attention = self._load
            settings = LoadSettings(self._file.path, self._digest, self._window, slots, threads, layers, attention)
            self._loaded = load_model(self._file, settings)
        return self._loaded

    @cached_property
    def _digest(self) -> str:
        return self._file.digest(self._cache_dir)


def _choose_window(wanted: int | None, own: int | None) -> int:
    """The tokens of a prompt and its answer together.

    Raises:
        ValueError: the model has fewer positions, or none are wanted.
    """
    if wanted is None:
        return min(own or _WINDOW, _WINDOW)
    if wanted < 1 or wanted > (own or wanted):
        raise ValueError(f"window is at least 1, and at most the {own} positions of the model")
    return wanted


def _threads() -> int:
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
