"""Fetches a task's official files into LaMP's layout and records what came."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .._locks import lock
from ..errors import DataError
from ..tasks import Task
from ._files import questions_file

if TYPE_CHECKING:
    import httpx

#: Where LaMP's authors keep the files.
DEFAULT_URL = "https://ciir.cs.umass.edu/downloads/LaMP/"
CHECKSUMS = "checksums.json"

#: Called with the file's name, bytes so far, and bytes in all (None where the server does not say).
FileProgress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class Fetched:
    """One file after `download`."""

    path: Path
    url: str
    size: int
    sha256: str
    #: `downloaded`; `verified`: it was there and is what was recorded; `kept`: it was there, nothing is recorded.
    action: Literal["downloaded", "verified", "kept"]


def download(
    task: Task,
    root: Path,
    splits: Sequence[str],
    base_url: str = DEFAULT_URL,
    *,
    force: bool = False,
    progress: FileProgress | None = None,
    retries: int = 5,
    backoff: float = 1.0,
    timeout: float = 30.0,
) -> list[Fetched]:
    """Fetch questions and outputs of some splits; what is there already is verified instead.

    A download that stops goes on in the next call. Outputs of the split `test` may be missing on the server:
    they are withheld. SHA-256, size and version of each file are recorded in `<root>/checksums.json`.

    Args:
        task: its `download` says where the files are below `base_url`.
        root: the task's own folder; made where it is missing.
        splits: which splits; for each, the result has questions before outputs.
        base_url: the server's folder.
        force: fetch again what is there; it is replaced only by a whole new file.
        progress: see `FileProgress`.
        retries, backoff: tries without any gain before giving up; seconds before the first, then doubled.
        timeout: seconds without a sign of life from the server.

    Raises:
        DataError: no download; no server, or no such file there; no room; a file is not what was recorded.
    """
    planned = list(_plan(task, Path(root), splits, base_url))
    from ._transfer import new_client

    with new_client(timeout) as client:
        settled = [
            (None if force else _present(Path(root), path, url))
            or _fetch(client, Path(root), path, url, optional, progress, retries, backoff)
            for path, url, optional in planned
        ]
    return [file for file in settled if file is not None]


def _plan(task: Task, root: Path, splits: Sequence[str], base_url: str) -> Iterator[tuple[Path, str, bool]]:
    """The files to fetch: where each belongs, its address, and whether it may be missing."""
    if task.download is None:
        made = task.synthetic is not None
        why = "its data are made here" if made else "its data are not public"
        hint = "`prlm-bench data synth` makes them" if made else "give the folder of your copy with --data DIR"
        raise DataError(f"task {task.name} has no download: {why}", hint)
    for split in splits:
        if not split or Path(split).name != split:
            raise DataError(f"{split!r} is no name of a split", "known: " + ", ".join(task.sizes or ("train", "dev")))
        questions = questions_file(root, split)
        base = base_url.rstrip("/") + "/"
        yield questions, base + task.download.questions.format(split=split), False
        outputs = questions.with_name(f"{split}_outputs.json")
        yield outputs, base + task.download.outputs.format(split=split), split == "test"


def _fetch(
    client: httpx.Client,
    root: Path,
    path: Path,
    url: str,
    optional: bool,
    progress: FileProgress | None,
    retries: int,
    backoff: float,
) -> Fetched | None:
    from ._transfer import MissingError, Transfer

    def report(done: int, total: int | None) -> None:
        if progress is not None:
            progress(path.name, done, total)

    try:
        sha256, version = Transfer(client, url, path, report, retries, backoff).run()
    except MissingError:
        if optional:
            return None
        raise
    size = path.stat().st_size
    with _checksums(root) as records:
        records[_name(root, path)] = {
            "sha256": sha256,
            "bytes": size,
            "url": url,
            "etag": version.etag,
            "last_modified": version.last_modified,
        }
    return Fetched(path, url, size, sha256, "downloaded")


def _present(root: Path, path: Path, url: str) -> Fetched | None:
    """The file that is there already, verified; None where there is none."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    record = _read_checksums(root).get(_name(root, path))
    if record is None:
        return Fetched(path, url, path.stat().st_size, sha256, "kept")
    if not isinstance(record, dict) or record.get("sha256") != sha256:
        raise DataError(
            f"{path}: the file is not what was downloaded: its SHA-256 differs from {root / CHECKSUMS}",
            "--force downloads it again",
        )
    return Fetched(path, url, path.stat().st_size, sha256, "verified")


def _name(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _read_checksums(root: Path) -> dict[str, Any]:
    path = root / CHECKSUMS
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("not an object")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}", "remove it; files that are there are then kept") from None
    return content


@contextmanager
def _checksums(root: Path) -> Iterator[dict[str, Any]]:
    """The records, written back whole afterwards; one process at a time."""
    with lock(root / f".{CHECKSUMS}.lock"):
        records = _read_checksums(root)
        yield records
        scratch = root / f".{CHECKSUMS}.{os.getpid()}"
        scratch.write_text(json.dumps(records, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        scratch.replace(root / CHECKSUMS)
