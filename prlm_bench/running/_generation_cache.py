"""A cache of completions between runs, keyed by the full identity of the generator.

Each identity has its own file, so that models never share completions. Within it, the key is a digest of everything
that the generator reads from the prompt.
"""

from __future__ import annotations

import logging
import math
import sqlite3
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from ..identity import json_digest
from ..records import Completion, Prompt
from ._checked_records import from_row, to_row

_log = logging.getLogger(__name__)

FOLDER = "generations"
SUFFIX = ".sqlite"
#: Suffix added to the name of an unreadable file.
BROKEN = ".broken"
#: Seconds to wait for a write lock of another process.
_PATIENCE = 10.0
_TABLES = """
    CREATE TABLE IF NOT EXISTS identity (json TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS completions (key TEXT PRIMARY KEY, json TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS likelihoods (key TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID;
"""


def prompt_key(prompt: Prompt, sample: int = 0) -> str:
    """A digest of everything that a cached generator may read from a prompt: its text or turns, and the answer's form.

    Args:
        prompt: the prompt.
        sample: the number of the completion; the first is the one without a number.
    """
    return json_digest([*_read(prompt), prompt.key, prompt.reasons, *([sample] if sample else [])])


def _read(prompt: Prompt) -> list[Any]:
    """What a model reads of a prompt. One of a single turn has the key that it had before there were others."""
    turns = [[turn.role, turn.text] for turn in prompt.turns]
    return [[prompt.text, turns] if turns else prompt.text, prompt.chat]


class _ForeignFileError(Exception):
    """A file whose identity does not match its name."""


class GenerationCache:
    """The cached completions of one generator. Several processes can use it at the same time.

    A broken file is renamed, and an unwritable one is not used; both are logged in one line, and the run continues.

    Args:
        root: the cache folder.
        identity: the identity of the generator. For generators of prlm-bench the release is left out, since the digest
            of the code is more precise: an upgrade does not repeat requests to a paid server.
    """

    def __init__(self, root: Path, identity: Mapping[str, str]) -> None:
        known = dict(identity)
        if known.get("plugin", "").startswith("prlm-bench/"):
            known.pop("version", None)
        self._identity = orjson.dumps(known, option=orjson.OPT_SORT_KEYS).decode()
        self.path = root / FOLDER / (json_digest(known) + SUFFIX)
        self._connection: sqlite3.Connection | None = None
        self._inode: int | None = None
        self._usable = True
        self._warned = False

    def get(self, prompt: Prompt, sample: int = 0) -> Completion | None:
        """The cached completion of this number; None if there is none."""
        key = prompt_key(prompt, sample)
        for (row,) in self._execute("SELECT CAST(json AS BLOB) FROM completions WHERE key = ?", (key,)):
            known = from_row(key, row)
            if known is None and not self._warned:
                self._warned = True
                message = "prlm-bench: warning: damaged completions in %s are asked again"
                _log.warning(message, self.path)
            return known
        return None

    def put(self, prompt: Prompt, completion: Completion, sample: int = 0) -> None:
        """Store a completion; it survives the end of this process."""
        key = prompt_key(prompt, sample)
        self._execute("INSERT OR REPLACE INTO completions VALUES (?, ?)", (key, to_row(key, completion).decode()))

    def get_likelihood(self, prompt: Prompt, continuation: str) -> float | None:
        """The cached log-probability of a continuation; None if there is none."""
        key = json_digest([*_read(prompt), continuation])
        values = [value for (value,) in self._execute("SELECT value FROM likelihoods WHERE key = ?", (key,))]
        return values[0] if values and isinstance(values[0], float) else None

    def put_likelihood(self, prompt: Prompt, continuation: str, value: float) -> None:
        """Store a log-probability; it survives the end of this process."""
        if math.isnan(value):
            return
        key = json_digest([*_read(prompt), continuation])
        self._execute("INSERT OR REPLACE INTO likelihoods VALUES (?, ?)", (key, value))

    def close(self) -> None:
        """Close the database connection; it reopens when the cache is used."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _execute(self, statement: str, values: tuple[str | float, ...]) -> list[Any]:
        """Execute a statement and return its rows; none if the cache is unusable."""
        for _ in range(3):
            if not self._usable:
                break
            try:
                if self._connection is None:
                    self._connection = self._open()
                return self._connection.execute(statement, values).fetchall()
            except (sqlite3.DatabaseError, _ForeignFileError, OSError) as error:
                self.close()
                if not _is_broken(error) or not self._set_aside(error):
                    self._usable = False
                    _log.warning("prlm-bench: warning: completions are not cached in %s: %s", self.path, error)
        return []

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch()  # also records when it was last used
        self._inode = self.path.stat().st_ino
        # The finalizer may close it in any thread.
        connection = sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
        weakref.finalize(self, connection.close)
        try:
            # With a write-ahead log a commit does not wait for the disk, and a killed process loses nothing.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.executescript(_TABLES)
            first = "INSERT INTO identity SELECT ? WHERE NOT EXISTS (SELECT * FROM identity)"
            connection.execute(first, (self._identity,))
            if connection.execute("SELECT json FROM identity").fetchall() != [(self._identity,)]:
                raise _ForeignFileError("it belongs to another generator")
        except BaseException:
            connection.close()
            raise
        return connection

    def _set_aside(self, error: Exception) -> bool:
        """Rename the broken file; False if that fails."""
        try:
            if self.path.stat().st_ino != self._inode:
                return True  # another process has renamed it
            for tail in ("-wal", "-shm"):
                self.path.with_name(self.path.name + tail).unlink(missing_ok=True)
            self.path.replace(self.path.with_name(self.path.name + BROKEN))
        except FileNotFoundError:
            return True
        except OSError:
            return False
        _log.warning("prlm-bench: warning: broken cache file set aside as %s%s: %s", self.path, BROKEN, error)
        return True


def _is_broken(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return isinstance(error, _ForeignFileError) or code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
