"""The `lamp` prompt protocol against a reference in its own shape: every tokenizer call made anew, for each item."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from rank_bm25 import BM25Okapi
from support.hub_tokenizers import KINDS, saved
from transformers import AutoTokenizer

from prlm_bench.prompting import WordTokenizer, lamp_prompt, lamp_prompts, load_tokenizer
from prlm_bench.records import Document, Example, Prompt, Ranking
from prlm_bench.tasks import TaskRegistry

BOOK = TaskRegistry()
KS = (0, 1, 2, 4, 8)
Item = dict[str, str]


@dataclass(frozen=True)
class Shape:
    """A task's prompt in code rather than in templates."""

    long: str
    needed: Callable[[Any, Item], int]
    item: Callable[[Item, str], str]
    prompt: Callable[[str, str], str]
    fixed: int = 1
    reserve: str = ""


def after_title(joined: str, text: str) -> str:
    place = text.find("title")
    return text if place < 0 else text[: place + 5] + ", and " + joined + text[place + 5 :]


def length(tokenizer: Any, text: str) -> int:
    return len(tokenizer(text)["input_ids"])


def plain(joined: str, text: str) -> str:
    return f"{joined}. {text}"


TITLES = Shape(
    "text",
    lambda t, p: length(t, f'"{p["title"]}" is the title for " " '),
    lambda p, cut: f'"{p["title"]}" is the title for "{cut}" ',
    plain,
)
SHAPES = {
    "lamp_1": Shape("title", lambda t, p: 2, lambda p, cut: f'"{cut}"', after_title, fixed=0),
    "lamp_2": Shape(
        "description",
        lambda t, p: length(t, f'the tag for the movie: " " is "{p["tag"]}" '),
        lambda p, cut: f'the tag for the movie: "{cut}" is "{p["tag"]}" ',
        plain,
    ),
    "lamp_3": Shape(
        "text",
        lambda t, p: length(t, f'{p["score"]} is the score for " " '),
        lambda p, cut: f'{p["score"]} is the score for "{cut}" ',
        plain,
    ),
    "lamp_4": TITLES,
    "lamp_5": Shape(
        "abstract",
        lambda t, p: length(t, f'"{p["title"]}" is a title " " '),
        lambda p, cut: f'"{p["title"]}" is a title for "{cut}" ',
        lambda joined, text: f"{joined}. Following the given patterns {text}",
        reserve="Following the given patterns",
    ),
    "lamp_6": TITLES,
    "lamp_7": Shape(
        "text",
        lambda t, p: length(t, '"" '),
        lambda p, cut: f'"{cut}" ',
        lambda joined, text: f"{joined} are written by a person. Following the given patterns {text}",
        reserve="are written by user. Following the given patterns",
    ),
}


@dataclass(frozen=True)
class Expected:
    text: str
    shown: int
    cut: int


def reference(task: str, text: str, items: list[Item], tokenizer: Any, max_length: int) -> Expected:
    """Section 4 of the protocols as a program."""
    shape = SHAPES[task]
    factor = 0.6
    while True:
        try:
            budget = max_length - min(length(tokenizer, text), int(factor * max_length))
            reserve = length(tokenizer, shape.reserve) if shape.reserve else 0
            per_item = (budget - shape.fixed - 2 * (len(items) - 1) - reserve) // len(items)
            saved, cut, written = 0, 0, []
            for item in items:
                needed = shape.needed(tokenizer, item)
                ids = tokenizer(item[shape.long], max_length=per_item + saved - needed, truncation=True)["input_ids"]
                saved += per_item - len(ids) - needed
                decoded = tokenizer.batch_decode([ids], skip_special_tokens=True)[0]
                written.append(shape.item(item, decoded))
                cut += len(ids) < length(tokenizer, item[shape.long])
            prompt = shape.prompt(", and ".join(written), text)
            return Expected(prompt, len(items), cut) if prompt != text else Expected(text, 0, 0)
        except:  # noqa: E722 - the published code catches everything, and so does this one
            factor -= 0.1
            if factor < 0:
                return Expected(text, 0, 0)


