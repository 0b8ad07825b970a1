"""The `transformers` generator."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from prlm_bench import Completion, Prompt
from prlm_bench.errors import PrlmBenchError
from prlm_bench.interfaces import Context
from prlm_bench.prompting import HubTokenizer

from .batch import Decoding, Row
from .device import choose_device
from .files import find_adapter, find_model
from .loading import Dtype, Quantization, Settings, load
from .prompts import Encoder, load_encoder
from .writing import write_all


class TransformersGenerator:
    """Any causal or encoder-decoder model that transformers can load.

    The model is loaded when it is first needed; its files are looked through before. A turn of a chat goes
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
        allow_pickle: read weights that are no safetensors, which can run code too.
        draw: for sampling: another number draws another completion of the same prompt.
        batch_tokens: tokens of a batch at most, padding and new tokens included.
        overflow: what a prompt does that the model's window has no room for: `error` stops; `cut-items` has
            reasoners show less of the items, and stops where the question alone is too long.

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
    ) -> None:
        if max_new_tokens < 1 or num_beams < 1 or batch_tokens < 1:
            raise ValueError("max_new_tokens, num_beams and batch_tokens are at least 1")
        if temperature < 0 or not 0 < top_p <= 1 or (temperature == 0 and top_p < 1):
            raise ValueError("temperature is at least 0, and top_p, for sampling only, above 0 and at most 1")
        if num_beams > 1 and temperature > 0:
            raise ValueError("a beam search does not sample: num_beams=1 or temperature=0")
        if device is not None and device_map is not None:
            raise ValueError("give device or device_map, not both")
        self._files = find_model(model, revision, code=trust_remote_code, pickle=allow_pickle)
        _need("peft", "adapter", adapter)
        _need("bitsandbytes", "quantization", quantization)
        self._adapter = None if adapter is None else find_adapter(adapter)
        folder = None if self._adapter is None else self._adapter.folder
        device = device_map or choose_device(device)
        self._settings = Settings(dtype, device, device_map, folder, quantization, trust_remote_code, allow_pickle)
        self._decoding = Decoding(max_new_tokens, temperature, top_p, num_beams, _lot(context.seed, draw))
        self._batch_tokens, self._cut_items = batch_tokens, overflow == "cut-items"
        self._cache_dir = context.cache_dir
        if self._room is not None and self._room < 1:
            raise ValueError(f"max_new_tokens={max_new_tokens} fills the model's window of {self._files.window} tokens")

    def fingerprint(self) -> str:
        """Hashes of the files of model, adapter and this plugin, versions of the libraries; the seed, if used."""
        packages = ["torch", "transformers", "tokenizers"]
        packages += ["peft"] if self._adapter else []
        packages += ["bitsandbytes"] if self._settings.quantization else []
        parts = [f"files={self._digest}", f"device={self._settings.device.partition(':')[0]}", f"code={_code()}"]
        parts += [f"{name}={version(name)}" for name in packages]
        if self._decoding.temperature > 0:
            parts.append(f"seed={self._decoding.seed}")
        return " ".join(parts)

    @property
    def tokenizer(self) -> HubTokenizer:
        """The model's own."""
        return _counter(self._files.folder, self._digest)

    @cached_property
    def max_prompt_tokens(self) -> int | None:
        """What reasoners may use at most, with overflow=cut-items; None sets no bound.

        Tokens of the prompt as reasoners count it, that is, without the chat template.
        """
        return max(1, self._room - self._encoder.frame) if self._cut_items and self._room is not None else None

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        """Answer prompts, longest first; answers come as they are finished.

        Raises:
            PrlmBenchError: a prompt that is too long; the model cannot be loaded; memory does not suffice.
        """
        if not prompts:
            return
        encoder = self._encoder
        ids = encoder.ids(prompts)
        self._check_room(prompts, ids)
        loaded = load(self._files, self._digest, encoder.tokenizer, self._settings)
        # A model has to read something, so an empty prompt is a token of padding.
        rows = [
            Row(index, encoder.text(prompt), row or [loaded.pad])
            for index, (prompt, row) in enumerate(zip(prompts, ids, strict=True))
        ]
        for written in write_all(loaded, rows, self._decoding, self._batch_tokens):
            text = encoder.tokenizer.decode(written.ids, skip_special_tokens=True)
            finish = "stop" if written.ended else "length"
            read = len(ids[written.index])
            yield written.index, Completion(text, finish=finish, tokens=len(written.ids), prompt_tokens=read)

    @property
    def _encoder(self) -> Encoder:
        files = self._files
        return load_encoder(files.name, files.folder, self._digest, self._settings.code, not files.is_encoder_decoder)

    @cached_property
    def _digest(self) -> str:
        digests = [files.digest(self._cache_dir) for files in (self._files, self._adapter) if files is not None]
        return "+".join(digests)

    @property
    def _room(self) -> int | None:
        """Tokens that a prompt may have; an encoder has its window for itself."""
        window = self._files.window
        return window if window is None or self._files.is_encoder_decoder else window - self._decoding.most

    def _check_room(self, prompts: Sequence[Prompt], ids: Sequence[Sequence[int]]) -> None:
        if self._room is None:
            return
        for prompt, row in zip(prompts, ids, strict=True):
            if len(row) > self._room:
                message = (
                    f"the prompt of question {prompt.example.id} has {len(row)} tokens, and the window of "
                    f"{self._files.name!r} has room for {self._room} ({self._files.window} in all)"
                )
                hint = "a smaller max_length of the reasoner or max_new_tokens"
                raise PrlmBenchError(message, hint if self._cut_items else f"{hint}, or overflow=cut-items")


def _lot(seed: int, draw: int) -> str:
    return f"{seed}/{draw}" if draw else str(seed)


def _need(package: str, option: str, value: str | None) -> None:
    if value is not None and find_spec(package) is None:
        raise PrlmBenchError(f"{option}={value} needs the package {package}", f"pip install {package}")


@lru_cache(maxsize=8)
def _counter(folder: Path, digest: str) -> HubTokenizer:
    return HubTokenizer(str(folder))


@lru_cache(maxsize=1)
def _code() -> str:
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
