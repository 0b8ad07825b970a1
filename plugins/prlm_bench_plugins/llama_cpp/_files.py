"""A GGUF file: whether llama.cpp can write with it, and what its vocabulary says; no weights are read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from prlm_bench.data import hash_file
from prlm_bench.files import expanded

from .._hf import PACKAGED, GgufHeader, ModelError, find_gguf, read_gguf

_TOKENS, _KINDS = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"
#: llama.cpp's number of the kind of token that text cannot contain and decoding drops.
_CONTROL = 3
#: Architectures that llama.cpp loads and whose text it cannot write as a continuation of a prompt.
_NO_WRITERS = frozenset({"bert", "clip", "eurobert", "gemma-embedding", "modern-bert", "neo-bert", "nomic-bert"}) | {
    "jina-bert-v2", "jina-bert-v3", "nomic-bert-moe", "t5", "t5encoder", "wavtokenizer-dec",
}  # fmt: skip
#: Bytes of a number in the cache of keys and values (float16).
_CACHED = 2


@dataclass(frozen=True)
class GgufFile:
    """A file that is checked but not loaded.

    Args:
        name: as the user gave it.
        path: the file.
        header: its metadata, with the vocabulary.
    """

    name: str
    path: Path
    header: GgufHeader = field(hash=False)

    @property
    def label(self) -> str:
        """The model in messages."""
        return f"model {self.name!r}"

    def digest(self, cache: Path) -> str:
        """SHA-256 of the file; that of an unchanged file is remembered in `cache`."""
        return hash_file(cache, self.path)

    @property
    def vocabulary(self) -> int:
        """How many tokens there are."""
        return len(self.header.values[_TOKENS])

    @cached_property
    def special(self) -> Mapping[str, int]:
        """The control tokens: their texts and ids."""
        tokens, kinds = self.header.values.get(_TOKENS, []), self.header.values.get(_KINDS, [])
        pairs = enumerate(zip(tokens, kinds, strict=False))
        return {text: number for number, (text, kind) in pairs if kind == _CONTROL}

    def token(self, role: str) -> str | None:
        """The text of a special token by its role: bos, eos, unknown, padding; None where there is none."""
        number = self.token_id(role)
        return None if number is None else str(self.header.values[_TOKENS][number])

    def token_id(self, role: str) -> int | None:
        """The id of a special token by its role."""
        number = self.header.values.get(f"tokenizer.ggml.{role}_token_id")
        known = self.header.values.get(_TOKENS, [])
        return number if isinstance(number, int) and 0 <= number < len(known) else None

    def cache_bytes(self, tokens: int) -> int:
        """Memory for the keys and values of so many tokens, in bytes; 0 where the file does not say."""
        values, name = self.header.values, self.header.architecture
        numbers = [values.get(f"{name}.{key}") for key in ("block_count", "attention.head_count", "embedding_length")]
        known = [number for number in numbers if isinstance(number, int) and number > 0]
        if len(known) < len(numbers):
            return 0  # hybrid and recurrent models list these by layer
        layers, heads, width = known
        shared = values.get(f"{name}.attention.head_count_kv", heads)
        size = values.get(f"{name}.attention.key_length", width // heads)
        return 2 * _CACHED * layers * shared * size * tokens if isinstance(shared, int) else 0


def find_file(name: str) -> GgufFile:
    """A GGUF file, checked.

    Args:
        name: of a file, or of a model whose weights come in a Python package.

    Raises:
        ModelError: there is none, it is damaged, it has no tokenizer, or it cannot write text.
    """
    path = (find_gguf(name) if name in PACKAGED else None) or expanded(name)
    if path.is_dir():
        found = sorted(file.name for file in path.glob("*.gguf"))
        hint = f"give the file: {', '.join(found[:8])}" if found else "transformers:model= takes such a folder"
        raise ModelError(f"{name!r} is a folder, and llama.cpp reads one file", hint)
    if not path.is_file():
        raise ModelError(f"there is no file {name!r}", f"give the path of a .gguf file, or {', '.join(PACKAGED)}")
    header = read_gguf(path, keep=(_TOKENS, _KINDS))
    file = GgufFile(name, path, header)
    if not header.has_tokenizer:
        raise ModelError(f"{file.label} has no tokenizer", "convert it again, together with its tokenizer")
    causal = header.values.get(f"{header.architecture}.attention.causal", True)
    if header.architecture in _NO_WRITERS or not causal:
        raise ModelError(f"{file.label} is a {header.architecture}, which cannot write text", "give a language model")
    return file


def check_memory(file: GgufFile, window: int, slots: int) -> None:
    """Refuse what this machine has no memory for: the system would end the process while llama.cpp loads.

    Raises:
        ModelError: the weights and the cache of all slots are more than the machine's memory.
    """
    needed = file.path.stat().st_size + file.cache_bytes(window * slots)
    there = _memory()
    if there is not None and needed > there:
        message = (
            f"{file.label} needs {needed / 1e9:.1f} GB of memory with {slots} slots of {window} tokens, and there are "
            f"{there / 1e9:.1f} GB"
        )
        raise ModelError(message, "a smaller window or slots, or a smaller quantization")


def _memory() -> int | None:
    names: Any = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" not in names:
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
