"""The shipped tasks against the facts of the benchmark: labels, fields, queries, views, prompts, paths and sizes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from prlm_bench.errors import TaskError, UnknownNameError
from prlm_bench.tasks import Query, Task, TaskRegistry, task_folder

BOOK = TaskRegistry()
USER = [f"lamp_{number}" for number in range(1, 8)]
TAGS = (
    "sci-fi, based on a book, comedy, action, twist ending, dystopia, dark comedy, classic, psychology, fantasy, "
    "romance, thought-provoking, social commentary, violence, true story"
)
FIELDS = {
    "lamp_1": ("title", "abstract"),
    "lamp_2": ("description", "tag"),
    "lamp_3": ("text", "score"),
    "lamp_4": ("text", "title"),
    "lamp_5": ("abstract", "title"),
    "lamp_6": ("text", "title"),
    "lamp_7": ("text",),
}
ANSWERS = dict(zip(USER, (None, "tag", "score", "title", "title", "title", "text"), strict=True))
MARKERS = {
    "lamp_2": "description:",
    "lamp_3": "review:",
    "lamp_4": "article:",
    "lamp_5": "paper:",
    "lamp_6": ":",
    "lamp_7": ":",
}
#: Train, dev and test questions of the time split.
SIZES = {
    "lamp_1": (6542, 1500, 1500),
    "lamp_2": (5073, 1410, 1557),
    "lamp_3": (20000, 2500, 2500),
    "lamp_4": (12500, 1500, 1800),
    "lamp_5": (14682, 1500, 1500),
    "lamp_6": (4821, 1250, 1250),
    "lamp_7": (13437, 1498, 1500),
}
#: Item, long field, needed, prompt, reserve.
LAMP = {
    "lamp_2": (
        'the tag for the movie: "{description}" is "{tag}" ',
        "description",
        'the tag for the movie: " " is "{tag}" ',
        "{items}. {input}",
        "",
    ),
    "lamp_3": ('{score} is the score for "{text}" ', "text", '{score} is the score for " " ', "{items}. {input}", ""),
    "lamp_4": (
        '"{title}" is the title for "{text}" ',
        "text",
        '"{title}" is the title for " " ',
        "{items}. {input}",
        "",
    ),
    "lamp_5": (
        '"{title}" is a title for "{abstract}" ',
        "abstract",
        '"{title}" is a title " " ',
        "{items}. Following the given patterns {input}",
        "Following the given patterns",
    ),
    "lamp_7": (
        '"{text}" ',
        "text",
        '"" ',
        "{items} are written by a person. Following the given patterns {input}",
        "are written by user. Following the given patterns",
    ),
}
LAMP["lamp_6"] = LAMP["lamp_4"]
ITEM = {"title": "T", "abstract": "A", "description": "D", "tag": "G", "text": "X", "score": "5"}
#: The document under `lamp`; query and document under `prlm`, where there is one.
VIEWS = {
    "lamp_1": ("T A", "'title': 'q'  'title': 'r'", "'title': 'T' 'abstract': 'A'"),
    "lamp_2": ("D", "'description': 'q'", "'description': 'D' 'tag': 'G'"),
    "lamp_3": ("X", "q", "X"),
    "lamp_4": ("T X", "'text': 'q'", "'text': 'X' 'title': 'T'"),
    "lamp_5": ("T A", "'abstract': 'q'", "'abstract': 'A' 'title': 'T'"),
    "lamp_6": ("X", None, None),
    "lamp_7": ("X", "q", "X"),
}


def family(name: str) -> list[Task]:
    return [BOOK.get(name), BOOK.get(f"{name}_time"), BOOK.get(f"mini_{name}")]


@pytest.mark.parametrize("name", BOOK.names)
def test_every_shipped_task_loads_under_its_file_name(name: str) -> None:
    task = BOOK.get(name)
    assert task.name == name
    assert task is BOOK.get(name)
    assert task.title


def test_the_shipped_tasks_are_three_families_of_seven() -> None:
    expected = {name for base in USER for name in (base, f"{base}_time", f"mini_{base}")}
    assert set(BOOK.names) == expected
    assert BOOK.names == sorted(BOOK.names)
    assert {path.stem for path in task_folder().glob("*.yaml")} == expected


@pytest.mark.parametrize("name", USER)
def test_what_a_family_shares(name: str) -> None:
    for task in family(name):
        assert task.benchmark == name.replace("lamp", "LaMP")
        assert task.item_fields == FIELDS[name]
        assert task.answer_field == ANSWERS[name]
        assert task.query == BOOK.get(name).query
        assert task.views == BOOK.get(name).views
        assert task.prompts == BOOK.get(name).prompts
        assert task.metrics == BOOK.get(name).metrics


def test_outputs_and_labels() -> None:
    found = {name: (BOOK.get(name).output, BOOK.get(name).labels) for name in USER}
    expected: dict[str, Any] = dict.fromkeys(USER, ("text", ()))
    expected["lamp_1"] = ("label", ("[1]", "[2]"))
    expected["lamp_2"] = ("label", tuple(TAGS.split(", ")))
    expected["lamp_3"] = ("number", ("1", "2", "3", "4", "5"))
    assert found == expected
    assert len(BOOK.get("lamp_2").labels) == 15


def test_metrics_by_protocol() -> None:
    classes = ("accuracy@lamp", "f1@lamp")
    texts = ("rouge1@lamp", "rouge2@lamp", "rougeL@lamp", "bleu@lamp")
    characters = ("rouge-1@prlm", "rouge-2@prlm", "rouge-l@prlm", "bleu-4@prlm")
    by_task = {"lamp_1": classes, "lamp_2": classes, "lamp_3": ("mae@lamp", "rmse@lamp")}
    for name in USER:
        task = BOOK.get(name)
        assert task.metrics_of("lamp") == by_task.get(name, texts)
        assert task.metrics_of("prlm") == (() if name in by_task else characters)
        assert task.protocols == (("lamp",) if name in by_task else ("lamp", "prlm"))


@pytest.mark.parametrize("name", USER)
def test_the_splits(name: str) -> None:
    user, time, mini = family(name)
    assert (user.split_by, time.split_by) == ("user", "time")
    assert user.folder == user.benchmark
    assert time.folder == f"{user.benchmark}_time"
    assert time.sizes == dict(zip(("train", "dev", "test"), SIZES[name], strict=True))
    assert (user.synthetic, time.synthetic, mini.synthetic) == (None, None, int(name[-1]))
    assert mini.download is None


@pytest.mark.parametrize("name", USER)
def test_download_paths(name: str) -> None:
    user, time, _ = family(name)
    if name == "lamp_6":  # the e-mails are private
        assert user.download is time.download is None
        return
    folder = "LaMP_2/new" if name == "lamp_2" else user.benchmark
    for task, prefix in ((user, ""), (time, "time/")):
        assert task.download is not None
        assert task.download.questions.format(split="dev") == f"{prefix}{folder}/dev/dev_questions.json"
        assert task.download.outputs.format(split="dev") == f"{prefix}{folder}/dev/dev_outputs.json"


@pytest.mark.parametrize("name", sorted(LAMP))
def test_lamp_prompts(name: str) -> None:
    lamp = BOOK.get(name).prompts.lamp
    assert (lamp.item, lamp.long, lamp.needed, lamp.prompt, lamp.reserve) == LAMP[name]
    assert (lamp.join, lamp.overhead, lamp.insert_after) == (", and ", 1, None)


def test_lamp_prompt_of_the_citation_task() -> None:
    lamp = BOOK.get("lamp_1").prompts.lamp
    assert (lamp.item, lamp.long, lamp.needed) == ('"{title}"', "title", 2)
    assert (lamp.join, lamp.overhead, lamp.insert_after, lamp.prompt, lamp.reserve) == (", and ", 0, "title", None, "")


@pytest.mark.parametrize("name", USER)
def test_chat_prompts_ask_for_their_key(name: str) -> None:
    chat = BOOK.get(name).prompts.chat
    assert f"{{'{chat.key}': '" in chat.ask
    expected = {"lamp_1": "reference", "lamp_2": "tag", "lamp_3": "score", "lamp_7": "tweet"}
    assert chat.key == expected.get(name, "title")
    assert (chat.plain_ask is not None and "{" not in chat.plain_ask and "alone" in chat.plain_ask) or name == "lamp_1"


@pytest.mark.parametrize("name", USER)
def test_views_render(name: str) -> None:
    task = BOOK.get(name)
    document, query, item = VIEWS[name]
    lamp = task.view("lamp")
    assert lamp.document.format_map(ITEM) == document
    assert lamp.query.format("q", "r") == ("q r" if name == "lamp_1" else "q")
    if query is None:
        with pytest.raises(TaskError, match="task lamp_6 has no 'prlm' texts") as caught:
            task.view("prlm")
        assert caught.value.hint == "known: lamp"
    else:
        assert task.view("prlm").query.format("q", "r") == query
        assert task.view("prlm").document.format_map(ITEM) == item


@pytest.mark.parametrize(("name", "marker"), sorted(MARKERS.items()))
def test_the_query_is_what_follows_the_first_marker(name: str, marker: str) -> None:
    query = BOOK.get(name).query
    assert query.after == marker
    assert query.parts(f"ask about the {marker} \t one {marker} two \n") == [f"one {marker} two"]
    assert query.parts(f"ask {marker}") == [""]
    assert query.parts(f"{marker}\u3000x\xa0") == ["x"]
    with pytest.raises(ValueError, match=f"the input has no '{marker}'"):
        query.parts("Generate a title for this")


def test_the_citation_query_is_the_second_and_third_quoted_string() -> None:
    query = BOOK.get("lamp_1").query
    text = (
        'For an author who has written the paper with the title "own work", which reference is related? Just answer '
        'with [1] or [2] without explanation. [1]: "first candidate" [2]: "second candidate"'
    )
    assert query.parts(text) == ["first candidate", "second candidate"]
    with pytest.raises(ValueError, match="the input has 2 quoted strings, 3 are needed"):
        query.parts('"a" and "b" and "c')


def quoted_by_a_loop(text: str) -> list[str]:
    """LaMP's reading of quotes: they open and close in turn, and an open one at the end is forgotten."""
    found, current, inside = [], "", False
    for character in text:
        if character == '"':
            if inside:
                found.append(current)
                current = ""
            inside = not inside
        elif inside:
            current += character
    return found


@given(st.text(alphabet='"ab\n ”“é\x00', max_size=60))
@settings(deadline=None)
def test_quoted_strings_are_read_as_by_a_loop_over_characters(text: str) -> None:
    strings = quoted_by_a_loop(text)
    for number in range(1, len(strings) + 1):
        assert Query(quoted=(number,)).parts(text) == [strings[number - 1]]
    with pytest.raises(ValueError, match=f"the input has {len(strings)} quoted strings"):
        Query(quoted=(len(strings) + 1,)).parts(text)


@given(st.text(max_size=20), st.text(max_size=30), st.sampled_from(sorted(set(MARKERS.values()))))
def test_the_first_marker_counts(before: str, after: str, marker: str) -> None:
    text = f"{before}{marker}{after}"
    place = text.find(marker)
    assert Query(after=marker).parts(text) == [text[place + len(marker) :].strip()]


def test_an_unknown_name_shows_close_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown task 'lamp4' \(did you mean .*lamp_4.*\?\)"):
        BOOK.get("lamp4")
