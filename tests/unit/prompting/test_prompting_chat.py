"""Chat prompts: within the budget, the question whole, every item accounted for."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from support.hub_tokenizers import KINDS, saved

from prlm_bench.interfaces import Tokenizer
from prlm_bench.prompting import WordTokenizer, chat_prompt, load_tokenizer
from prlm_bench.records import Document, Example, Prompt, Ranking
from prlm_bench.tasks import TaskRegistry

BOOK = TaskRegistry()
TASKS = [f"lamp_{number}" for number in range(1, 8)]
FIELDS = ("title", "text", "abstract", "description", "tag", "score")
WORDS = WordTokenizer()


@cache
def tokenizer(folder: Path, kind: str) -> Tokenizer:
    return WORDS if kind == "words" else load_tokenizer(saved(kind, folder / kind))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tokenizers")


def build(task: str, text: str, items: list[dict[str, str]], counter: Tokenizer, max_length: int) -> Prompt:
    documents = tuple(Document(str(place), "", item) for place, item in enumerate(items))
    example = Example("1", "1", text, "", documents)
    ranking = Ranking(documents, tuple(float(-place) for place in range(len(items))))
    return chat_prompt(BOOK.get(task).prompts.chat, example, ranking, counter, max_length)


def lines(prompt: Prompt) -> list[str]:
    """The items as written: between the heading and the question."""
    return prompt.text.split("\n")[1 : 1 + prompt.shown] if prompt.shown else []


def item(words: int, title: str = "T") -> dict[str, str]:
    return {**dict.fromkeys(FIELDS, "x"), "title": title, "text": " ".join(f"w{n}" for n in range(words))}


def test_the_whole_prompt() -> None:
    prompt = build("lamp_4", "Headline for: an article", [item(3, "First"), item(2, "Second")], WORDS, 100)
    assert prompt.text == (
        "Articles by this author, with the headlines the author chose:\n"
        "'text': 'w0 w1 w2' 'title': 'First'\n"
        "'text': 'w0 w1' 'title': 'Second'\n"
        "\n"
        "Headline for: an article\n"
        "Write the headline as this author would. Answer with {'title': '...'} and nothing after it."
    )
    assert prompt.chat
    assert (prompt.tokens, prompt.shown, prompt.cut, prompt.dropped) == (len(prompt.text.split()), 2, 0, 0)


def test_without_items_there_is_no_heading() -> None:
    prompt = build("lamp_4", "Headline for: an article", [], WORDS, 100)
    assert prompt.text.startswith("Headline for: an article\nWrite the headline")
    assert (prompt.shown, prompt.cut, prompt.dropped) == (0, 0, 0)


def test_long_items_are_cut_and_short_ones_leave_their_share() -> None:
    frame = build("lamp_4", "Question", [], WORDS, 100).tokens
    items = [item(50), item(1), item(50)]
    max_length = frame + 10 + 8 + 3 * 14  # the heading has 10 words
    prompt = build("lamp_4", "Question", items, WORDS, max_length)
    assert (prompt.shown, prompt.cut, prompt.dropped) == (3, 2, 0)
    first, second, third = (len(line.split()) for line in lines(prompt))
    assert second == 4  # two names, one word, one title
    assert 8 < first <= 14 < third
    assert prompt.tokens <= max_length


def test_items_without_room_are_dropped_and_counted() -> None:
    frame = build("lamp_4", "Question", [], WORDS, 100).tokens
    prompt = build("lamp_4", "Question", [item(50)] * 8, WORDS, frame + 10 + 8 + 12)
    assert prompt.shown + prompt.dropped == 8
    assert 0 < prompt.shown < 8
    assert prompt.cut == prompt.shown
    nothing = build("lamp_4", "Question", [item(50)] * 8, WORDS, frame)
    assert (nothing.shown, nothing.cut, nothing.dropped) == (0, 0, 8)
    assert nothing.text.startswith("Question\n")


def test_a_question_longer_than_the_budget_stays_whole() -> None:
    question = "word " * 300
    prompt = build("lamp_4", question, [item(5)], WORDS, 64)
    assert question in prompt.text
    assert (prompt.shown, prompt.dropped) == (0, 1)
    assert prompt.tokens > 64


def test_line_breaks_in_items_do_not_make_lines() -> None:
    broken = {**item(0), "text": "one\ntwo\r\n\n three\u2028four", "title": "a\tb\n"}
    prompt = build("lamp_4", "Question", [broken], WORDS, 100)
    assert lines(prompt) == ["'text': 'one two three four' 'title': 'a b'"]
    assert len(prompt.text.split("\n")) == 5


def test_line_breaks_in_the_question_stay() -> None:
    assert "\nfirst\nsecond\n" in build("lamp_4", "first\nsecond", [item(1)], WORDS, 100).text


@pytest.mark.parametrize("task", TASKS)
def test_every_task_asks_last_for_its_key(task: str) -> None:
    chat = BOOK.get(task).prompts.chat
    prompt = build(task, "Question", [item(2)], WORDS, 100)
    assert prompt.text.endswith(f"\nQuestion\n{chat.ask}")
    assert f"{{'{chat.key}': '" in chat.ask


PIECES = ["a", "the", "of", "é", "日本", "{x}", "'", '"', "\n", "</s>", "[SEP]"]
TEXT = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=60).map(" ".join),
    st.text(max_size=30),
)
ITEM = st.fixed_dictionaries(dict.fromkeys(FIELDS, TEXT))


@pytest.mark.parametrize("kind", ["words", *KINDS])
@given(
    task=st.sampled_from(TASKS),
    text=TEXT,
    items=st.lists(ITEM, max_size=6),
    max_length=st.one_of(st.integers(1, 64), st.integers(64, 400)),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_budget_is_kept(
    folder: Path, kind: str, task: str, text: str, items: list[dict[str, str]], max_length: int
) -> None:
    counter = tokenizer(folder, kind)
    prompt = build(task, text, items, counter, max_length)
    chat = BOOK.get(task).prompts.chat
    assert prompt.text.endswith(f"{text}\n{chat.ask}")
    assert prompt.tokens == counter.count(prompt.text)
    assert prompt.tokens <= max_length or prompt.shown == 0
    assert prompt.shown + prompt.dropped == len(items)
    assert 0 <= prompt.cut <= prompt.shown
    assert prompt.text.startswith(f"{chat.heading}\n") == (prompt.shown > 0)
    if prompt.shown == len(items) and not prompt.cut:
        flat = [{name: " ".join(value.split()) for name, value in fields.items()} for fields in items]
        assert lines(prompt) == [chat.item.format_map(fields) for fields in flat]
