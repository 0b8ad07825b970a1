"""The generator `llama-cpp`: answers, samples, likelihoods and prompts, against transformers on the same weights."""

from __future__ import annotations

import math
import re
import signal
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.checkpoints import make_scripted
from support.gguf_models import write_gguf

from prlm_bench import Prompt
from prlm_bench.errors import PrlmBenchError
from prlm_bench.interfaces import (
    NOT_BATCH_INVARIANT,
    PromptLimited,
    ReportsActivity,
    Samples,
    ScoresContinuations,
    Streams,
)
from prlm_bench.prompting import HubTokenizer, read_object
from prlm_bench.running import Components

Make = Callable[..., Any]

TEXTS = ["", " ", "generate a headline", "naïve 😀 text\n\nwith  blanks", "the following article " * 20, "<user>\ud800"]


def _has(generator: object, protocol: type) -> None:
    assert isinstance(generator, protocol)


@pytest.mark.parametrize("chat", ["auto", "never"])
def test_the_answers_of_transformers(
    pair: tuple[Path, Path], make: Make, prompts: list[Prompt], tmp_path: Path, chat: str
) -> None:
    """In single precision texts, reasons to end and both token counts are the same."""
    folder, model = pair
    if chat == "never":
        folder = _copy(folder, tmp_path / "plain")
        (folder / "chat_template.jinja").unlink()
    ours = dict(make(model, chat=chat).generate(prompts))
    theirs = dict(make(folder, name="transformers").generate(prompts))
    assert {completion.finish for completion in ours.values()} >= {"length"}
    for number, completion in theirs.items():
        # llama.cpp ends before a character that is not whole.
        assert re.fullmatch(r"(\ufffd.*)?", completion.text.removeprefix(ours[number].text))
        assert replace(completion, text="") == replace(ours[number], text="")


def test_which_prompts_are_turns(model: Path, make: Make, prompts: list[Prompt]) -> None:
    ids = {
        chat: [make(model, chat=chat)._texts.encode(prompt).ids for prompt in prompts]
        for chat in ("auto", "always", "never", "by-protocol")
    }
    assert ids["auto"] == ids["always"] != ids["never"]
    assert ids["by-protocol"] == [ids["auto" if p.chat else "never"][place] for place, p in enumerate(prompts)]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_other_prompts_and_slots_change_nothing(
    model: Path, make: Make, prompts: list[Prompt], temperature: float
) -> None:
    expected = dict(make(model, temperature=temperature, slots=1).generate(prompts))
    found = dict(make(model, temperature=temperature, slots=5).generate(prompts[::-1]))
    assert [found[len(prompts) - 1 - number] for number in range(len(prompts))] == [*expected.values()]


def test_sampling_hangs_on_the_seed(model: Path, make: Make, prompts: list[Prompt]) -> None:
    options = {"temperature": 1.0}
    found = [
        dict(make(model, seed, **options, draw=draw).generate(prompts))
        for seed, draw in ((0, 0), (1, 0), (0, 1), (0, 0))
    ]
    assert found[0] == found[3]
    assert found[0] != found[1] != found[2] != found[0]


def test_draws_follow_the_models_probabilities(model: Path, make: Make, prompts: list[Prompt]) -> None:
    """The temperature comes before `top_p`, and nothing else filters, such as llama.cpp's own top-k and min-p."""
    draws, one = 400, prompts[3:4]
    generator = make(model, temperature=3.0, top_p=0.9, max_new_tokens=1)
    ((_, drawn),) = generator.sample(one, draws)
    loaded = generator._model()
    with loaded.slot() as slot:
        scores = loaded.next_scores(slot, generator._texts.encode(one[0]).ids)
    weights = {number: math.exp(score / 3) for number, score in scores.items()}
    kept: dict[int, float] = {}
    share = 0.0
    for number in sorted(weights, key=lambda number: -weights[number]):
        if share < 0.9:
            kept[number] = weights[number] / sum(weights.values())
            share += kept[number]
    assert 60 < len(kept) < 250
    seen = Counter(completion.text for completion in drawn)
    expected: defaultdict[str, float] = defaultdict(float)
    for number, probability in kept.items():
        expected[loaded.detokenize([number])] += probability / share
    assert set(seen) <= {*expected, ""}
    rare = {text for text, probability in expected.items() if probability < 0.01 and text.isascii()}
    wanted = sum(expected[text] for text in rare)
    assert sum(seen[text] for text in rare) / draws == pytest.approx(wanted, abs=0.1)


