"""A model's folder: the files that make its vectors what they are, and a hash of them."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

from .errors import ModelError

_SUFFIXES = {".json", ".txt", ".model", ".safetensors", ".bin"}
#: A file changed less than this many seconds ago could change again within the clock's resolution.
_SETTLED = 2.0


class ModelFolder:
    """A transformers checkpoint, with the settings of sentence-transformers where it has them.

    Args:
        root: the folder.

    Raises:
        ModelError: it has no config or no weights.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        #: The sentence-transformers modules by the last part of their type, each with its folder.
        self.modules = {
            str(module.get("type", "")).rpartition(".")[2]: root / str(module.get("path", ""))
            for module in read_json(root / "modules.json", list)
            if isinstance(module, dict)
        }
        #: Where config, weights and tokenizer are: the folder itself, but for some old checkpoints.
        self.transformer = self.modules.get("Transformer", root)
        #: True where the weights are safetensors files; older checkpoints have pickled ones.
        self.safe = any(self.transformer.glob("*.safetensors"))
        if not (self.transformer / "config.json").is_file():
            raise ModelError(f"{root} holds no model: there is no config.json", "give a transformers checkpoint")
        if not self.safe and not any(self.transformer.glob("pytorch_model*.bin")):
            raise ModelError(
                f"{root} has no weights: there is no *.safetensors or pytorch_model*.bin", "copy the weights too"
            )

    def files(self) -> list[Path]:
        """The files that decide what the model computes, in a fixed order."""
        folders = dict.fromkeys([self.root, self.transformer, *self.modules.values()])
        found = [path for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_file()]
        unused = ".bin" if self.safe else ".safetensors"
        return sorted(path for path in found if path.suffix in _SUFFIXES and path.suffix != unused)

    def digest(self, cache: Path) -> str:
        """SHA-256 over names and contents of `files()`, as hex.

        Args:
            cache: where the hash of a file is noted, so that one that has not changed is not read again.
        """
        note = cache / f"{hashlib.sha256(os.fsencode(self.root.resolve())).hexdigest()[:32]}.json"
        known = read_json(note, dict)
        noted: dict[str, Any] = {}
        total = hashlib.sha256()
        for path in self.files():
            name = str(path.relative_to(self.root))
            status = path.stat()
            state = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
            entry = known.get(name)
            if not isinstance(entry, dict) or entry.get("state") != state:
                with path.open("rb") as file:
                    entry = {"state": state, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
            if time.time() - max(status.st_mtime, status.st_ctime) > _SETTLED:
                noted[name] = entry
            total.update(f"{name}\0{entry['sha256']}\n".encode())
        if noted != known:
            _write_note(note, noted)
        return total.hexdigest()


def read_json(path: Path, kind: type) -> Any:
    """A JSON file's value if it is of this type, else an empty one; also where there is no such file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return kind()
    return value if isinstance(value, kind) else kind()


def _write_note(path: Path, value: dict[str, Any]) -> None:
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_text(json.dumps(value), encoding="utf-8")
        scratch.replace(path)
    except OSError:
        # Only time is lost: the files are hashed again.
        pass
