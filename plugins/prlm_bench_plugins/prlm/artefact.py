"""A stage's folder: whole when its manifest is there, continued where it was left, never taken for another's."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from prlm_bench.cli.plugin_api import pretty, write_whole
from prlm_bench.errors import PrlmBenchError

from .processes import is_main

MANIFEST = "manifest.json"
#: The folder of a stage's model, below its own.
MODEL = "model"
#: Names what an unfinished folder will become.
_BEGUN = "begun.json"


@dataclass(frozen=True)
class Artefact:
    """What a stage made."""

    folder: Path
    #: What it was made from, and the figures of what came out.
    manifest: Mapping[str, Any]


def read_artefact(folder: Path, stage: str) -> Artefact:
    """A finished artefact.

    Raises:
        PrlmBenchError: there is none, or it is of another stage.
    """
    path = folder / MANIFEST
    try:
        manifest = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        begun = (folder / _BEGUN).is_file()
        hint = "its training has not ended; run it again to go on" if begun else "make it with `prlm-bench train`"
        raise PrlmBenchError(f"no {stage} in {folder}", hint) from None
    except (OSError, ValueError):
        raise PrlmBenchError(f"{path}: cannot be read") from None
    if not isinstance(manifest, dict) or manifest.get("stage") != stage:
        raise PrlmBenchError(f"{folder} holds no {stage}", "give the folder that `prlm-bench train` wrote")
    return Artefact(folder, manifest)


def make_artefact(
    folder: Path, stage: str, identity: Mapping[str, Any], work: Callable[[Path], Mapping[str, Any]]
) -> Artefact:
    """The artefact of a stage, from the disk where it is whole, else by doing or continuing the work.

    Args:
        folder: where it is or will be.
        stage: its name.
        identity: everything that the outcome depends on, as JSON values.
        work: fills the folder, continuing what is there, and returns the figures for the manifest.

    Raises:
        PrlmBenchError: the folder was begun with another identity, or cannot be written.
    """
    whole, begun = folder / MANIFEST, folder / _BEGUN
    identity = orjson.loads(orjson.dumps(identity))
    for path in (whole, begun):
        if path.is_file():
            _check_same(folder, _identity(path), identity)
    if whole.is_file():
        return read_artefact(folder, stage)
    if not is_main():  # another process keeps the folder
        return Artefact(folder, {"stage": stage, **work(folder)})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not begun.is_file():
            if any(not path.name.startswith(f".{_BEGUN}.") for path in folder.iterdir()):  # of one that died here
                raise PrlmBenchError(f"{folder} holds other files", "give another --output")
            write_whole(begun, pretty({"stage": stage, "identity": identity}))
        manifest = {"stage": stage, **work(folder), "identity": identity}
        write_whole(whole, pretty(manifest))
        begun.unlink()
    except OSError as error:
        where = error.filename or folder
        message = f"{where}: cannot be written: {error.strerror or error}"
        raise PrlmBenchError(message, "what was finished before is kept; run it again to go on") from None
    return Artefact(folder, orjson.loads(orjson.dumps(manifest)))


def clear(folder: Path) -> None:
    """Remove a folder of scratch."""
    shutil.rmtree(folder, ignore_errors=True)


def _identity(path: Path) -> Any:
    try:
        return orjson.loads(path.read_bytes())["identity"]
    except (OSError, ValueError, KeyError, TypeError):
        raise PrlmBenchError(f"{path}: cannot be read", "remove its folder") from None


def _check_same(folder: Path, then: Any, now: Any) -> None:
    if then != now:
        raise PrlmBenchError(
            f"{folder} was made with other settings: {_difference(then, now)}",
            "give another --output, or remove the folder",
        )


def _difference(then: Any, now: Any, path: str = "") -> str:
    """The first place at which two JSON values differ."""
    if isinstance(then, dict) and isinstance(now, dict):
        for key in [*now, *then]:
            if then.get(key) != now.get(key):
                return _difference(then.get(key), now.get(key), f"{path}.{key}" if path else key)
    return f"{path} was {_short(then)} and is {_short(now)}"


def _short(value: Any) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= 60 else f"{text[:57]}..."
