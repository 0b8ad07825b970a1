"""From a model's name to a folder on this machine, and from the folder's files to a hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from prlm_bench.data import hash_file
from prlm_bench.errors import DataError, PrlmBenchError
from prlm_bench.files import expanded, parse_json, read_bytes, validated

#: Files of a weight format; a folder with one of them, or with one in a folder directly below it, has weights.
_WEIGHTS = ("*.safetensors", "*/*.safetensors", "pytorch_model*.bin")


class _Known(BaseModel):
    """The fields of a checkpoint's JSON files that are read here and have one type, whichever file has them."""

    architectures: list[str] | None = None
    model_type: str | None = None
    text_config: dict[str, Any] | None = None
    dtype: str | dict[str, Any] | None = None
    torch_dtype: str | dict[str, Any] | None = None
    weight_map: dict[str, str] = {}
    pooling_mode: str | list[str] | None = None
    trainable_token_indices: list[int] | dict[str, list[int]] | None = None


class ModelError(PrlmBenchError):
    """A model that cannot be found, loaded or used."""


def find_folder(
    name: str,
    patterns: Sequence[str],
    *,
    revision: str | None = None,
    fallback: Sequence[str] = (),
    ignore: Sequence[str] = (),
    prefer_local: bool = False,
    what: str = "model",
) -> Path:
    """The folder of a model: `name` itself, or a snapshot of that repository on the Hugging Face hub.

    Args:
        name: a folder, a hub name, or `hub name@revision`. What may be a GGUF file goes through `model_source` first.
        patterns: the files to download, as globs.
        revision: branch, tag or commit on the hub.
        fallback: more files to download where `patterns` bring no weights, such as pickled ones.
        ignore: files that are never downloaded, as globs.
        prefer_local: take a snapshot in the local cache that has weights without asking the hub, so that results do
            not change when the repository does. Otherwise the hub is asked whether there is a newer one.
        what: the kind of model, for messages.

    Raises:
        ModelError: there is no such folder, a folder was given a revision, or the hub cannot provide the model.
    """
    folder = expanded(name)
    if folder.is_dir():
        if revision is not None:
            raise ModelError(f"{name!r} is a folder, which has no revisions", "leave revision out")
        return folder
    repository, _, after = name.partition("@")
    revision = revision or after or None
    if name.startswith((".", "/", "~")) or folder.exists() or repository.count("/") > 1:
        raise ModelError(f"there is no {what} folder {name!r}", "give a folder with config.json, or a hub name")
    wanted = [list(patterns), *([[*patterns, *fallback]] if fallback else [])]
    if prefer_local:
        for some in wanted:
            with suppress(OSError, ValueError):  # not in the cache, or not all of it
                snapshot = _snapshot(repository, revision, some, ignore, local=True)
                if has_weights(snapshot):
                    return snapshot
    try:
        for some in wanted:
            snapshot = _snapshot(repository, revision, some, ignore, local=False)
            if has_weights(snapshot):
                break
    except Exception as error:  # httpx, the hub and the disk each have their own errors
        raise _not_fetched(what, repository, revision, error) from None
    return snapshot


def _snapshot(
    repository: str, revision: str | None, patterns: Sequence[str], ignore: Sequence[str], local: bool
) -> Path:
    from huggingface_hub import snapshot_download

    return Path(
        snapshot_download(
            repository,
            revision=revision,
            allow_patterns=list(patterns),
            ignore_patterns=list(ignore) or None,
            local_files_only=local,
        )
    )


def _not_fetched(what: str, repository: str, revision: str | None, error: Exception) -> ModelError:
    from huggingface_hub.errors import LocalEntryNotFoundError

    where = f"{what} {repository!r}" + (f" at revision {revision!r}" if revision else "")
    hint = f"check the name, give a folder, or fetch it where there is a network: hf download {repository}"
    if isinstance(error, LocalEntryNotFoundError):
        return ModelError(f"{where} is neither a folder nor in the local cache, and the hub cannot be reached", hint)
    return ModelError(f"{where} cannot be fetched from the hub: {one_line(error)}", hint)


def has_weights(folder: Path) -> bool:
    """True where the folder, or one directly below it, holds weights."""
    return any(any(folder.glob(pattern)) for pattern in _WEIGHTS)


def hash_files(files: Iterable[Path], root: Path, cache: Path) -> str:
    """SHA-256 over names and contents of files, as hex.

    Args:
        files: in any order.
        root: the folder that names are relative to.
        cache: where the hash of each file is remembered with its size and times, so that unchanged ones are not
            read again.

    Raises:
        DataError: a file cannot be read, or changes meanwhile.
    """
    total = hashlib.sha256()
    for name, path in sorted((path.relative_to(root).as_posix(), path) for path in set(files)):
        total.update(f"{name}\0{hash_file(cache, path)}\n".encode())
    return total.hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        ModelError: it cannot be read, or holds something else.
    """
    again = "fetch or write the file again"
    try:
        content = parse_json(str(path), read_bytes(path))
    except DataError as error:
        raise ModelError(error.message, again) from None
    if not isinstance(content, dict):
        raise ModelError(f"{path}: not a JSON object", again)
    validated(_Known, content, str(path), again, ModelError)
    return content


def one_line(error: BaseException, most: int = 300) -> str:
    """What an error says, on one line of at most `most` characters."""
    return " ".join(str(error).split())[:most]
