"""Puts adapters on models: on which tokenizer and template they bring, how many embeddings they need, and merging."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .._hf import ModelError, is_out_of_memory, load_tokenizer, one_line
from ._files import ModelFiles

#: What peft writes behind a layer's name where it stores the layer itself, and where the number of rows is.
_WHOLE = ("weight", "modules_to_save.weight", "base_layer.weight", "modules_to_save.default.weight")
_ROWS = {**dict.fromkeys(_WHOLE, 0), "lora_embedding_A": 1, "lora_B.weight": 0}


def adapted_tokenizer(files: ModelFiles, adapter: ModelFiles, code: bool) -> Any:
    """The tokenizer in an adapter's folder; the model's own where there is none, with the adapter's chat template.

    Raises:
        ModelError: it cannot be loaded, or gives the model's tokens other ids.
    """
    own = load_tokenizer(files.folder, files.label, code=code)
    if adapter.has_tokenizer:
        trained = load_tokenizer(adapter.folder, f"adapter {adapter.name!r}")
        known, new = own.get_vocab(), trained.get_vocab()
        other = next((token for token, number in known.items() if new.get(token, number) != number), None)
        if other is not None:
            message = f"the tokenizer in {adapter.folder} gives {other!r} another id than that of {files.label}"
            raise ModelError(message, "give the model that the adapter was trained for")
        if not trained.chat_template:
            trained.chat_template = own.chat_template
        return trained
    if adapter.template is not None:
        own.chat_template = adapter.template
    return own


def add_adapter(model: Any, files: ModelFiles, adapter: ModelFiles, *, code: bool, merge: bool) -> Any:
    """A model with an adapter.

    Args:
        model: of transformers; changed in place.
        files: the model's, for messages.
        adapter: the adapter's.
        code: Python files of their tokenizers may run.
        merge: add the adapter to the weights where this cannot change an answer beyond rounding, which is faster.

    Raises:
        ModelError: the adapter is of a kind that adds no weights, is one for another model, or lacks embeddings.
    """
    kind = str(adapter.config.get("peft_type"))
    if kind.endswith(("TUNING", "PROMPT")) or adapter.config.get("alora_invocation_tokens"):
        kind = "activated LoRA" if adapter.config.get("alora_invocation_tokens") else kind
        hint = "take an adapter of the model's weights, such as LoRA"
        raise ModelError(f"adapter {adapter.name!r} is of the kind {kind}, which is not supported", hint)
    layers = dict(_embeddings(model))
    stored = _shapes(adapter.folder)
    _make_room(model, files, layers, adapter, stored, code)
    touched = any(part in (name.split(".")[-1] for name in layers) for key in stored for part in key.split("."))
    merge = merge and not touched and not adapter.config.get("trainable_token_indices")
    from peft import PeftModel

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft uses what transformers will drop
            # Where the adapter's weights have other names than the model's layers, peft only warns.
            warnings.filterwarnings("error", message=".*adapter keys.*")
            adapted = PeftModel.from_pretrained(model, str(adapter.folder), is_trainable=False)
            return adapted.merge_and_unload() if merge else adapted.get_base_model()
    except Exception as error:
        if is_out_of_memory(error):
            raise
        message = f"adapter {adapter.name!r} does not fit {files.label}: {one_line(error, 200)}"
        raise ModelError(message, "give the model that the adapter was trained for") from None


def _embeddings(model: Any) -> Iterator[tuple[str, Any]]:
    """Layers with a row for each token, by name."""
    wanted = [layer for layer in (model.get_input_embeddings(), model.get_output_embeddings()) if layer is not None]
    for name, layer in model.named_modules():
        if any(layer is one for one in wanted):
            yield name, layer


def _shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of an adapter's weights by name, as far as peft names them below the model."""
    from safetensors import safe_open

    found: dict[str, tuple[int, ...]] = {}
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="np") as file:
            found |= {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    return found


def _make_room(
    model: Any,
    files: ModelFiles,
    layers: Mapping[str, Any],
    adapter: ModelFiles,
    stored: Mapping[str, tuple[int, ...]],
    code: bool,
) -> None:
    """Give the embeddings as many rows as they had when the adapter was trained."""
    known = model.get_input_embeddings().weight.shape[0]
    used = _last_new_token(files, adapter, code) + 1
    rows = {
        shape[axis]
        for key, shape in stored.items()
        for name in layers
        for end, axis in _ROWS.items()
        if key.endswith(f".{name}.{end}") or key == f"{name}.{end}"
    }
    wanted = max(rows) if rows else max(known, used)
    if wanted == known:
        return
    lacking = [name for name in _separate(model, layers) if not _holds(name, adapter, stored, range(known, used))]
    if lacking and wanted > known:
        message = (
            f"adapter {adapter.name!r} uses {wanted - known} more tokens than {files.label} has embeddings for, "
            f"and lacks theirs for the layer {lacking[0]}"
        )
        hint = "save it with save_embedding_layers=True, or give the model with the embeddings it was trained on"
        raise ModelError(message, hint)
    model.resize_token_embeddings(wanted, mean_resizing=False)


def _last_new_token(files: ModelFiles, adapter: ModelFiles, code: bool) -> int:
    """The highest id of a token that only the adapter has; -1 for none."""
    if not adapter.has_tokenizer:
        return -1
    own = load_tokenizer(files.folder, files.label, code=code).get_vocab()
    trained = load_tokenizer(adapter.folder, f"adapter {adapter.name!r}").get_vocab()
    return max((number for token, number in trained.items() if token not in own), default=-1)


def _separate(model: Any, layers: Mapping[str, Any]) -> list[str]:
    """The embeddings that have weights of their own: not a head that is tied to them."""
    first = model.get_input_embeddings()
    return [name for name, layer in layers.items() if layer is first or layer.weight is not first.weight]


def _holds(name: str, adapter: ModelFiles, stored: Mapping[str, tuple[int, ...]], new: range) -> bool:
    """Whether an adapter holds the new rows of a layer."""
    if any(key.endswith(f"{name}.{end}") for key in stored for end in _WHOLE):
        return True
    indices = adapter.config.get("trainable_token_indices") or {}
    if isinstance(indices, list):
        indices = {"embed_tokens": indices}
    return any(name.endswith(layer) and set(new) <= set(numbers) for layer, numbers in indices.items())
