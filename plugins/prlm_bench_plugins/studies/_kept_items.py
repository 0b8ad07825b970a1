"""The `only` retriever: what remains of a ranking when a study removes items from it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson

from prlm_bench import Example, Ranking
from prlm_bench.errors import DataError
from prlm_bench.files import parse_record, read_bytes, write_whole
from prlm_bench.interfaces import Context, Retriever


class KeptItems:
    """The items that a study has kept of another retriever's ranking, in that ranking's order.

    Args:
        kept: digest of the lists of kept items, which the study writes to the cache.
        of: the other retriever.

    Raises:
        ValueError: `kept` is not such a digest.
        DataError: the cache does not hold the lists, or they are damaged.
    """

    def __init__(self, context: Context, kept: str, of: str = "bm25") -> None:
        self._inner: Retriever = context.build("retriever", of)
        self._kept = read_kept(context.cache_dir, kept)

    def rank(self, examples: Sequence[Example], k: int | None = None) -> list[Ranking]:
        """Rank each profile and keep the items in its question's list; a question without a list keeps none."""
        rankings = self._inner.rank(examples)
        return [self._keep(example, ranking, k) for example, ranking in zip(examples, rankings, strict=True)]

    def _keep(self, example: Example, ranking: Ranking, k: int | None) -> Ranking:
        wanted = set(self._kept.get(example.id, ()))
        places = [place for place, item in enumerate(ranking.items) if item.id in wanted][:k]
        return Ranking(tuple(ranking.items[at] for at in places), tuple(ranking.scores[at] for at in places))


def write_kept(cache: Path, kept: Mapping[str, Sequence[str]]) -> str:
    """Write lists of kept items by question id to the cache folder; returns the digest that names them."""
    content = orjson.dumps({key: list(ids) for key, ids in kept.items()}, option=orjson.OPT_SORT_KEYS)
    name = hashlib.sha256(content).hexdigest()[:16]
    write_whole(_path(cache, name), content)
    return name


def read_kept(cache: Path, name: str) -> dict[str, list[str]]:
    """The lists that `write_kept` wrote.

    Raises:
        ValueError: `name` is not a digest.
        DataError: the lists are missing or damaged.
    """
    if not re.fullmatch(r"[0-9a-f]{16}", name):
        raise ValueError(f"kept={name!r} is not a digest of kept items; prlm-bench study faithfulness writes them")
    path, again = _path(cache, name), "run the study that wrote them again"
    if not path.is_file():
        raise DataError(f"there are no kept items {name} in the cache", again)
    content = read_bytes(path)
    if hashlib.sha256(content).hexdigest()[:16] != name:
        raise DataError(f"the kept items {name} in the cache are damaged", again)
    return parse_record(content, dict[str, list[str]], str(path), again)


def _path(cache: Path, name: str) -> Path:
    return cache / "studies" / f"kept-{name}.json"
