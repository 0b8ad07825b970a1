"""From a model's name to a folder on this machine."""

from __future__ import annotations

import contextlib
from pathlib import Path

from prlm_bench.errors import MissingDependencyError

from .errors import ModelError

#: What is wanted of a repository: settings, tokenizer and weights. Pickled weights only where there are no others.
_WANTED = ["*.json", "*.txt", "*.model", "*.safetensors"]
_PICKLED = [*_WANTED, "pytorch_model*.bin"]
_OTHER_FORMATS = ["onnx/*", "openvino/*", "coreml/*", "tf_model*", "flax_model*"]


def locate(name: str) -> Path:
    """The folder of a model: `name` itself, or the hub's snapshot of that name.

    A snapshot that is here already is used without asking the hub, so that a run does not change when the
    hub does. `name@revision` asks for one state of the repository.

    Raises:
        ModelError: there is no such folder, and the hub does not give it.
        MissingDependencyError: huggingface_hub is not installed.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    repository, _, revision = name.partition("@")
    if name.startswith(("/", ".", "~")) or path.exists() or not 0 < len(repository.split("/")) <= 2:
        raise ModelError(f"no model folder at {name!r}", "give a folder with config.json and weights, or a hub name")
    state = revision or None
    for wanted in (_WANTED, _PICKLED):
        with contextlib.suppress(OSError, ValueError):  # not here, or not all of it
            if has_weights(folder := _snapshot(repository, state, wanted, here=True)):
                return folder
    try:
        folder = _snapshot(repository, state, _WANTED, here=False)
        return folder if has_weights(folder) else _snapshot(repository, state, _PICKLED, here=False)
    except MissingDependencyError:
        raise
    except Exception as error:  # httpx, the hub and the disk have their own families of errors
        reason = " ".join(str(error).split("\n")[0].split())
        hint = f"give a folder, or fetch it where there is a network: hf download {repository}"
        raise ModelError(f"cannot get the model {name!r} from the hub: {reason}", hint) from None


def _snapshot(repository: str, state: str | None, wanted: list[str], here: bool) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise MissingDependencyError(f"the model {repository!r}", "huggingface_hub", "dense") from None
    return Path(
        snapshot_download(
            repository, revision=state, allow_patterns=wanted, ignore_patterns=_OTHER_FORMATS, local_files_only=here
        )
    )


def has_weights(folder: Path) -> bool:
    """True where the folder, or its transformer module, holds weights that can be loaded."""
    return any(any(folder.glob(pattern)) for pattern in ("*.safetensors", "*/*.safetensors", "pytorch_model*.bin"))
