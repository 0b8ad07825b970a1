"""Writes and reads the lines of finished samples."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from .._util.json_text import load_json_lines
from .._util.reading import byte_lines
from ..errors import DataError
from ..records import Prompt, Sample
from ._journal import REWARD_FAILURES, SECONDS
from ._schema import ITEM_TEXT, Manifest, SampleRecord

SAMPLES = "samples.jsonl"
#: What a line says of its row, ahead of the fields of the sample.
ROW_FIELDS = ("task", "split", "row")


def row_fields(manifest: Manifest) -> dict[str, str]:
    """What each line says of its row."""
    return dict(zip(ROW_FIELDS, (manifest.task, manifest.split, manifest.fingerprint[:16]), strict=True))


def row_head(manifest: Manifest) -> bytes:
    """The beginning of each line of a row: its brace, and what it says of the row."""
    return orjson.dumps(row_fields(manifest))[:-1] + b","


def samples_digest(path: Path, manifest: Manifest) -> str:
    """SHA-256 of the samples of a row, as hex: of each line without the beginning that all lines of the row share.

    So files from before lines had it keep their digest, and equal samples of two seeds have the same. A beginning that
    is not that of the row counts as content.

    Args:
        path: the file.
        manifest: that of the row.

    Raises:
        DataError: the file cannot be read.
    """
    head = row_head(manifest)
    digest = hashlib.sha256()
    for _, line in byte_lines(path):
        digest.update(b"{" + line[len(head) :] if line.startswith(head) else line)
    return digest.hexdigest()


def sample_line(
    sample: Sample,
    retrieval: Mapping[str, float],
    rewards: Mapping[str, float],
    reward_failures: Mapping[str, str] | None = None,
    seconds: float | None = None,
) -> bytes:
    """The journal's line for a finished sample: `SampleRecord` without its metrics, and what only the journal holds.

    Args:
        sample: the sample.
        retrieval: retrieval measures of its ranking; empty without relevance labels.
        rewards: rewards by name.
        reward_failures: why a reward gave no value, by its name.
        seconds: that generating the completion took; None where it was not generated.
    """
    prompt, completion, answer = sample.prompt, sample.completion, sample.answer
    example, ranking = prompt.example, prompt.ranking
    return orjson.dumps(
        {
            "id": example.id,
            "user": example.user,
            "query": example.query,
            "items": [
                {"id": item.id, "score": score, "text": _beginning(item.text)}
                for item, score in zip(ranking.items, ranking.scores, strict=True)
            ],
            "prompt": prompt.text,
            **_asked(prompt),
            "prompt_tokens": prompt.tokens,
            "shown": prompt.shown,
            "cut": prompt.cut,
            "dropped": prompt.dropped,
            "completion": completion.text,
            "finish": completion.finish,
            "completion_tokens": completion.tokens,
            "generator_prompt_tokens": completion.prompt_tokens,
            "cost": completion.cost,
            "reasoning": answer.reasoning,
            "answer": answer.text,
            "parsed": answer.parsed,
            "cited": answer.cited,
            "gold": example.gold,
            "retrieval": retrieval,
            "rewards": rewards,
            **({REWARD_FAILURES: reward_failures} if reward_failures else {}),
            **({} if seconds is None else {SECONDS: round(seconds, 6)}),
        }
    )


def _asked(prompt: Prompt) -> dict[str, Any]:
    """What only some prompts have: several turns, and what a generator wrote before."""
    drafts = [
        {
            "prompt": draft.prompt.text,
            **_turns(draft.prompt),
            "completion": draft.completion.text,
            "finish": draft.completion.finish,
            "completion_tokens": draft.completion.tokens,
            "generator_prompt_tokens": draft.completion.prompt_tokens,
            "cost": draft.completion.cost,
        }
        for draft in prompt.drafts
    ]
    return _turns(prompt) | ({"drafts": drafts} if drafts else {})


def _turns(prompt: Prompt) -> dict[str, Any]:
    return {"turns": [{"role": turn.role, "text": turn.text} for turn in prompt.turns]} if prompt.turns else {}


def _beginning(text: str) -> str:
    return text if len(text) <= ITEM_TEXT else text[: ITEM_TEXT - 1] + "…"


def read_samples(folder: Path) -> Iterator[SampleRecord]:
    """The samples of a finished folder, one by one.

    Raises:
        DataError: there are no samples, or a line violates the schema; the message names it.
    """
    path = folder / SAMPLES
    if not path.is_file():
        hint = "only its summary is published; run the command of its manifest to recreate them"
        raise DataError(f"{folder} has no samples", hint)
    yield from load_json_lines(path, SampleRecord)
