"""Downloads a task's official files into LaMP's layout, resuming partial ones, and records their checksums."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .._util.files import write_whole
from .._util.json_text import read_json
from .._util.locks import lock
from .._util.text import without_logins
from ..errors import DataError
from ..tasks import Task
from ._pace import new_client
from ._transfer import FileProgress, MissingError, Transfer
from .lamp._layout import is_split_name, questions_file

#: Where LaMP's authors keep the files.
DEFAULT_URL = "https://ciir.cs.umass.edu/downloads/LaMP/"
CHECKSUMS = "checksums.json"
#: Bytes that a file may have, several times those of LaMP's largest, and bytes that have to come a second.
MAX_BYTES, MIN_RATE = 32 << 30, 1024.0


@dataclass(frozen=True, slots=True)
class Fetched:
    """One file after `download`."""

    path: Path
    url: str
    size: int
    sha256: str
    #: `downloaded`; `verified`: it was there, as recorded; `kept`: it was there, and nothing is recorded.
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
    max_bytes: int = MAX_BYTES,
    min_rate: float = MIN_RATE,
) -> list[Fetched]:
    """Download the questions and outputs of some splits; verify files that are there already instead.

    A repeated call resumes an interrupted download. The server may lack the outputs of the split `test`, whose golds
    are withheld. `<root>/checksums.json` records SHA-256, size and version of each file.

    Args:
        task: its `download` says where the files are below `base_url`.
        root: the task's own folder; made where it is missing.
        splits: which splits; for each, the result has questions before outputs.
        base_url: the server's folder.
        force: download existing files again; each is replaced only by a whole new file.
        progress: see `FileProgress`.
        retries: consecutive attempts without new bytes before giving up.
        backoff: seconds before the first retry; doubled each time.
        timeout: seconds without any answer of the server.
        max_bytes: of the largest file that is taken.
        min_rate: bytes a second that have to come, measured over a minute; 0 waits for ever.

    Raises:
        DataError: the task has no download; the server cannot be reached or lacks a file; the disk is full; a file
            differs from its record, is too large, or comes too slowly.
    """
    root = Path(root)
    fetched = []
    planned = list(_plan(task, root, splits, base_url))
    with new_client(timeout) as client:
        for path, url, optional in planned:
            there = None if force else _present(root, path, url)
            try:
                made = Transfer(client, url, path, progress, retries, backoff, max_bytes, min_rate)
                fetched.append(there or _fetch(made, root))
            except MissingError:
                if not optional:
                    raise
    return fetched


def _plan(task: Task, root: Path, splits: Sequence[str], base_url: str) -> Iterator[tuple[Path, str, bool]]:
    """The files to fetch: where each belongs, its address, and whether it may be missing."""
    if task.download is None:
        made = task.synthetic is not None
        why = "its data are made here" if made else "its data are not public"
        hint = "`prlm-bench data synth` makes them" if made else "give the folder of your copy with --data DIR"
        raise DataError(f"task {task.name} has no download: {why}", hint)
    base = base_url.rstrip("/") + "/"
    for split in splits:
        if not is_split_name(split):
            raise DataError(f"{split!r} is not a split's name", "known: " + ", ".join(task.sizes or ("train", "dev")))
        questions = questions_file(root, split)
        yield questions, base + task.download.questions.format(split=split), False
        outputs = questions.with_name(f"{split}_outputs.json")
        yield outputs, base + task.download.outputs.format(split=split), split == "test"


def _present(root: Path, path: Path, url: str) -> Fetched | None:
    """The existing file, verified; None where there is none."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    record = _read_checksums(root).get(path.relative_to(root).as_posix())
    if record is not None and (not isinstance(record, dict) or record.get("sha256") != sha256):
        raise DataError(
            f"{path}: the file is not what was downloaded: its SHA-256 differs from {root / CHECKSUMS}",
            "--force downloads it again",
        )
    return Fetched(path, without_logins(url), path.stat().st_size, sha256, "kept" if record is None else "verified")


def _fetch(transfer: Transfer, root: Path) -> Fetched:
    record = transfer.run()
    with lock(root / f".{CHECKSUMS}.lock"):
        records = _read_checksums(root) | {transfer.target.relative_to(root).as_posix(): record}
        content = json.dumps(records, indent=1, sort_keys=True) + "\n"
        write_whole(root / CHECKSUMS, content.encode())
    return Fetched(transfer.target, transfer.shown_url, record["bytes"], record["sha256"], "downloaded")


def _read_checksums(root: Path) -> dict[str, Any]:
    path = root / CHECKSUMS
    hint = "remove it to keep the files as they are"
    if not path.exists():
        return {}
    try:
        content = read_json(path)
    except DataError as error:
        raise DataError(error.message, hint) from None
    if not isinstance(content, dict):
        raise DataError(f"{path}: cannot be read: not an object", hint)
    return content
