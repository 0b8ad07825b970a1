"""Loads tokenizers and models of transformers: silently, without running their code, and with one-line errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from prlm_bench.errors import PrlmBenchError
from prlm_bench.prompting import asks_for_code, quiet_transformers

from ._chat import fix_rendering
from ._device import is_out_of_memory
from ._files import ModelError, one_line
from ._gguf import model_source

Dtype = Literal["auto", "float32", "bfloat16", "float16"]


#: Only one component has an option to run the code of a checkpoint.
_CODE_HINT = "choose a model that transformers knows; transformers:trust_remote_code=true runs code that you trust"


class ModelTooLargeError(ModelError):
    """A model that does not fit into memory."""


@contextmanager
def loading(what: str, hint: str = "") -> Iterator[None]:
    """A block that loads something with transformers: its notices are dropped, its failures become one line.

    Args:
        what: what is loaded, such as "model 'acme/tiny'", for messages.
        hint: what to do where it fails.

    Raises:
        ModelTooLargeError: memory ran out.
        ModelError: anything else went wrong; errors of prlm-bench pass as they are.
    """
    try:
        with quiet_transformers():
            yield
    except PrlmBenchError:
        raise
    except Exception as error:  # every library below has errors of its own: json, pickle, safetensors, tokenizers
        if is_out_of_memory(error):
            raise ModelTooLargeError(
                f"{what} does not fit into memory", "a smaller dtype, another device, or a smaller model"
            ) from None
        if asks_for_code(error):
            raise ModelError(f"{what} needs Python code that comes with it, which is not run", _CODE_HINT) from None
        raise ModelError(f"{what} cannot be loaded: {type(error).__name__}: {one_line(error)}", hint) from None


def load_tokenizer(source: str | Path, what: str, *, hint: str = "", code: bool = False, **options: Any) -> Any:
    """A tokenizer of transformers, whose chat template prints a fixed date (see `fix_rendering`).

    Args:
        source: a folder, which is all that is then looked at, a GGUF file, or a hub name.
        what: the model, such as "model 'acme/tiny'", for messages.
        hint: what to do where it fails.
        code: run the model's own Python files.
        **options: of `AutoTokenizer.from_pretrained`.

    Raises:
        ModelError: it cannot be loaded.
    """
    if "gguf_file" not in options:
        source = model_source(source)
    with loading(f"the tokenizer of {what}", hint):
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(source, **_access(source, code), **options)
    fix_rendering(tokenizer)
    return tokenizer


def load_model(
    kind: str,
    source: str | Path,
    what: str,
    *,
    dtype: Dtype = "float32",
    safetensors: bool | None = True,
    may_lack: tuple[str, ...] = (),
    hint: str = "",
    code: bool = False,
    **options: Any,
) -> Any:
    """A model of transformers, on the CPU unless an option says otherwise.

    Args:
        kind: the class that loads it, such as `AutoModelForCausalLM`.
        source: a folder, which is all that is then looked at, a GGUF file, or a hub name.
        what: the model, such as "model 'acme/tiny'", for messages.
        dtype: of the weights; `auto` is that of the files.
        safetensors: whether weights are safetensors (True), pickles, which can run code (False), or either (None).
        may_lack: beginnings of the names of weights that may be missing and are then random, such as those of a head
            that is to be trained; ("",) allows all.
        hint: what to do where it fails.
        code: run the model's own Python files.
        **options: of `from_pretrained`.

    Raises:
        ModelTooLargeError: it does not fit into memory.
        ModelError: it cannot be loaded, or lacks weights.
    """
    if "gguf_file" not in options:
        source = model_source(source)
    with loading(what, hint):
        import transformers

        model, report = getattr(transformers, kind).from_pretrained(
            source,
            dtype=dtype,
            use_safetensors=safetensors,
            output_loading_info=True,
            **_access(source, code),
            **options,
        )
    missing = sorted(name for name in report["missing_keys"] if not name.startswith(may_lack))
    if missing:
        message = f"{what} lacks {len(missing)} of its weights, such as {missing[0]}"
        raise ModelError(message, hint or "fetch or save the model again")
    return model


def _access(source: str | Path, code: bool) -> dict[str, bool]:
    # Without a word, transformers asks on the terminal whether to run a checkpoint's code, and a `y` would do.
    return {"trust_remote_code": code, "local_files_only": Path(source).is_dir()}
