"""Marks of reasoning: whichever a model writes, what stands between them is never the answer."""

from __future__ import annotations

import time

import pytest

from prlm_bench import Answer
from prlm_bench.host import PluginHost
from prlm_bench.prompting import find_answer, find_reasoning, mark_reasoning, open_reasoning, reasoning_marks
from prlm_bench.tasks import Task

DRAFT, FINAL = "Maybe {'tweet': 'a first idea'}, or not.", "{'tweet': 'the real one'}"
FINAL_CHANNEL = "<|end|><|start|>assistant<|channel|>final<|message|>"
MARKS = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("<longcat_think>", "</longcat_think>"),
    ("[THINK]", "[/THINK]"),
    ("<|thinking|>", "<|/thinking|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|thought_start|>", "<|thought_end|>"),
    ("◁think▷", "◁/think▷"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<|channel|>analysis<|message|>", FINAL_CHANNEL),
    ("<|channel|>analysis<|message|>", "<|channel|>final <|constrain|>json<|message|>"),
    ("<|start|>assistant<|channel|>commentary to=x<|message|>", FINAL_CHANNEL),
    ("<|channel>thought\n", "<channel|>"),
    ("<unused94>thought\n", "<unused95>"),
]


@pytest.fixture(scope="module")
def task() -> Task:
    return PluginHost().tasks.get("mini_lamp_7")


@pytest.mark.parametrize(("start", "end"), MARKS)
@pytest.mark.parametrize("thinks", [False, True])
def test_the_draft_is_never_the_answer(task: Task, start: str, end: str, thinks: bool) -> None:
    for text in (f"{start}{DRAFT}{end}{FINAL}", f"\n{start}\n{DRAFT}\n{end}\n\n{FINAL}", f"{DRAFT}{end}{FINAL}"):
        assert find_answer(task, text, "tweet", thinks=thinks) == Answer("the real one", "strict", DRAFT)
    assert find_answer(task, f"{start}{DRAFT}{end} plain words") == Answer("plain words", "whole", DRAFT)


@pytest.mark.parametrize(("start", "end"), MARKS)
@pytest.mark.parametrize("thinks", [False, True])
def test_cut_off_inside_there_is_no_answer(task: Task, start: str, end: str, thinks: bool) -> None:
    for before in ("", "\n", f"{start}some words{end}\n", "Let me think.\n"):
        text = f"{before}{start}{DRAFT} And"
        answer = find_answer(task, text, "tweet", thinks=thinks, cut=True)
        assert (answer.text, answer.parsed) == ("", None), text
        assert answer.reasoning is not None and DRAFT in answer.reasoning
    assert find_answer(task, f"{start}{DRAFT} And").parsed is None


def test_a_model_that_ends_without_closing_has_answered(task: Task) -> None:
    answer = find_answer(task, f"<think>They like it. {FINAL}", "tweet")
    assert (answer.text, answer.parsed) == ("the real one", "unclosed")


def test_an_answer_before_the_reasoning_counts(task: Task) -> None:
    answer = find_answer(task, f"{FINAL}\n<think>was that {{'tweet': 'good'}}", "tweet", cut=True)
    assert (answer.text, answer.parsed) == ("the real one", "strict")


@pytest.mark.parametrize(
    "text", ["I <think> so", "a [thought] of mine", "[think]", "[thinking] so tired", "say <think>", "#<reasoning"]
)
def test_words_about_reasoning_are_no_marks(task: Task, text: str) -> None:
    assert find_answer(task, text) == Answer(text, "whole")


def test_a_final_channel_alone(task: Task) -> None:
    text = f"<|channel|>final<|message|>{FINAL}<|return|>"
    assert find_answer(task, text, "tweet") == Answer("the real one", "strict", "")
    again = f"<|channel|>final<|message|>{FINAL}<|end|><|start|>assistant<|channel|>analysis<|message|>{DRAFT}"
    assert find_answer(task, again, "tweet", cut=True).text == "the real one"


@pytest.mark.parametrize(("start", "end"), MARKS)
def test_a_prompt_that_ends_inside_reasoning(task: Task, start: str, end: str) -> None:
    prompt = f"<user>say <think> twice{start}\n"
    written = open_reasoning(prompt, f"{DRAFT} And")
    assert find_reasoning(written).unclosed == f"{DRAFT} And"
    assert find_answer(task, open_reasoning(prompt, f"{DRAFT}{end}{FINAL}"), "tweet").reasoning == DRAFT
    # A prompt that closes it too, as templates do where thinking is switched off.
    assert open_reasoning(f"<user>hi<assistant>{start}\n\n{end}\n\n", FINAL) == FINAL
    # A model that writes the mark once more.
    assert open_reasoning(prompt, f"\n{start}{DRAFT}") == f"\n{start}{DRAFT}"


def test_reasoning_that_a_server_has_split_off() -> None:
    assert mark_reasoning("so", "A") == "<think>\nso\n</think>\nA"
    assert mark_reasoning("so", " ") == "<think>\nso\n"
    assert mark_reasoning(" ", "A") == "A"
    assert mark_reasoning("so", "so</think>A") == "so</think>A"


def test_special_tokens_that_are_kept() -> None:
    known = ["<s>", "</s>", "[INST]", "<|end|>", "<|message|>", "[THINK]", "[/THINK]", "<think>", "<|thinking|>"]
    assert reasoning_marks(known) == {
        "[THINK]": "[THINK]", "[/THINK]": "[/THINK]", "<think>": "\n<think>", "<|thinking|>": "<|thinking|>",
    }  # fmt: skip
    assert {"<|end|>", "<|message|>", "<|channel|>"} < reasoning_marks([*known, "<|channel|>"]).keys()


@pytest.mark.parametrize(
    "text",
    [
        "<|channel|>" + "a" * 100_000,
        "<|channel|>analysis" * 5_000,
        "<|start|>" + "a" * 100_000,
        "<" + "a_" * 50_000,
        "</" + "think_" * 20_000,
        "\n" * 50_000 + " " * 50_000,
        "<think>" * 20_000,
        "</think>" * 20_000,
    ],
    ids=lambda text: text[:12].strip(),
)
def test_long_nonsense_takes_little_time(text: str) -> None:
    start = time.perf_counter()
    find_reasoning(text)
    open_reasoning(text, text)
    assert time.perf_counter() - start < 2