@cache
def tokenizers(folder: Path, kind: str) -> tuple[Any, Any]:
    """Ours and the plain one, from one folder, apart from each other."""
    path = saved(kind, folder / kind)
    return load_tokenizer(path), AutoTokenizer.from_pretrained(path)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tokenizers")


def build(task: str, text: str, items: list[Item], tokenizer: Any, max_length: int) -> Prompt:
    documents = tuple(Document(str(place), "", item) for place, item in enumerate(items))
    ranking = Ranking(documents, tuple(float(-place) for place in range(len(items))))
    example = Example("1", "1", text, "", documents)
    return lamp_prompt(BOOK.get(task).prompts.lamp, example, ranking, tokenizer, max_length)


def check(task: str, text: str, items: list[Item], pair: tuple[Any, Any], max_length: int) -> Expected:
    ours, theirs = pair
    prompt = build(task, text, items, ours, max_length)
    expected = reference(task, text, items, theirs, max_length)
    assert prompt.text.encode() == expected.text.encode()
    assert (prompt.shown, prompt.cut) == (expected.shown, expected.cut)
    assert prompt.dropped == len(items) - expected.shown
    assert prompt.tokens == length(theirs, expected.text)
    assert not prompt.chat
    return expected


WORDS = (
    'the a title article: review: headline of library voted naïve café 日本語 😀 {x} {} % "quoted" it\'s </s> [SEP] <s>'
)
TEXT = st.one_of(
    st.lists(st.sampled_from([*WORDS.split(), "\n", "\t", "\x1c", "\xa0", "."]), max_size=60).map(" ".join),
    st.text(max_size=40),
)
FIELDS = ("title", "text", "abstract", "description", "tag", "score")
ITEM = st.fixed_dictionaries(dict.fromkeys(FIELDS, TEXT))
LENGTHS = st.one_of(st.sampled_from([16, 32, 64, 128, 256, 512]), st.integers(0, 24), st.integers(16, 512))


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("task", list(SHAPES))
@given(text=TEXT, items=st.lists(ITEM, max_size=8), max_length=LENGTHS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_items(folder: Path, task: str, kind: str, text: str, items: list[Item], max_length: int) -> None:
    check(task, text, items, tokenizers(folder, kind), max_length)


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(KINDS))
@given(task=st.sampled_from(list(SHAPES)), text=TEXT, items=st.lists(ITEM, min_size=1, max_size=8), max_length=LENGTHS)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_many_random_items(folder: Path, kind: str, task: str, text: str, items: list[Item], max_length: int) -> None:
    check(task, text, items, tokenizers(folder, kind), max_length)


