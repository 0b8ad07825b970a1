"""Writes the site: an index, a page for each result, and the samples in packed data files."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from .._util.files import write_whole
from ..errors import DataError
from ..progress import Progress, Silent
from ..report import SeedAggregation, Table, build_tables
from ..report._overview import make_board
from ..report.findings import Finding
from ..results import Stored
from ..tasks import TaskRegistry
from ._entries import make_entries
from ._pages import index_page, run_page
from ._pictures import PICTURES, Picture
from ._samples import write_samples

_STATIC = Path(__file__).resolve().parent / "static"
#: Marks the folder as a generated site, so that another folder named `runs`, `samples` or `pictures` is never removed.
_MARKER = ".prlm-bench-site"
#: The folder of the samples of all results.
_SAMPLES = "samples"


def write_site(
    stored: Sequence[Stored],
    tasks: TaskRegistry,
    output: Path,
    progress: Progress | None = None,
    *,
    pooling: SeedAggregation | None = None,
    findings: Sequence[Finding] = (),
    pictures: Sequence[Picture] = (),
) -> Path:
    """Write the whole site below `output`.

    Args:
        stored: finished results.
        tasks: provides titles.
        output: the folder of the site; an earlier site in it is replaced, other files are kept.
        progress: receives progress updates.
        pooling: how results become rows; by default seeds are averaged.
        findings: outcomes of checks; each page shows those of its result.
        pictures: of studies, which the index shows.

    Returns:
        The index page.

    Raises:
        DataError: there is another folder named `runs`, `samples` or
            `pictures`, or a link in its place; or a fingerprint is
            malformed, or begins as another one does.
    """
    progress = progress or Silent()
    by_fingerprint = _by_fingerprint(stored)
    pooling = pooling or SeedAggregation()
    tables = build_tables(by_fingerprint.values(), tasks, pooling)
    runs = _clear(output)
    for file in sorted(_STATIC.iterdir()):
        write_whole(output / "static" / file.name, file.read_bytes())
    for picture in pictures:
        write_whole(output / PICTURES / picture.file, picture.content)
    progress.start("site, rows", len(by_fingerprint))
    samples: dict[str, str] = {}
    for fingerprint, result in by_fingerprint.items():
        if result.has_samples:
            samples[fingerprint] = write_samples(result, output / _SAMPLES)
        progress.advance()
    entries = [make_entries(table) for table in tables]
    for fingerprint, result in by_fingerprint.items():
        mine = [(table, rows) for table, rows in zip(tables, entries, strict=True) if _holds(table, fingerprint)]
        found = [finding for finding in findings if fingerprint in finding.fingerprints]
        page = run_page(result, mine, samples, found)
        write_whole(runs / _place(fingerprint) / "index.html", page.encode())
    index = output / "index.html"
    write_whole(index, index_page(make_board(tables, pooling.host), pooling.host, pictures).encode())
    return index


def _by_fingerprint(stored: Sequence[Stored]) -> dict[str, Stored]:
    """Results by fingerprint, each with a folder of its own."""
    found = {_checked(result): result for result in stored}
    places: dict[str, Stored] = {}
    for fingerprint, result in found.items():
        other = places.setdefault(_place(fingerprint), result)
        if other is not result:
            raise DataError(
                f"{other.folder} and {result.folder}: their fingerprints begin alike, with {_place(fingerprint)}",
                "check them with prlm-bench results verify",
            )
    return found


def _place(fingerprint: str) -> str:
    """The name of a result's folder in the site."""
    return fingerprint[:12]


def _checked(result: Stored) -> str:
    """The validated fingerprint of a result: it names a folder, and a contributed manifest may be malformed."""
    fingerprint = result.manifest.fingerprint
    if not re.fullmatch(r"[0-9a-f]{64}", fingerprint):
        raise DataError(
            f"{result.folder}: the fingerprint is not 64 hexadecimal digits", "check it with prlm-bench results verify"
        )
    return fingerprint


def _clear(output: Path) -> Path:
    runs, samples, pictures = output / "runs", output / _SAMPLES, output / PICTURES
    for path in (runs, samples, pictures, output / "static", output / _MARKER):
        if path.is_symlink():
            raise DataError(f"{path} is a link, and a site writes to no other folder", "choose another --output")
    for path in (runs, samples, pictures):
        if path.exists() and not (output / _MARKER).is_file():
            raise DataError(f"{path} exists and is not part of a site", "choose another --output")
        shutil.rmtree(path, ignore_errors=True)
    write_whole(output / _MARKER, b"")
    return runs


def _holds(table: Table, fingerprint: str) -> bool:
    return any(fingerprint in row.fingerprints for row in table.rows)
