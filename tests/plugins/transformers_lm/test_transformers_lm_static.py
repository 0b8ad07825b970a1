"""The static engine writes what `generate()` writes, whatever shares its rows, and its step holds no Python state."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs torch: prlm-bench[lm]")
pytest.importorskip("transformers", reason="needs transformers: prlm-bench[lm]")

import torch
import transformers
from prlm_bench_plugins.transformers_lm import _slots as slots
from prlm_bench_plugins.transformers_lm._buckets import Bucket, BucketPool, Limits, bucket_length
from prlm_bench_plugins.transformers_lm._decoding import Decoding
from prlm_bench_plugins.transformers_lm._engine import Output, Request, generate_all
from prlm_bench_plugins.transformers_lm._loading import LoadedModel
from prlm_bench_plugins.transformers_lm._static_engine import StaticEngine, chooser
from support.checkpoints import SIZES
from torch.fx.experimental.proxy_tensor import make_fx

from prlm_bench.errors import PrlmBenchError

KINDS = ["Llama", "Qwen2", "Qwen3"]
MOST, CHUNK = 14, 16
ENDS = (1, 5, 9, 77, 120, 130, 140)
#: A token; a chunk, one less, one more; several; two of one length.
LENGTHS = (3, CHUNK - 1, CHUNK, CHUNK + 1, 1, 2 * CHUNK, 2 * CHUNK + 1, 100, 7, 7, 40, 2)
SAMPLING = Decoding(MOST, 0.9, 0.8, 1, "seed")


def made(kind: str) -> LoadedModel:
    """A model with random weights, whose answers differ and end at different places."""
    torch.manual_seed(0)
    library: Any = transformers
    model = getattr(library, f"{kind}ForCausalLM")(getattr(library, f"{kind}Config")(**SIZES)).eval()
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(6 if weights.dim() > 1 else 1)
    return LoadedModel(model, ENDS, 0)


@pytest.fixture(scope="module")
def models() -> Callable[[str], LoadedModel]:
    return cache(made)


@pytest.fixture(scope="module")
def requests() -> list[Request]:
    rng = random.Random(1)
    return [Request(n, f"text {n}", [rng.randrange(3, 300) for _ in range(size)]) for n, size in enumerate(LENGTHS)]


def alone(loaded: LoadedModel, request: Request, most: int = MOST) -> list[int]:
    ids = torch.tensor([request.ids])
    options = {"max_new_tokens": most, "do_sample": False, "eos_token_id": list(ENDS), "pad_token_id": 0}
    found = loaded.model.generate(ids, attention_mask=torch.ones_like(ids), **options)
    answer: list[int] = found[0, len(request.ids) :].tolist()
    return answer


def written(engine: StaticEngine, requests: Sequence[Request]) -> dict[int, list[int]]:
    outputs = list(engine.answers(iter(requests)))
    assert sorted(output.index for output in outputs) == sorted(request.index for request in requests)
    return {output.index: output.ids for output in outputs}


class TestAnswers:
    @pytest.mark.parametrize("rows", [1, 3, 16])
    @pytest.mark.parametrize("kind", KINDS)
    def test_they_are_those_of_generate(
        self, models: Callable[[str], LoadedModel], requests: list[Request], kind: str, rows: int
    ) -> None:
        loaded = models(kind)
        wanted = {request.index: alone(loaded, request) for request in requests}
        engine = StaticEngine(loaded, Decoding(MOST), Limits(rows, 1 << 16, CHUNK))
        assert written(engine, requests) == wanted
        assert len({tuple(ids) for ids in wanted.values()}) > 8
        lengths = {len(ids) for ids in wanted.values()}
        assert kind != "Llama" or (len(lengths) > 4 and MOST in lengths), "answers have to end at different places"
        # Rows are used again, with what stood in them before.
        assert written(engine, requests[::-1]) == wanted

    @pytest.mark.parametrize("rows", [1, 5])
    @pytest.mark.parametrize("kind", KINDS)
    def test_draws_are_those_of_the_ordinary_engine(
        self, models: Callable[[str], LoadedModel], requests: list[Request], kind: str, rows: int
    ) -> None:
        loaded = models(kind)
        wanted = {output.index: output for output in generate_all(loaded, requests, SAMPLING, 1 << 16)}
        engine = StaticEngine(loaded, SAMPLING, Limits(rows, 1 << 16, CHUNK))
        assert {output.index: output for output in engine.answers(iter(requests))} == wanted
        assert {output.ended for output in wanted.values()} == {True, False}

    def test_one_new_token(self, models: Callable[[str], LoadedModel], requests: list[Request]) -> None:
        loaded = models("Qwen3")
        engine = StaticEngine(loaded, Decoding(1), Limits(4, 1 << 16, CHUNK))
        assert written(engine, requests) == {request.index: alone(loaded, request, 1) for request in requests}

    def test_a_model_without_ends(self, models: Callable[[str], LoadedModel], requests: list[Request]) -> None:
        loaded = dataclasses.replace(models("Llama"), end_ids=())
        found = list(StaticEngine(loaded, Decoding(MOST), Limits(4, 1 << 16)).answers(iter(requests)))
        assert {(len(output.ids), output.ended) for output in found} == {(MOST, False)}

    def test_an_equal_prompt_is_read_once(self, models: Callable[[str], LoadedModel], requests: list[Request]) -> None:
        loaded = models("Qwen2")
        read = []
        hook = loaded.model.model.register_forward_pre_hook(
            lambda _, __, given: read.append(given["input_ids"].numel()), with_kwargs=True
        )
        twins = [Request(n, f"{n}", requests[7].ids) for n in range(6)]
        outputs = StaticEngine(loaded, SAMPLING, Limits(8, 1 << 16)).answers(iter(twins))
        found = {output.index: output for output in outputs}
        hook.remove()
        assert [tokens for tokens in read if tokens > 8] == [64, 36]
        assert found == {output.index: output for output in generate_all(loaded, twins, SAMPLING, 1 << 16)}
        assert len({tuple(output.ids) for output in found.values()}) > 3

    def test_half_precision(self, requests: list[Request]) -> None:
        """Near ties may fall otherwise, so most answers are compared, and all have to be there."""
        loaded = made("Llama")
        loaded.model.to(torch.bfloat16)
        engine = StaticEngine(loaded, Decoding(MOST), Limits(4, 1 << 16, CHUNK))
        found = written(engine, requests)
        same = sum(found[request.index] == alone(loaded, request) for request in requests)
        assert same > len(requests) / 2


class TestStream:
    def test_requests_are_drawn_as_there_is_room(
        self, models: Callable[[str], LoadedModel], requests: list[Request]
    ) -> None:
        drawn: list[int] = []

        def source() -> Iterator[Request]:
            for number in range(60):
                drawn.append(number)
                yield dataclasses.replace(requests[number % 12], index=number)

        engine = StaticEngine(models("Llama"), Decoding(MOST), Limits(2, 1 << 16))
        most, found = 0, set()
        for output in engine.answers(source()):
            found.add(output.index)
            most = max(most, len(drawn) - len(found))
        assert found == set(range(60))
        assert most <= 5 * 2 + 2

    def test_one_that_is_given_up_leaves_no_trace(
        self, models: Callable[[str], LoadedModel], requests: list[Request]
    ) -> None:
        loaded = models("Llama")
        engine = StaticEngine(loaded, Decoding(MOST), Limits(4, 1 << 16))
        stream: Any = engine.answers(iter(requests))
        next(stream)
        assert engine.active
        stream.close()
        assert engine.active == 0
        assert written(engine, requests) == {request.index: alone(loaded, request) for request in requests}

    def test_two_at_once(self, models: Callable[[str], LoadedModel], requests: list[Request]) -> None:
        loaded = models("Llama")
        engine = StaticEngine(loaded, Decoding(MOST), Limits(4, 1 << 16))
        pairs = list(zip(engine.answers(iter(requests)), engine.answers(iter(requests)), strict=True))
        wanted = {request.index: alone(loaded, request) for request in requests}
        for side in (0, 1):
            assert {pair[side].index: pair[side].ids for pair in pairs} == wanted


class TestStep:
    @pytest.mark.parametrize("decoding", [Decoding(MOST), SAMPLING], ids=["greedy", "sampling"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_no_python_state_enters_a_graph(
        self, models: Callable[[str], LoadedModel], requests: list[Request], kind: str, decoding: Decoding
    ) -> None:
        """Traced once over empty rows, as a GPU captures it, and replayed over whatever the buffers hold later."""
        loaded = models(kind)
        writer = slots.Writer(loaded.model, chooser(decoding))
        traced, eager = (Bucket.empty(writer, 4, 64, MOST, ENDS).slots for _ in range(2))
        names = [field.name for field in dataclasses.fields(slots.Slots)]

        def tensors(state: slots.Slots) -> list[Any]:
            found = [getattr(state, name) for name in names]
            return [one for own in found for one in (own if isinstance(own, list) else [own])]

        def once(*buffers: Any) -> Any:
            layers = SIZES["num_hidden_layers"]
            some = [list(buffers[:layers]), list(buffers[layers : 2 * layers]), *buffers[2 * layers :]]
            slots.step(writer, slots.Slots(**dict(zip(names, some, strict=True))))
            return buffers[-1]

        with torch.no_grad():
            graph = make_fx(once)(*(one.clone() for one in tensors(traced)))
        short = [request.ids for request in requests if len(request.ids) < 40]
        numbers = torch.rand(4, MOST, dtype=torch.double, generator=torch.Generator().manual_seed(2))
        for first, rows in ((0, [0, 1, 3]), (4, [1, 2])):
            prompts = dict(zip(rows, short[first:], strict=False))
            for state in (traced, eager):
                with writer.computing():
                    slots.read(writer, state, prompts, numbers[rows], CHUNK, 4096)
            for _ in range(6):
                with torch.inference_mode():
                    graph(*tensors(traced))
                    slots.step(writer, eager)
            for name, mine, other in zip(names, map_of(traced, names), map_of(eager, names), strict=True):
                assert torch.equal(mine, other), name
        assert eager.count.tolist() != [0] * 4 and not eager.ended.all()

    def test_a_number_of_python_would_be_noticed(self) -> None:
        """The test above can fail: what is looked at by Python cannot be traced."""
        with pytest.raises(Exception, match=r"data-dependent|tracing"):
            make_fx(lambda one: one * int(one.sum()))(torch.ones(2))


def map_of(state: slots.Slots, names: Sequence[str]) -> list[Any]:
    found = [getattr(state, name) for name in names]
    return [torch.stack(own) if isinstance(own, list) else own for own in found]


class TestMemory:
    @pytest.fixture
    def narrow(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """Buckets of more than three rows run out of memory; the sizes that were tried."""
        tried: list[int] = []
        real = slots.Slots.empty

        def limited(writer: Any, rows: int, *rest: Any) -> Any:
            tried.append(rows)
            if rows > 3:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return real(writer, rows, *rest)

        monkeypatch.setattr(slots.Slots, "empty", limited)
        return tried

    def test_rows_are_halved_until_they_fit(
        self, models: Callable[[str], LoadedModel], requests: list[Request], narrow: list[int], caplog: Any
    ) -> None:
        loaded = models("Llama")
        engine = StaticEngine(loaded, Decoding(MOST), Limits(16, 1 << 16))
        assert written(engine, requests) == {request.index: alone(loaded, request) for request in requests}
        assert narrow[:3] == [16, 6, 3]
        assert "not enough memory for 12 rows: going on with 6" in caplog.text

    def test_memory_that_runs_out_in_the_middle(
        self, models: Callable[[str], LoadedModel], requests: list[Request], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What had ended is not lost, and what had not is written again."""
        loaded = models("Llama")
        calls = []
        real = Bucket.read

        def read(self: Bucket, *given: Any) -> None:
            calls.append(1)
            if len(calls) == 3:
                raise RuntimeError("CUDA out of memory")
            real(self, *given)

        monkeypatch.setattr(Bucket, "read", read)
        engine = StaticEngine(loaded, Decoding(MOST), Limits(4, 1 << 16))
        assert written(engine, requests) == {request.index: alone(loaded, request) for request in requests}

    def test_one_prompt_too_large_is_one_line(
        self, models: Callable[[str], LoadedModel], requests: list[Request], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def never(*_: Any) -> Any:
            raise RuntimeError("can't allocate memory")

        monkeypatch.setattr(Bucket, "advance", never)
        engine = StaticEngine(models("Llama"), Decoding(MOST), Limits(8, 1 << 16))
        with pytest.raises(PrlmBenchError, match=r"^not enough memory for a prompt of 100 tokens"):
            list(engine.answers(iter(requests)))

    def test_other_errors_pass(
        self, models: Callable[[str], LoadedModel], requests: list[Request], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fails(*_: Any) -> Any:
            raise RuntimeError("index out of range")

        monkeypatch.setattr(Bucket, "advance", fails)
        with pytest.raises(RuntimeError, match="index out of range"):
            list(StaticEngine(models("Llama"), Decoding(MOST), Limits(8, 1 << 16)).answers(iter(requests)))

    def test_buckets_that_are_kept_are_bounded(self, models: Callable[[str], LoadedModel]) -> None:
        writer = slots.Writer(models("Llama").model, chooser(Decoding(MOST)))
        pool = BucketPool(writer, MOST, ENDS, Limits(8, 2048), is_drawing=False)
        kept = []
        for need in (60, 100, 200, 400, 60, 1000, 5000):
            bucket = pool.take(need, 8)
            assert bucket.length >= need and (bucket.rows * bucket.length <= 2048 or bucket.rows == 1)
            pool.keep(bucket)
            kept.append((bucket.rows, bucket.length, len(pool)))
        assert kept == [
            (8, 64, 1), (8, 128, 2), (8, 256, 1), (4, 448, 1), (8, 64, 1), (2, 1024, 1), (1, 5120, 1)
        ]  # fmt: skip
        assert pool.take(5000, 1) is not pool.take(5000, 1)

    def test_lengths_of_buckets(self) -> None:
        for need in range(1, 5000):
            length = bucket_length(need)
            assert length % 64 == 0 and need <= length <= max(64 + need, 5 * need // 4)


def test_outputs_are_those_of_the_ordinary_engine(
    models: Callable[[str], LoadedModel], requests: list[Request]
) -> None:
    engine = StaticEngine(models("Llama"), Decoding(MOST), Limits(4, 1 << 16))
    wanted = sorted(generate_all(models("Llama"), requests, Decoding(MOST), 1 << 16), key=lambda one: one.index)
    found: list[Output] = sorted(engine.answers(iter(requests)), key=lambda one: one.index)
    assert found == wanted
