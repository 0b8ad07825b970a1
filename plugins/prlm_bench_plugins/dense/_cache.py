"""The embedding cache: vectors that outlive their run, in one SQLite file for each encoder and its settings."""

from __future__ import annotations

import logging
import sqlite3
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from prlm_bench.errors import PrlmBenchError

T = TypeVar("T")
Floats = NDArray[np.float32]

_log = logging.getLogger(__name__)

#: Appended to the name of a file that is no sound database.
BROKEN = ".broken"
#: Digests in one query, which sorts them and so reads neighbouring rows together.
_CHUNK = 4000
# Rows have the order in which they were written, so that the items of a profile stand together; the index on the
# digests is small. A page holds several vectors.
_TABLES = """
    PRAGMA page_size = 16384;
    PRAGMA cache_size = -65536;
    CREATE TABLE IF NOT EXISTS about (text TEXT);
    CREATE TABLE IF NOT EXISTS vectors (digest BLOB PRIMARY KEY, checksum INTEGER NOT NULL, vector BLOB NOT NULL);
"""


class VectorCache:
    """Vectors by the digests of their texts. Several processes can read and write the file at a time.

    A row counts only if its checksum matches; others are deleted. A file that is no sound database is set aside with
    a line in the log, and a new one is begun. SQLite's rollback journal makes each write whole or absent, also where
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

    def get(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        """The vectors that are there, each as the bytes of little-endian float32 numbers, by digest.

        Raises:
            PrlmBenchError: the file cannot be read or made.
        """

        def select(db: sqlite3.Connection) -> list[tuple[int, bytes, int, bytes]]:
            rows = []
            size = min(_CHUNK, db.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER))
            for chunk in (digests[start : start + size] for start in range(0, len(digests), size)):
                marks = ",".join("?" * len(chunk))
                rows += db.execute(f"SELECT rowid, * FROM vectors WHERE digest IN ({marks})", chunk).fetchall()
            return rows

        found: dict[bytes, bytes] = {}
        damaged = []
        for row, digest, checksum, vector in self._run(select):
            # SQLite gives a value of any type where the type itself was altered.
            if isinstance(vector, bytes) and checksum == self._checksum(digest, vector):
                found[digest] = vector
            else:
                damaged.append((row,))
        if damaged:
            self._run(lambda db: db.executemany("DELETE FROM vectors WHERE rowid = ?", damaged))
        return found

    def put(self, digests: Sequence[bytes], vectors: Floats) -> None:
        """Keep n vectors, shape (n, dims), in one transaction. Where a digest is there already, its vector stays.

        Raises:
            PrlmBenchError: the file cannot be written.
        """
        blobs = [vector.tobytes() for vector in np.ascontiguousarray(vectors, "<f4")]
        rows = [(digest, self._checksum(digest, blob), blob) for digest, blob in zip(digests, blobs, strict=True)]

        def insert(db: sqlite3.Connection) -> None:
            db.execute("INSERT INTO about SELECT ? WHERE NOT EXISTS (SELECT * FROM about)", (self._about,))
            db.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?, ?)", rows)

        self._run(insert)

    def close(self) -> None:
        """Close the file; it is opened again when it is needed."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _checksum(self, digest: bytes, vector: bytes) -> int:
        return zlib.crc32(vector, zlib.crc32(digest, self._seed))

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` gives as one transaction; it runs a second time on a new file where the present one is broken."""
        for last in (False, True):
            try:
                if self._connection is None:
                    self._connection = self._open()
                with self._connection:
                    return work(self._connection)
            except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
                self.close()
                # What SQLite quotes of a broken file may hold line ends; where it is no text, decoding it fails.
                reason = getattr(error, "strerror", None) or " ".join(str(error).split())
                if last or not self._replaced(error, reason):
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
            connection.executescript(_TABLES)
        except BaseException:
            connection.close()
            raise
        return connection

    def _replaced(self, error: Exception, reason: str) -> bool:
        """Whether a new file can take the place of this one, which is set aside if it is broken."""
        code = getattr(error, "sqlite_errorcode", 0)
        if code == sqlite3.SQLITE_READONLY_DBMOVED:
            return True
        # Our statements are right, so that an error in one shows a schema that is not ours.
        broken = code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
        if not broken and not isinstance(error, UnicodeDecodeError):
            return False
        try:
            if self.path.stat().st_ino != self._inode:
                return True  # another process has replaced it
            self.path.replace(aside := self.path.with_name(self.path.name + BROKEN))
            self.path.with_name(self.path.name + "-journal").unlink(missing_ok=True)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        _log.warning("prlm-bench: warning: broken embedding cache set aside as %s, begun anew: %s", aside, reason)
        return True