ARTICLE = {"title": "A quiet vote", "text": "the council voted to close the old library in spring. " * 8}
ITEMS = [{**dict.fromkeys(FIELDS, f"item {n}"), **ARTICLE, "abstract": ARTICLE["text"]} for n in range(8)]
QUESTION = "Generate a title for the following article: " + "we study ranking with sparse user profiles " * 6


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("task", list(SHAPES))
def test_every_k_and_length(folder: Path, task: str, kind: str) -> None:
    pair = tokenizers(folder, kind)
    for max_length in (16, 32, 64, 128, 256, 512):
        for k in KS:
            expected = check(task, QUESTION, ITEMS[:k], pair, max_length)
            if k == 0:
                assert expected == Expected(QUESTION, 0, 0)


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_cases_that_must_occur_do_occur(folder: Path, kind: str) -> None:
    """Whole items, cut items, a lowered share of the input, and the input alone."""
    pair = tokenizers(folder, kind)
    assert check("lamp_4", "short", ITEMS[:2], pair, 4096).cut == 0
    assert check("lamp_4", QUESTION, ITEMS[:4], pair, 400).cut > 0
    assert check("lamp_4", QUESTION, ITEMS, pair, 24) == Expected(QUESTION, 0, 0)
    lowered = 0
    for max_length in range(16, 512, 16):
        expected = check("lamp_4", QUESTION, ITEMS[:4], pair, max_length)
        budget = max_length - min(length(pair[1], QUESTION), int(0.6 * max_length))
        room = (budget - 1 - 6) // 4 - length(pair[1], f'"{ARTICLE["title"]}" is the title for " " ')
        lowered += room < 0 and expected.shown == 4
    assert lowered > 0


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("task", list(SHAPES))
@given(batch=st.lists(st.tuples(TEXT, st.lists(ITEM, max_size=4)), max_size=5), max_length=LENGTHS)
@settings(max_examples=6, deadline=None)
def test_a_batch_is_built_as_each_alone(
    folder: Path, task: str, kind: str, batch: list[tuple[str, list[Item]]], max_length: int
) -> None:
    ours, theirs = tokenizers(folder, kind)
    documents = [tuple(Document(str(place), "", item) for place, item in enumerate(items)) for _, items in batch]
    examples = [Example("1", "1", text, "", shown) for (text, _), shown in zip(batch, documents, strict=True)]
    rankings = [Ranking(shown) for shown in documents]
    prompts = lamp_prompts(BOOK.get(task).prompts.lamp, examples, rankings, ours, max_length)
    assert [(prompt.example, prompt.ranking) for prompt in prompts] == list(zip(examples, rankings, strict=True))
    for prompt, (text, items) in zip(prompts, batch, strict=True):
        expected = reference(task, text, items, theirs, max_length)
        assert (prompt.text, prompt.shown, prompt.cut) == (expected.text, expected.shown, expected.cut)
        assert prompt.dropped == len(items) - expected.shown
        assert prompt.tokens == length(theirs, expected.text)


def test_an_input_without_the_word_gets_no_items(folder: Path) -> None:
    prompt = build("lamp_1", "Which reference is related?", ITEMS[:2], tokenizers(folder, "unigram")[0], 512)
    assert (prompt.text, prompt.shown, prompt.cut, prompt.dropped) == ("Which reference is related?", 0, 0, 2)


def test_words_set_budgets_without_any_model() -> None:
    prompt = build("lamp_4", "the following article: " + "word " * 10, ITEMS[:2], WordTokenizer(), 40)
    assert (prompt.shown, prompt.cut, prompt.dropped) == (2, 2, 0)
    assert prompt.tokens == len(prompt.text.split())
    assert prompt.text.endswith("word ")
    assert prompt.text.startswith('"A quiet vote" is the title for "the council')


REAL = {"LaMP_7": "lamp_7", "LaMP_4": "lamp_4", "LaMP_3": "lamp_3", "LaMP_5_time_arxiv": "lamp_5"}


def real_questions(folder: Path, name: str, count: int) -> list[tuple[str, list[Item]]]:
    """Inputs with their eight best items, straight from the files."""
    path = folder / name / "dev" / "dev_questions.json"
    questions = json.loads(path.read_text(encoding="utf-8"))[:count]
    task = BOOK.get(REAL[name])
    rows = []
    for question in questions:
        texts = [task.view("lamp").document.format_map(item).split() for item in question["profile"]]
        query = task.query.parts(question["input"])[0].split()
        order = np.argsort(-BM25Okapi(texts).get_scores(query), kind="stable")[:8].tolist()
        rows.append((question["input"], [question["profile"][place] for place in order]))
    return rows


def check_real(shared_data: Path, folder: Path, name: str, kind: str, count: int) -> None:
    for text, items in real_questions(shared_data, name, count):
        for k, max_length in ((0, 512), (1, 64), (2, 128), (4, 512), (8, 512), (8, 96)):
            check(REAL[name], text, items[:k], tokenizers(folder, kind), max_length)


@pytest.mark.parametrize("name", list(REAL))
@pytest.mark.parametrize("kind", ["unigram", "wordpiece", "bytes"])
def test_real_questions(shared_data: Path, folder: Path, name: str, kind: str) -> None:
    check_real(shared_data, folder, name, kind, 4)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(REAL))
@pytest.mark.parametrize("kind", list(KINDS))
def test_all_real_questions(shared_data: Path, folder: Path, name: str, kind: str) -> None:
    check_real(shared_data, folder, name, kind, 100)
