"""Run and relevance files in the formats of trec_eval.

A run line is `question Q0 item rank score tag`, a relevance line `question 0 item 1`, separated by blanks. An
item's id is written as in the data. Ids are unique only within one profile, which is enough, since TREC tools process
one question at a time; for an id that a profile repeats, the first rank counts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

import numpy as np

from .._util.reading import shortened, text_lines
from ..errors import DataError, RunError
from ..interfaces import Retriever
from ..progress import Progress
from ..records import Example
from ..running._calls import rank

if TYPE_CHECKING:
    from ..data import Dataset

#: Characters that some readers treat as column separators.
_BREAKS = re.compile(r"[\s\x00-\x1f\x7f]")
#: These and the escape character.
_ESCAPED = re.compile(r"[\s\x00-\x1f\x7f%]")
_BATCH = 128
Scores = Literal["places", "own"]


def run_lines(
    dataset: Dataset,
    retriever: Retriever,
    tag: str,
    progress: Progress,
    *,
    limit: int | None = None,
    depth: int | None = None,
    scores: Scores = "places",
    escape: bool = False,
) -> Iterator[bytes]:
    """The lines of a run file, question by question.

    Args:
        tag: name of the run; blanks become `_`.
        limit: maximum number of questions, taken from the start.
        depth: maximum number of items per ranking.
        scores: `places` counts down from the number of items, so that every tool keeps the order; `own` writes
            the retriever's scores, whose ties trec_eval orders by descending id.
        escape: percent-encode characters in ids that would end a column.

    Raises:
        DataError: an id has such characters and `escape` is not set.
    """
    count = min(limit or len(dataset), len(dataset))
    progress.start(f"{dataset.task.name} {dataset.split}", count)
    label = re.sub(r"\s+", "_", tag.strip()) or "run"
    for examples in dataset.batches(_BATCH, 0, count):
        for example, ranking in zip(examples, rank(retriever, examples, depth), strict=True):
            best: dict[str, float] = {}
            for item, score in zip(ranking.items, ranking.scores, strict=True):
                best.setdefault(item.id, score)
            kept = list(best.items())[:depth]
            question = _column(example.id, "question", escape)
            for place, (identifier, score) in enumerate(kept, 1):
                value = f"{len(kept) - place + 1}" if scores == "places" else repr(float(score))
                item_id = _column(identifier, f"item of question {example.id}:", escape)
                yield f"{question} Q0 {item_id} {place} {value} {label}\n".encode()
        progress.advance(len(examples))


def qrels_lines(dataset: Dataset, *, limit: int | None = None, escape: bool = False) -> Iterator[bytes]:
    """The lines of a relevance file: the relevant items, each with relevance 1.

    Raises:
        RunError: the dataset has no relevance labels.
        DataError: an id has characters that would end a column and `escape` is not set.
    """
    if "relevance" not in dataset.has:
        message = f"{dataset.task.name} {dataset.split} has no relevance labels"
        raise RunError(message, "mini-LaMP tasks have them")
    for examples in dataset.batches(_BATCH, 0, min(limit or len(dataset), len(dataset))):
        for example in examples:
            yield from _judged(example, escape)


def _judged(example: Example, escape: bool) -> Iterator[bytes]:
    question = _column(example.id, "question", escape)
    for identifier in sorted(example.relevant or ()):
        yield f"{question} 0 {_column(identifier, f'item of question {example.id}:', escape)} 1\n".encode()


def escaped(identifier: str) -> str:
    """An id as one column: blanks, control characters and % as `%XX`."""
    return _ESCAPED.sub(lambda match: quote(match.group(), safe=""), identifier)


def _column(identifier: str, what: str, escape: bool) -> str:
    if not identifier:
        raise DataError(f"{what} {identifier!r}: a TREC file cannot hold an empty id")
    if escape:
        return escaped(identifier)
    if _BREAKS.search(identifier):
        message = f"{what} {identifier!r}: a TREC file cannot hold an id with blanks or control characters"
        raise DataError(message, "--escape percent-encodes them")
    return identifier


def read_run(path: Path) -> dict[str, list[tuple[float, str]]]:
    """Read a run file: for each question the scores and item ids in the order of trec_eval.

    trec_eval sorts by score, as a 32-bit float, and equal scores by descending id; the rank column is ignored, as it
    is by trec_eval.

    Raises:
        DataError: the file cannot be read, or a line is malformed; the message gives its number.
    """
    run: dict[str, dict[str, float]] = {}
    for number, line in text_lines(path):
        if line.strip():
            question, item, score = _read_line(line, f"{path}:{number}")
            items = run.setdefault(question, {})
            if item in items:
                message = f"question {shortened(question)!r} has item {shortened(item)!r} twice"
                raise DataError(f"{path}:{number}: {message}")
            items[item] = score
    if not run:
        raise DataError(f"{path}: no rankings")
    return {question: _in_order(items) for question, items in run.items()}


def _read_line(line: str, where: str) -> tuple[str, str, float]:
    columns = line.split()
    if len(columns) != 6:
        hint = "a run line is: question Q0 item rank score tag"
        raise DataError(f"{where}: {len(columns)} columns instead of 6", hint)
    try:
        score = float(columns[4])
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise DataError(f"{where}: the score {shortened(columns[4])!r} is not a finite number")
    return columns[0], columns[2], score


def _in_order(items: dict[str, float]) -> list[tuple[float, str]]:
    by_id = sorted(((score, item) for item, score in items.items()), key=lambda entry: entry[1].encode(), reverse=True)
    return sorted(by_id, key=lambda entry: -float(np.float32(entry[0])))
