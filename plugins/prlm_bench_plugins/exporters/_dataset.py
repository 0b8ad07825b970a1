"""A results folder as a dataset folder of the Hugging Face hub: Parquet files, the rows' own files, and a card.

README.md                       the card: what there is, the leaderboard, how to load and to verify it
figures.parquet                 a line for each row and metric
samples/TASK/SPLIT.parquet      a line for each row and question
rows/TASK/SPLIT/ROW/*.json      manifests and summaries, from which `prlm-bench leaderboard` makes its tables
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from prlm_bench import Results
from prlm_bench.errors import DataError
from prlm_bench.files import replacing, write_whole
from prlm_bench.results import MANIFEST, SCORES, SUMMARY, TIMING, Stored, by_questions

from ._card import card

_TEXT, _COUNT, _NUMBER = pyarrow.string(), pyarrow.int64(), pyarrow.float64()
#: What a sample says of its row.
_ROW = (
    ("row", _TEXT),
    ("retriever", _TEXT),
    ("k", _COUNT),
    ("reasoner", _TEXT),
    ("generator", _TEXT),
    ("seed", _COUNT),
)
#: What it says of itself without a text of the data or of a model.
_COUNTS = tuple((name, _COUNT) for name in ("prompt_tokens", "shown", "cut", "dropped", "completion_tokens"))
_PLAIN = (("id", _TEXT), ("user", _TEXT), ("finish", _TEXT), ("parsed", _TEXT), *_COUNTS)
#: Texts of the data, and of a model that may repeat them.
TEXTS = ("query", "prompt", "completion", "reasoning", "answer", "gold")
#: Samples that are written together.
_BATCH = 2_000


def write_dataset(found: Results, output: Path, *, name: str = "prlm-bench results", texts: bool = False) -> int:
    """Write the dataset folder.

    Args:
        found: the rows.
        output: the folder, which must be new or empty.
        name: the title of the card.
        texts: also write questions, items, prompts, references and completions.

    Returns:
        The number of samples written; rows without samples have only figures.

    Raises:
        DataError: there are no rows, or the folder has something in it.
    """
    if not found.rows:
        raise DataError(f"{found.folder} has no finished rows to export")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise DataError(f"{output} exists and is not an empty folder", "remove it, or choose another")
    written: dict[tuple[str, str], int] = {}
    for members in _by_split(found.rows):
        task, split = members[0].manifest.task, members[0].manifest.split
        with_samples = [row for row in members if row.has_samples]
        if with_samples:
            written[task, split] = _write_samples(with_samples, output / "samples" / task / f"{split}.parquet", texts)
    for row in found.rows:
        _copy_row(row, output / "rows")
    with replacing(output / "figures.parquet") as file:
        pyarrow.parquet.write_table(found.to_arrow(), file)
    # Last, so that a folder with a card is whole.
    write_whole(output / "README.md", card(found, written, name, texts).encode())
    return sum(written.values())


def _by_split(rows: Sequence[Stored]) -> Iterator[list[Stored]]:
    found: dict[tuple[str, str], list[Stored]] = {}
    for members in by_questions(rows):
        manifest = members[0].manifest
        found.setdefault((manifest.task, manifest.split), []).extend(members)
    yield from found.values()


def _copy_row(row: Stored, rows: Path) -> None:
    folder = rows / row.manifest.task / row.manifest.split / row.folder.name
    for name in (MANIFEST, SUMMARY, TIMING, SCORES):
        if (row.folder / name).is_file():
            write_whole(folder / name, (row.folder / name).read_bytes())


def _write_samples(rows: Sequence[Stored], path: Path, texts: bool) -> int:
    metrics = sorted({name for row in rows for name in row.metric_names})
    rewards = sorted({reward.spec for row in rows for reward in row.manifest.rewards})
    schema = _schema(metrics, rewards, texts)
    count = 0
    with replacing(path) as file, pyarrow.parquet.ParquetWriter(file, schema) as writer:
        for batch in _batches(rows, metrics, rewards, texts):
            writer.write_table(pyarrow.Table.from_pylist(batch, schema))
            count += len(batch)
    return count


def _schema(metrics: Sequence[str], rewards: Sequence[str], texts: bool) -> pyarrow.Schema:
    fields = [*_ROW, *_PLAIN]
    if texts:
        fields += [*((name, _TEXT) for name in TEXTS), ("items", pyarrow.list_(_TEXT))]
    return pyarrow.schema([*fields, *((name, _NUMBER) for name in (*metrics, *rewards))])


def _batches(
    rows: Sequence[Stored], metrics: Sequence[str], rewards: Sequence[str], texts: bool
) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for row in rows:
        manifest, method = row.manifest, row.manifest.method
        specs = {part: getattr(method, part).spec for part in ("retriever", "reasoner", "generator")}
        head = {"row": manifest.fingerprint, **specs, "k": method.k, "seed": manifest.seed}
        for sample in row.samples():
            line = head | {name: getattr(sample, name) for name, _ in _PLAIN}
            if texts:
                line |= {name: getattr(sample, name) for name in TEXTS} | {"items": [i.text for i in sample.items]}
            line |= {name: sample.metrics.get(name) for name in metrics}
            batch.append(line | {name: sample.rewards.get(name) for name in rewards})
            if len(batch) == _BATCH:
                yield batch
                batch = []
    if batch:
        yield batch
