"""What the plugins that use Hugging Face models share: finding, loading, batching and chat templates.

Not a plugin itself. Importing it imports neither torch nor transformers; the functions do when they are called.
"""

from __future__ import annotations

from ._batches import pad_ids, token_batches
from ._chat import (
    CHAT_DATE,
    Turns,
    chat_date,
    chat_text,
    decode_answer,
    encode_completions,
    encode_prompts,
    encode_texts,
    fix_rendering,
    is_framed,
    template_tokens,
    turns,
)
from ._device import choose_device, free_memory, import_torch, is_out_of_memory, package_versions
from ._files import ModelError, find_folder, has_weights, hash_files, one_line, read_json
from ._load import Dtype, ModelTooLargeError, load_model, load_tokenizer, loading

__all__ = [
    "CHAT_DATE",
    "Dtype",
    "ModelError",
    "ModelTooLargeError",
    "Turns",
    "chat_date",
    "chat_text",
    "choose_device",
    "decode_answer",
    "encode_completions",
    "encode_prompts",
    "encode_texts",
    "find_folder",
    "fix_rendering",
    "free_memory",
    "has_weights",
    "hash_files",
    "import_torch",
    "is_framed",
    "is_out_of_memory",
    "load_model",
    "load_tokenizer",
    "loading",
    "one_line",
    "package_versions",
    "pad_ids",
    "read_json",
    "template_tokens",
    "token_batches",
    "turns",
]
