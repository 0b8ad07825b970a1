"""The folders that trainings write: complete once their manifest is there, and never mistaken for another training's.

`make_artefact` keeps an unfinished folder so that the next call resumes it; `whole_folder` is for work that is done in
one go and leaves nothing when it fails.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict

from prlm_bench.data import has_hash
from prlm_bench.errors import DataError, PrlmBenchError
from prlm_bench.files import (
    cache_root,
    load_json,
    load_json_lines,
    pretty,
    scratch_path,
    validated,
    write_whole,
)
from prlm_bench.identity import code_digest, package_versions

MANIFEST = "manifest.json"
#: Folder of the model, below the artefact's own.
MODEL = "model"
#: Folder of checkpoints, below an artefact's own, until it is complete.
CHECKPOINTS = "checkpoints"
#: Figures of a training, a row a step.
LOG = "log.jsonl"
#: Completions that a policy wrote while it was trained, with their rewards.
COMPLETIONS = "completions.jsonl"
#: Values of a completion's `part`: whose question it answers.
TRAIN, VALIDATION = "train", "held-back"
#: Seconds that the work took: the one file of an artefact that differs between trainings with the same outcome.
TIMING = "timing.json"
#: Bytes of free space below which a disk counts as full.
_LITTLE = 1 << 20
#: Identity of an unfinished artefact.
_BEGUN = "begun.json"
#: Distributions that decide what a training makes.
TRAINING_PACKAGES = ("prlm-bench", "torch", "transformers", "tokenizers", "trl", "accelerate", "peft")


_AGAIN = "the training is damaged; remove its folder and repeat it"


class _Typed(BaseModel):
    """Checks the fields that are read; others may be there."""

    model_config = ConfigDict(extra="allow", strict=True)


class _Component(_Typed):
    spec: str


class _Identity(_Typed):
    k: int = 0
    max_completion: int = 0
    chat: str = ""
    retriever: _Component = _Component(spec="")
    reasoner: _Component = _Component(spec="")


class _Manifest(_Typed):
    stage: str
    task: str = ""
    reasoner: str = ""
    files: dict[str, str] = {}
    identity: _Identity = _Identity()
    steps: int | None = None  # null in stages without steps
    cost: dict[str, float] = {}
    builds_on: list[str] = []
    max_length: int = 0
    profile: bool = False
    finding: str = ""
    learned: bool = True


class _Begun(BaseModel):
    identity: dict[str, Any]


class _Timing(BaseModel):
    seconds: float


class _LogRow(_Typed):
    __pydantic_extra__: dict[str, float | int | str | None]

    step: int


class _CompletionRow(_Typed):
    step: int
    part: str
    id: str
    completion: str
    parsed: str | None = None
    answer: str
    rewards: dict[str, float]


class _Fields(dict[str, Any]):
    """What a file holds, by field; one that is missing is an error of the file."""

    def __init__(self, path: Path, content: Mapping[str, Any]) -> None:
        super().__init__(content)
        self._path = path

    def __missing__(self, name: str) -> Any:
        raise DataError(f"{self._path}: {name}: missing", _AGAIN)


@dataclass(frozen=True)
class Artefact:
    """A finished stage of a training."""

    folder: Path
    #: The stage, the identity of its inputs, and figures of the outcome.
    manifest: Mapping[str, Any]


class Stopwatch:
    """Counts the seconds of the work in a folder, on top of those of earlier processes up to their last checkpoint.

    Args:
        folder: of the artefact.
    """

    def __init__(self, folder: Path) -> None:
        self._path, self._before, self._start = folder / TIMING, read_seconds(folder) or 0.0, time.monotonic()

    def write(self) -> None:
        """Store the seconds until now."""
        if is_main_process():
            seconds = self._before + time.monotonic() - self._start
            write_whole(self._path, pretty({"seconds": round(seconds, 1)}))


def read_seconds(folder: Path) -> float | None:
    """Seconds that the work in an artefact's folder took; None if they are not known."""
    try:
        return load_json(folder / TIMING, _Timing).seconds
    except DataError:
        return None