def test_samples_are_those_of_other_draws(model: Path, make: Make, prompts: list[Prompt]) -> None:
    hot = {"temperature": 1.0}
    generator = make(model, **hot)
    _has(generator, Samples)
    found = dict(generator.sample(prompts, 3))
    for draw in range(3):
        expected = dict(make(model, **hot, draw=draw).generate(prompts))
        assert {number: completions[draw] for number, completions in found.items()} == expected
    with pytest.raises(PrlmBenchError, match="so 2 samples of it would be the same"):
        list(make(model).sample(prompts, 2))


def test_likelihoods_are_those_of_a_forward_pass(pair: tuple[Path, Path], make: Make, prompts: list[Prompt]) -> None:
    """As far as llama.cpp's cache of keys and values, in half precision, allows."""
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, model = pair
    tokenizer, reference = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    generator = make(model, chat="never")
    _has(generator, ScoresContinuations)
    options = ["a", " headline", " for the following article", "", "\nnaïve 😀", " "]
    found = generator.loglikelihood(prompts, [options] * len(prompts))
    for prompt, scores in zip(prompts, found, strict=True):
        start = len(tokenizer(prompt.text.rstrip())["input_ids"])
        for option, score in zip(options, scores, strict=True):
            ids = torch.tensor([tokenizer(prompt.text + option)["input_ids"]])
            with torch.inference_mode():
                logits = reference(ids).logits[0].log_softmax(-1)
            expected = sum(float(logits[place - 1, ids[0, place]]) for place in range(start, ids.shape[1]))
            assert score == pytest.approx(expected if option else 0.0, rel=1e-3, abs=1e-3)
    assert generator.loglikelihood([], []) == []


def test_prompts_are_drawn_as_there_is_room(model: Path, make: Make, prompts: list[Prompt]) -> None:
    generator = make(model)
    _has(generator, Streams)
    drawn: list[int] = []

    def supply() -> Iterator[Prompt]:
        for number in range(1000):
            drawn.append(number)
            yield prompts[number % len(prompts)]

    answers = generator.stream(supply())
    numbers = {next(answers)[0] for _ in range(20)}
    assert len(numbers) == 20
    assert 20 <= len(drawn) <= 20 + 2 * 3 + 1
    answers.close()


def test_closing_ends_what_is_in_flight(model: Path, make: Make, prompts: list[Prompt]) -> None:
    generator = make(model, max_new_tokens=600)
    _has(generator, ReportsActivity)
    loaded = generator._model()
    stop = threading.Event()
    with loaded.slot() as slot:
        assert generator.activity().rows == 1
        stop.set()
        ids = generator._texts.encode(prompts[4]).ids
        cut = loaded.write(slot, ids, {"max_tokens": 600, "temperature": 0.0, "ignore_eos": True}, stop)
    assert len(cut.text) < 20
    assert generator.activity().rows == 0


def test_answers_in_flight_come_before_a_failure(model: Path, make: Make, prompts: list[Prompt]) -> None:
    long = replace(prompts[0], text="a headline " * 400)
    answers = make(model).stream(iter([prompts[1], prompts[2], long, prompts[3]]))
    found = []
    with pytest.raises(PrlmBenchError, match=r"question \S+ has \d+ tokens, and the window of .*overflow=cut-items"):
        for number, _ in answers:
            found.append(number)
    assert sorted(found) == [0, 1]


def test_the_window(model: Path, make: Make, prompts: list[Prompt]) -> None:
    assert make(model).max_prompt_tokens is None
    generator = make(model, overflow="cut-items", window=300)
    _has(generator, PromptLimited)
    limit = generator.max_prompt_tokens
    assert limit is not None
    framed = generator._texts.encode(replace(prompts[1], text="x" * limit))
    assert len(framed.ids) in (300 - 12, 300 - 12 - 1)
    ((_, completion),) = generator.generate([framed.prompt])
    assert completion.prompt_tokens == len(framed.ids)
    with pytest.raises(PrlmBenchError, match="at most the 700 positions"):
        make(model, window=701)
    with pytest.raises(PrlmBenchError, match="fills the window of 12 tokens"):
        make(model, window=12)


def test_the_tokenizer_is_that_of_the_checkpoint(pair: tuple[Path, Path], make: Make) -> None:
    folder, model = pair
    ours, theirs = make(model).tokenizer, HubTokenizer(str(folder))
    for text in TEXTS[:-1]:
        assert ours.count(text) == theirs.count(text)
        for room in (0, 1, 3, 1000):
            cut, size = ours.truncate(text, room)
            expected = theirs.truncate(text, room) if room else ("", 0)
            assert (cut, size) == (expected[0].rstrip("\N{REPLACEMENT CHARACTER}"), expected[1])
    assert ours.count(TEXTS[-1]) > 0
    with pytest.raises(ValueError, match="cannot cut to -1 tokens"):
        ours.truncate("a", -1)


