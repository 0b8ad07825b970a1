"""The embedding cache: vectors that outlive their run, in one SQLite file for each encoder and its settings."""

from __future__ import annotations

import logging
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from prlm_bench.errors import PrlmBenchError

T = TypeVar("T")
P = ParamSpec("P")
Floats = NDArray[np.float32]

_log = logging.getLogger(__name__)

#: Appended to the name of a damaged file.
BROKEN = ".broken"
#: Keys in one query; builds of SQLite before 3.32 take 999.
_CHUNK = 900
# Rows have the order in which they were written, so that the items of a profile stand together. Half a digest is key
# enough, and twice as fast as all of it: the checksum covers the other half. A page holds several vectors.
_SETUP = """
    PRAGMA page_size = 16384;
    CREATE TABLE IF NOT EXISTS about (text TEXT);
    CREATE TABLE IF NOT EXISTS vectors (key INTEGER UNIQUE, checksum INTEGER NOT NULL, vector BLOB NOT NULL);
"""


class VectorCache:
    """Vectors by the 16-byte digests of their texts. Several processes can read and write the file at a time.

    A row counts only if its checksum matches; others are deleted. A damaged file is renamed, with a warning in the log,
    and a new one is started. SQLite's rollback journal makes each write whole or absent, also where
    the process is killed; unlike a write-ahead log it works on network file systems.

    Args:
        path: the file; made when it is first needed.
        identity: names the encoder and its settings; rows written under another identity do not count.
        about: the same for people, kept in the table `about`.
        timeout: seconds to wait for another process that is writing.
    """

    def __init__(self, path: Path, identity: bytes, about: str = "", timeout: float = 60.0) -> None:
        self.path = path
        self._seed, self._about, self._timeout = zlib.crc32(identity), about, timeout
        self._connection: sqlite3.Connection | None = None
        self._inode = 0

    def size(self) -> int:
        """Bytes of the file; 0 where there is none yet."""
        return self.path.stat().st_size if self.path.exists() else 0

    def get(self, digests: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """The vectors that are there, in any order: digest, and little-endian float32 numbers as bytes.

        Raises:
            PrlmBenchError: the file cannot be read or made.
        """
        wanted = dict(zip(_keys(digests), digests, strict=True))
        keys = list(wanted)
        for start in range(0, len(keys), _CHUNK):
            damaged = []
            for row, key, checksum, vector in self._run(_select, keys[start : start + _CHUNK]):
                digest = wanted.get(key, b"")
                # SQLite gives a value of any type where the type itself was altered.
                if isinstance(vector, bytes) and checksum == zlib.crc32(vector, zlib.crc32(digest, self._seed)):
                    yield digest, vector
                else:
                    damaged.append((row,))
            if damaged:
                self._run(_delete, damaged)

    def put(self, digests: Sequence[bytes], vectors: Floats) -> dict[bytes, bytes]:
        """Keep n vectors, shape (n, dims), in one transaction.

        Returns:
            The vectors that count from now on, as bytes by digest. Where another process was first, that is its
            vector, whose last bits may differ.

        Raises:
            PrlmBenchError: the file cannot be written.
        """
        blobs = [vector.tobytes() for vector in np.ascontiguousarray(vectors, "<f4")]
        rows = [
            (key, zlib.crc32(vector, zlib.crc32(digest, self._seed)), vector)
            for key, digest, vector in zip(_keys(digests), digests, blobs, strict=True)
        ]
        self._run(_insert, self._about, rows)
        kept = dict(self.get(digests))
        if len(kept) < len(digests) and self._set_aside("rows are not found again"):
            self._run(_insert, self._about, rows)
        return dict(zip(digests, blobs, strict=True)) | kept

    def close(self) -> None:
        """Close the file; it is opened again when it is needed."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _run(self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **options: P.kwargs) -> T:
        """What `work` gives as one transaction; it runs a second time on a new file where the present one is broken."""
        for last in (False, True):
            try:
                if self._connection is None:
                    self._connection = self._open()
                with self._connection:
                    return work(self._connection, *args, **options)
            except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
                self.close()
                reason = getattr(error, "strerror", None) or " ".join(str(error).split())
                if last or not _is_broken(error) or not self._set_aside(reason):
                    hint = "set PRLM_BENCH_CACHE to a writable folder with free space"
                    raise PrlmBenchError(f"cannot use the embedding cache {self.path}: {reason}", hint) from None
        raise AssertionError  # the loop returns or raises

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Garbage may be collected, and the file closed, in any thread.
        connection = sqlite3.connect(self.path, timeout=self._timeout, check_same_thread=False)
        try:
            self._inode = self.path.stat().st_ino
            connection.text_factory = bytes
            connection.executescript(_SETUP)
        except BaseException:
            connection.close()
            raise
        return connection

    def _set_aside(self, reason: str) -> bool:
        """Make room for a new file; False where that cannot be done."""
        self.close()
        try:
            if self.path.stat().st_ino != self._inode:
                return True  # another process has done it
            self.path.replace(aside := self.path.with_name(self.path.name + BROKEN))
            self.path.with_name(self.path.name + "-journal").unlink(missing_ok=True)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        _log.warning(
            "prlm-bench: warning: damaged embedding cache renamed to %s; texts will be encoded again: %s", aside, reason
        )
        return True


def _is_broken(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", 0)
    # Our statements are right, so that an error in one shows a schema that is not ours.
    broken = code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
    # What SQLite quotes of a broken file may be no text.
    return broken or code == sqlite3.SQLITE_READONLY_DBMOVED or isinstance(error, UnicodeDecodeError)


def _select(db: sqlite3.Connection, keys: list[int]) -> list[tuple[int, int, int, bytes]]:
    # By `rowid`, so that rows are read in the order of the file.
    found = f"SELECT rowid FROM vectors WHERE key IN ({','.join('?' * len(keys))})"
    return db.execute(f"SELECT rowid, key, checksum, vector FROM vectors WHERE rowid IN ({found})", keys).fetchall()


def _delete(db: sqlite3.Connection, rows: list[tuple[int]]) -> None:
    db.executemany("DELETE FROM vectors WHERE rowid = ?", rows)


def _insert(db: sqlite3.Connection, about: str, rows: list[tuple[int, int, bytes]]) -> None:
    db.execute("INSERT INTO about SELECT ? WHERE NOT EXISTS (SELECT * FROM about)", (about,))
    db.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?, ?)", rows)


def _keys(digests: Sequence[bytes]) -> list[int]:
    keys: list[int] = np.frombuffer(b"".join(digests), "<i8")[::2].tolist()
    return keys
