"""What the plugins that use Hugging Face models share: finding, converting, loading, batching and chat templates.

Not a plugin itself. Importing it imports neither torch nor transformers; the functions do when they are called.
"""

from __future__ import annotations

from ._batches import pad_ids, token_batches
from ._chat import (
    CHAT_DATE,
    Chat,
    Turns,
    begin_completion,
    chat_date,
    chat_text,
    decode_answer,
    encode_completions,
    encode_prompts,
    encode_texts,
    fix_rendering,
    is_framed,
    require_template,
    template_tokens,
    turns,
)
from ._device import choose_device, free_memory, import_torch, is_out_of_memory, package_versions
from ._files import ModelError, find_folder, has_weights, hash_files, one_line, read_json
from ._gguf import PACKAGED, auto_dtype, check_gguf, converted, find_gguf, is_encoder_decoder, model_source
from ._gguf_header import GgufHeader, read_gguf
from ._load import Dtype, ModelTooLargeError, load_model, load_tokenizer, loading
from ._settings import FOLLOWED, has_effect, stated_settings

__all__ = [
    "CHAT_DATE",
    "FOLLOWED",
    "PACKAGED",
    "Chat",
    "Dtype",
    "GgufHeader",
    "ModelError",
    "ModelTooLargeError",
    "Turns",
    "auto_dtype",
    "begin_completion",
    "chat_date",
    "chat_text",
    "check_gguf",
    "choose_device",
    "converted",
    "decode_answer",
    "encode_completions",
    "encode_prompts",
    "encode_texts",
    "find_folder",
    "find_gguf",
    "fix_rendering",
    "free_memory",
    "has_effect",
    "has_weights",
    "hash_files",
    "import_torch",
    "is_encoder_decoder",
    "is_framed",
    "is_out_of_memory",
    "load_model",
    "load_tokenizer",
    "loading",
    "model_source",
    "one_line",
    "package_versions",
    "pad_ids",
    "read_gguf",
    "read_json",
    "require_template",
    "stated_settings",
    "template_tokens",
    "token_batches",
    "turns",
]