def test_the_first_token_is_read_once(
    pair: tuple[Path, Path], make: Make, prompts: list[Prompt], tmp_path: Path
) -> None:
    """By a vocabulary that puts it before each text, and a template that writes it."""
    from transformers import AutoTokenizer

    folder = tmp_path / "begun"
    tokenizer = AutoTokenizer.from_pretrained(pair[0])
    tokenizer.bos_token = "<pad>"
    tokenizer.chat_template = "{{ bos_token }}" + tokenizer.chat_template
    _copy(pair[0], folder)
    tokenizer.save_pretrained(folder)
    model = write_gguf(folder, tmp_path / "begun.gguf", begins=True)
    begin = tokenizer.convert_tokens_to_ids("<pad>")
    for chat in ("always", "never"):
        ids = make(model, chat=chat)._texts.encode(prompts[2]).ids
        assert ids[0] == begin
        assert ids[1:].count(begin) == 0


def _copy(folder: Path, to: Path) -> Path:
    to.mkdir()
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


def test_reasoning_is_marked(make: Make, prompts: list[Prompt], tmp_path: Path) -> None:
    """Special tokens that mark reasoning stay, others are dropped; a template may open the reasoning."""
    special = ["<think>", "</think>", "<|other|>"]
    pieces = ["<think>", "why", "<|other|>", "</think>", "answer"]
    folder = make_scripted(tmp_path / "thinks", pieces, special=special)
    generator = make(write_gguf(folder, tmp_path / "thinks.gguf"))
    ((_, ours),) = generator.generate(prompts[1:2])
    ((_, theirs),) = make(folder, name="transformers").generate(prompts[1:2])
    assert ours == theirs
    assert ours.text == "<think>why</think>answer"
    template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant><think>"
    opened = make(write_gguf(folder, tmp_path / "opened.gguf", tokenizer__chat_template=template))
    ((_, completion),) = opened.generate(prompts[1:2])
    assert completion.text.startswith("<think>\nwhy")


def test_a_grammar_forces_the_object(model: Path, make: Make, prompts: list[Prompt]) -> None:
    """Also from a model that would never write it."""
    generator = make(model, constrain="object", max_new_tokens=40)
    asked = [replace(prompt, key="tweet") for prompt in prompts[:4]]
    for _, completion in generator.generate(asked):
        assert completion.text.startswith("{'tweet': '"), completion
    with pytest.raises(PrlmBenchError, match="asks for no answer object"):
        list(generator.generate(prompts[:1]))
    with pytest.raises(PrlmBenchError, match="begins with reasoning"):
        list(generator.generate([replace(asked[0], reasons=True)]))


def test_a_grammar_knows_the_labels(model: Path, make: Make, prompts: list[Prompt], components: Components) -> None:
    generator = make(model, constrain="object", max_new_tokens=60, temperature=1.0)
    labels = ["[1]", "it's", 'a "b"']
    generator._task = components.context(0).task.model_copy(update={"output": "label", "labels": labels})
    ((_, drawn),) = generator.sample([replace(prompts[0], key="tag")], 12)
    values = {read_object(completion.text, "tag") for completion in drawn if completion.finish == "stop"}
    assert len(values) > 1
    assert values <= {(label, "strict") for label in labels}


def test_identity(model: Path, make: Make, tmp_path: Path) -> None:
    first = make(model).fingerprint()
    assert first.endswith(NOT_BATCH_INVARIANT)
    assert "seed" not in first and "date" not in first
    assert "seed=3" in make(model, 3, temperature=0.5).fingerprint()
    other = tmp_path / "other.gguf"
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    other.write_bytes(content)
    assert make(other).fingerprint() != first


def test_signals_and_streams_stay_the_processs_own(model: Path, make: Make, prompts: list[Prompt], capfd: Any) -> None:
    list(make(model, slots=2, window=256).generate(prompts[:2]))
    assert capfd.readouterr() == ("", "")
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert len(list(make(model, slots=2, window=256).generate(prompts[:2]))) == 2


def test_generators_share_a_model(model: Path, make: Make) -> None:
    assert make(model)._model() is make(model, temperature=0.7, chat="never")._model()
    assert make(model)._model() is not make(model, slots=2)._model()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_new_tokens": 0}, "at least 1"),
        ({"slots": 0}, "at least 1"),
        ({"temperature": -1}, "temperature is at least 0"),
        ({"top_p": 0.5}, "for sampling only"),
        ({"date": "today"}, "is no date"),
    ],
)
def test_options(model: Path, make: Make, options: dict[str, Any], said: str) -> None:
    with pytest.raises(PrlmBenchError, match=said):
        make(model, **options)
