"""The `rerank` retriever: a cross-encoder over the first items of another retriever."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

from prlm_bench import Example, Ranking
from prlm_bench.interfaces import Context
from prlm_bench.prompting import by_score

from .cross_encoder import CrossEncoder
from .inner import Inner, Pool


class Rerank:
    """Orders the first items of a retriever by a cross-encoder (R. Nogueira and K. Cho, arXiv 1901.04085, 2019).

    The items behind them follow in their own order, each scored 1 below the one before it. The items of one
    question go through the model on their own, so that no score depends on the other questions of a batch.

    Args:
        of: the retriever whose items are reordered.
        model: folder or hub name of a transformers model for sequence classification.
        depth: how many items the model reads.
        max_length: tokens of query and item together; the longer of the two is cut.
        batch_tokens: padded tokens that go through the model at once.
        device: where the model runs, as torch names it; auto is cuda where there is one, else cpu.
    """

    def __init__(
        self,
        context: Context,
        of: str = "bm25",
        *,
        model: str,
        depth: int = 20,
        max_length: int = 512,
        batch_tokens: int = 8192,
        device: str = "auto",
    ) -> None:
        if depth < 1 or batch_tokens < 1:
            raise ValueError("depth and batch_tokens are at least 1")
        if max_length < 8:
            raise ValueError("max_length is at least 8")
        self._inner = Inner(context, of)
        self._depth = depth
        self._encoder = CrossEncoder(model, max_length, batch_tokens, device, context.cache_dir)

    def fingerprint(self) -> str:
        """A hash of the model's files, the versions that compute with them, and the inner retriever's own."""
        versions = " ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
        return f"{self._encoder.files_hash} {versions} {self._encoder.device}; {self._inner.fingerprint()}"

    def cache_bytes(self) -> int | None:
        """Bytes that the inner retriever keeps on disk, if it tells."""
        return self._inner.cache_bytes()

    def rank(self, examples: Sequence[Example], k: int | None = None) -> list[Ranking]:
        """Rank each profile; a question that recurs with the same items is scored once in a call."""
        known: dict[tuple[str, ...], list[float]] = {}
        rankings = self._inner.rank(examples)
        return [self._rank(example, ranking, k, known) for example, ranking in zip(examples, rankings, strict=True)]

    def _rank(
        self, example: Example, ranking: Ranking, k: int | None, known: dict[tuple[str, ...], list[float]]
    ) -> Ranking:
        # In profile order, so that equal scores are ordered by the house policy.
        pool = Pool.of(example, [Ranking(ranking.items[: self._depth])])
        key = (example.query, *(item.text for item in pool.items))
        if key not in known:
            known[key] = self._encoder.scores(example.query, key[1:])
        first = by_score(pool.items, known[key])
        rest = ranking.items[self._depth :]
        below = first.scores[-1] if first.scores else 0.0
        scores = (*first.scores, *(below - place for place in range(1, len(rest) + 1)))
        return Ranking((*first.items, *rest)[:k], scores[:k])