def read_artefact(folder: Path, stage: str) -> Artefact:
    """The finished artefact of a stage, with the files that its training wrote.

    Raises:
        PrlmBenchError: the folder has none, one of another stage, or other files.
    """
    if not (folder / MANIFEST).is_file():
        begun = (folder / _BEGUN).is_file()
        hint = (
            "its training is unfinished; repeat the command to resume" if begun else "make it with `prlm-bench train`"
        )
        raise PrlmBenchError(f"no {stage} in {folder}", hint)
    manifest = read_manifest(folder)
    if manifest["stage"] != stage:
        raise PrlmBenchError(f"{folder} holds no {stage}", "give the folder that `prlm-bench train` wrote")
    _check_files(folder, manifest)
    return Artefact(folder, manifest)


def _check_files(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Whoever uses an artefact states the hashes in its manifest, so these have to be those of the files."""
    known = manifest.get("files")
    place = folder / MODEL if (folder / MODEL).is_dir() else folder
    for name, digest in known.items() if isinstance(known, dict) else ():
        path = place / name
        if Path(name).name == name and path.is_file() and not has_hash(cache_root(), path, str(digest)):
            hint = "train it again, or put the file back"
            raise PrlmBenchError(f"{path}: not the file that its training wrote", hint)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a finished artefact, whatever its stage.

    Raises:
        DataError: it cannot be read, or is damaged; also when a field is asked for that it does not have.
    """
    path = folder / MANIFEST
    content = load_json(path, dict[str, Any], hint=_AGAIN)
    validated(_Manifest, content, str(path), _AGAIN)
    identity = content.get("identity")
    return _Fields(path, content | ({} if identity is None else {"identity": _Fields(path, identity)}))


def make_artefact(
    folder: Path, stage: str, identity: Mapping[str, Any], work: Callable[[Path], Mapping[str, Any]]
) -> Artefact:
    """Read the artefact of a stage where it is complete; otherwise start or resume the work.

    Args:
        folder: of the artefact.
        stage: its name.
        identity: all inputs that determine the outcome, as JSON values.
        work: fills the folder, resumes from what it holds, and returns figures for the manifest.

    Raises:
        PrlmBenchError: the folder was started with another identity, or cannot be written.
    """
    whole, begun = folder / MANIFEST, folder / _BEGUN
    identity = orjson.loads(orjson.dumps(identity))
    for path in (whole, begun):
        if path.is_file():
            _check_identity(folder, _stored_identity(path), identity)
    if whole.is_file():
        return read_artefact(folder, stage)
    if not is_main_process():  # the main process writes the folder
        return Artefact(folder, {"stage": stage, **work(folder)})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not begun.is_file():
            # A killed process may have left a temporary file of this name.
            if any(not path.name.startswith(f".{_BEGUN}.") for path in folder.iterdir()):
                raise PrlmBenchError(f"{folder} holds other files", "give another --output")
            write_whole(begun, pretty({"stage": stage, "identity": identity}))
        manifest = {"stage": stage, **work(folder), "identity": identity}
        write_whole(whole, pretty(manifest))
        begun.unlink()
        # They have the optimizer's state, and are several times as large as the model.
        remove_folder(folder / CHECKPOINTS)
    except Exception as error:
        reason = _unwritable(error, folder)
        if reason is None:
            raise
        raise PrlmBenchError(reason, "earlier checkpoints are kept; repeat the command to resume") from None
    return Artefact(folder, orjson.loads(orjson.dumps(manifest)))


@contextmanager
def whole_folder(output: Path) -> Iterator[Path]:
    """A temporary folder that is renamed to `output` when the block succeeds, and removed when it fails.

    Raises:
        PrlmBenchError: `output` exists and is not empty, or cannot be written.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise PrlmBenchError(f"{output} already exists", "give another folder, or remove it")
    scratch = scratch_path(output)
    try:
        scratch.mkdir(parents=True)
        yield scratch
        scratch.rename(output)
    except Exception as error:
        reason = _unwritable(error, output)
        if reason is None:
            raise
        raise PrlmBenchError(reason) from None
    finally:
        remove_folder(scratch)


def _unwritable(error: Exception, folder: Path) -> str | None:
    """What could not be written, and why; None if that is not what the error is about.

    torch and safetensors have errors of their own for a full disk, which name neither file nor reason.
    """
    if isinstance(error, OSError):
        return f"{error.filename or folder}: cannot be written: {error.strerror or error}"
    existing = next((path for path in (folder, *folder.parents) if path.is_dir()), Path())
    if isinstance(error, PrlmBenchError) or shutil.disk_usage(existing).free > _LITTLE:
        return None
    return f"{folder}: cannot be written: the disk is full"


def remove_folder(folder: Path) -> None:
    """Remove a folder with its content, if it exists."""
    shutil.rmtree(folder, ignore_errors=True)


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Rows of a stage's log in order; none if there is no log.

    Raises:
        DataError: a row is damaged; names its line.
    """
    return _rows(folder / LOG, _LogRow)


def read_completions(folder: Path) -> list[dict[str, Any]]:
    """Completions that the training of a policy stored, in order; none if it stored none.

    Raises:
        DataError: a line is damaged; names it.
    """
    return _rows(folder / COMPLETIONS, _CompletionRow)


def _rows(path: Path, schema: type[BaseModel]) -> list[dict[str, Any]]:
    """A torn last line, which a killed process may leave, is skipped."""
    return [row.model_dump() for row in load_json_lines(path, schema, torn=True)] if path.is_file() else []


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Write a tokenizer of transformers; its files do not depend on whether it came from a folder or the hub."""
    if "local_files_only" in tokenizer.init_kwargs:
        tokenizer.init_kwargs["local_files_only"] = False
    tokenizer.save_pretrained(folder)


def file_hashes(folder: Path, pattern: str = "*") -> dict[str, str]:
    """SHA-256 of the files in a folder by name."""
    found = {}
    for path in sorted(folder.glob(pattern)):
        if path.is_file():
            with path.open("rb") as file:
                found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def plugin_code(*plugins: str) -> str:
    """A digest of the code of this folder and of other plugins by name, with what they import of each other."""
    return code_digest(*(import_module(f"prlm_bench_plugins.{name}") for name in ("_training", *plugins)))


def trainer_fingerprint(*plugins: str, packages: Iterable[str] = TRAINING_PACKAGES) -> str:
    """The code of a trainer (see `plugin_code`) and versions of the libraries, as text."""
    versions = (f"{name}={number}" for name, number in package_versions(*packages).items())
    return " ".join([f"code={plugin_code(*plugins)}", *versions])


def is_main_process() -> bool:
    """True in the one process that writes files, of those that `accelerate launch` or torchrun started."""
    return os.environ.get("RANK", "0") == "0"


def world_size() -> int:
    """Number of processes that train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def _stored_identity(path: Path) -> Any:
    return load_json(path, _Begun, hint="remove its folder").identity


def _check_identity(folder: Path, stored: Any, current: Any) -> None:
    if stored != current:
        raise PrlmBenchError(
            f"{folder} was made with other settings: {_first_difference(stored, current)}",
            "give another --output, or remove the folder",
        )


def _first_difference(stored: Any, current: Any, path: str = "") -> str:
    if isinstance(stored, dict) and isinstance(current, dict):
        for key in [*current, *stored]:
            if stored.get(key) != current.get(key):
                return _first_difference(stored.get(key), current.get(key), f"{path}.{key}" if path else key)
    return f"{path} was {_short(stored)} and is {_short(current)}"


def _short(value: Any) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= 60 else f"{text[:57]}..."
