"""Task files that a user writes: what works, and how each mistake is reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from prlm_bench.data import open_dataset
from prlm_bench.errors import TaskError
from prlm_bench.tasks import TaskRegistry, load_task

OWN = """\
# Reviews of books, in the manner of LaMP.
name: books
title: Book review titles
benchmark: Books
folder: Books
split_by: user
output: text
item_fields: [review, name]
answer_field: name
query: {after: "Review:"}
views:
  lamp: {query: "{0}", document: "{name} {review}"}
prompts:
  lamp:
    item: '"{review}" was named "{name}" '
    long: review
    needed: '"" was named "{name}" '
    prompt: "{items}. {input}"
  chat:
    heading: "Reviews by this reader:"
    item: "{review} - {name}"
    long: review
    key: title
    ask: "Answer with {'title': '...'}."
metrics: [rouge1@lamp]
"""


def write(folder: Path, content: str, name: str = "own.yaml") -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def changed(old: str, new: str) -> str:
    assert OWN.count(old) == 1, old
    return OWN.replace(old, new)


def line_of(content: str, text: str) -> int:
    return next(number for number, line in enumerate(content.splitlines(), 1) if text in line)


def mistake(path: Path) -> str:
    with pytest.raises(TaskError) as caught:
        load_task(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_one_file_is_a_task(tmp_path: Path) -> None:
    book = TaskRegistry()
    task = book.get(str(write(tmp_path, OWN)))
    assert (task.name, task.view("lamp").document) == ("books", "{name} {review}")
    assert book.get("books") is task
    assert "books" in book.names
    folder = tmp_path / "Books" / "dev"
    folder.mkdir(parents=True)
    (folder / "dev_questions.json").write_text(
        '[{"id": "1", "input": "Name this. Review: a fine read ", "profile": '
        '[{"id": "i", "review": "dull", "name": "Never again"}]}]'
    )
    (example,) = next(open_dataset(task, tmp_path, "dev").batches(8))
    assert example.query == "a fine read"
    assert [item.text for item in example.profile] == ["Never again dull"]


def test_a_task_may_extend_a_shipped_one_or_a_neighbour(tmp_path: Path) -> None:
    write(tmp_path, "extends: lamp_4\nname: blogs\nfolder: Blogs\nsizes: {dev: 3}\n", "blogs.yaml")
    path = write(tmp_path, "extends: blogs.yaml\nname: diaries\nviews: {prlm: null}\nquery: {after: 'diary:'}\n")
    task = load_task(path)
    assert (task.name, task.folder, task.benchmark, task.sizes) == ("diaries", "Blogs", "LaMP_4", {"dev": 3})
    assert list(task.views) == ["lamp"]
    assert task.query.after == "diary:"


def test_extends_can_turn_a_query_into_another_kind(tmp_path: Path) -> None:
    task = load_task(write(tmp_path, "extends: lamp_4\nname: quotes\nquery: {after: null, quoted: [1]}\n"))
    assert task.query.parts('the "best" of all') == ["best"]


WRONG = [
    ("unknown field", changed("long: review\n    needed", "longest: 3\n    needed"), "prompts.lamp.long", "required"),
    ("unknown top field", changed("metrics:", "metric: 3\nmetrics:"), "metric", "Extra inputs"),
    ("unknown protocol", changed("  lamp: {query", "  lmap: {query"), "views.lmap", "'lamp' or 'prlm'"),
    ("missing field", changed("folder: Books\n", ""), "folder", "required"),
    ("missing inner field", changed("    key: title\n", ""), "prompts.chat.key", "required"),
    ("wrong type", changed("item_fields: [review, name]", "item_fields: 7"), "item_fields", "tuple"),
    ("wrong inner type", changed('heading: "Reviews by this reader:"', "heading: [1]"), "prompts.chat.heading", "str"),
    ("wrong of two types", changed('needed: \'"" was', "needed: [3] #"), "prompts.lamp.needed", "valid string"),
    ("wrong element", changed("[rouge1@lamp]", "[rouge1@lamp, 3]"), "metrics.1", "valid string"),
    ("bad choice", changed("split_by: user", "split_by: week"), "split_by", "'user' or 'time'"),
    ("bad name", changed("name: books", "name: Books!"), "name", "match pattern"),
    ("no labels", changed("output: text", "output: label"), "labels", "needed where the output is not text"),
    ("answer field", changed("answer_field: name", "answer_field: nam"), "answer_field", "'nam' is not among"),
    ("document", changed('{name} {review}"}', '{naem} {review}"}'), "views.lamp.document", "{naem} is not among"),
    ("document attribute", changed('{name} {review}"}', '{name.x}"}'), "views.lamp.document", "{name.x} is not"),
    ("nested", changed('{name} {review}"}', '{name:{review}}"}'), "views.lamp.document", "{name} is not among"),
    ("query part", changed('query: "{0}"', 'query: "{1}"'), "views.lamp.query", "{1} is not among ['0']"),
    ("query without number", changed('query: "{0}"', 'query: "{}"'), "views.lamp.query", "{} is not among"),
    ("brace", changed('{name} {review}"}', '{name {review}"}'), "views.lamp.document", "not a template"),
    ("lamp item", changed('"{review}" was named "{name}"', '"{book}"'), "prompts.lamp.item", "{book} is not"),
    ("lamp needed", changed('\'"" was named "{name}" \'', "'{book}'"), "prompts.lamp.needed", "{book} is not"),
    ("lamp prompt", changed("{items}. {input}", "{items}. {question}"), "prompts.lamp.prompt", "{question} is not"),
    ("chat item", changed("{review} - {name}", "{review} - {nam}"), "prompts.chat.item", "{nam} is not among"),
    ("two ways", changed('{after: "Review:"}', '{after: ":", quoted: [1]}'), "query", "either `after` or `quoted`"),
    ("no way", changed('{after: "Review:"}', "{}"), "query", "either `after` or `quoted`"),
    ("empty marker", changed('{after: "Review:"}', '{after: ""}'), "query.after", "at least 1"),
    ("zeroth string", changed('{after: "Review:"}', "{quoted: [0]}"), "query.quoted.0", "greater than 0"),
    ("no string", changed('{after: "Review:"}', "{quoted: []}"), "query.quoted", "at least 1"),
    ("twice", changed("folder: Books\n", "folder: Books\nbenchmark: B\n"), "benchmark", "given twice"),
]


@pytest.mark.parametrize(("content", "field", "why"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_a_mistake_names_file_line_and_field(tmp_path: Path, content: str, field: str, why: str) -> None:
    path = write(tmp_path, content)
    message = mistake(path)
    place, colon, rest = message.partition(f": {field}: ")
    assert colon, message
    assert why in rest
    file, _, line = place.rpartition(":")
    assert file == str(path)
    assert 1 <= int(line) <= len(content.splitlines())


@pytest.mark.parametrize(
    ("old", "new", "at"),
    [
        ("    long: review\n    needed", "    longest: 3\n    needed", "lamp:\n"),  # the block that lacks `long`
        ('{name} {review}"}', '{naem} {review}"}', "{naem}"),
        ("answer_field: name", "answer_field: nam", "answer_field"),
        ("{items}. {input}", "{items}. {question}", "{question}"),
        ("metrics: [rouge1@lamp]", "metrics:\n  - rouge1@lamp\n  - 3", "  - 3"),
        ("split_by: user", "split_by: week", "split_by"),
    ],
)
def test_the_line_is_that_of_the_field(tmp_path: Path, old: str, new: str, at: str) -> None:
    content = changed(old, new)
    path = write(tmp_path, content)
    line = content[: content.index("  lamp:\n")].count("\n") + 1 if at == "lamp:\n" else line_of(content, at)
    assert mistake(path).startswith(f"{path}:{line}: ")


def test_an_inherited_mistake_names_both_files(tmp_path: Path) -> None:
    path = write(tmp_path, "name: own\nextends: lamp_4\nitem_fields: [text]\nanswer_field: null\n")
    message = mistake(path)
    assert message.startswith(f"{path}:2: views.lamp.document: {{title}} is not among ['text']")
    assert "(inherited from " in message
    assert "lamp_4.yaml:" in message


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("name: [unclosed\ntitle: x\n", "cannot be read"),
        ("name: x\n\ttitle: y\n", "cannot be read"),
        ("a: &a {b: *a}\n", ":1: "),
        ("name: !!int ''\n", "cannot be read"),
        ("name: !!timestamp x\n", "cannot be read"),
        ("name: !!bool maybe\n", "cannot be read"),
        ("name: 2001-13-45\n", "cannot be read"),
        ("sizes: {dev: 1" + 5000 * "0" + "}\n", "cannot be read"),
        (200_000 * "[", "cannot be read: nested too deeply"),
        ("- a list\n", ":1: a task file must be a mapping"),
        ("", ":1: a task file must be a mapping"),
        ("just words", ":1: a task file must be a mapping"),
        ("? [1, 2]\n: x\n", "cannot be read"),
    ],
)
def test_what_is_not_a_task_file(tmp_path: Path, content: str, why: str) -> None:
    path = write(tmp_path, content)
    message = mistake(path)
    assert message.startswith(f"{path}:")
    assert why in message


def test_aliases_are_read_unless_they_would_fill_the_memory(tmp_path: Path) -> None:
    levels = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 12))
    path = write(tmp_path, f"name: x\nextends: lamp_4\nl0: &l0 lol\n{levels}")
    assert mistake(path) == f"{path}:9: cannot be read: more than 100000 values, with those that aliases repeat"
    path = write(tmp_path, "name: x\nextends: lamp_4\nlabels: [&l0 lol]\nmetrics: [&m rouge1@lamp, *m]\n")
    assert load_task(path).metrics == ("rouge1@lamp", "rouge1@lamp")


def test_yaml_errors_have_their_line(tmp_path: Path) -> None:
    path = write(tmp_path, "name: x\ntitle: 'unclosed\n")
    assert mistake(path).startswith(f"{path}:3: cannot be read: ")


def test_unreadable_files(tmp_path: Path) -> None:
    assert mistake(tmp_path / "none.yaml").startswith(f"{tmp_path / 'none.yaml'}: cannot be read: ")
    path = tmp_path / "latin.yaml"
    path.write_bytes("name: café\n".encode("latin-1"))
    assert "cannot be read" in mistake(path)
    assert "cannot be read" in mistake(tmp_path)


def test_extends_something_unknown(tmp_path: Path) -> None:
    path = write(tmp_path, "name: x\nextends: lamp_9\n")
    assert mistake(path).startswith(f"{path}:2: extends: no task file 'lamp_9'")


def test_extends_in_a_circle(tmp_path: Path) -> None:
    path = write(tmp_path, "extends: own\nname: x\n")
    assert mistake(path).startswith(f"{path}:1: extends: the file extends itself")
    write(tmp_path, "name: b\nextends: c\n", "b.yaml")
    write(tmp_path, "name: c\nextends: b\n", "c.yaml")
    assert mistake(tmp_path / "b.yaml").startswith(f"{tmp_path / 'c.yaml'}:2: extends: the file extends itself")


def test_a_name_can_be_taken_once(tmp_path: Path) -> None:
    book = TaskRegistry()
    path = write(tmp_path, OWN)
    assert book.get(str(path)) == book.get(str(path))
    other = write(tmp_path, OWN, "other.yaml")
    with pytest.raises(
        TaskError, match=r"task 'books' is defined in .*own\.yaml and in .*other\.yaml \(rename one of them\)"
    ):
        book.get(str(other))
    with pytest.raises(TaskError, match=r"task 'lamp_4' is defined in .*lamp_4\.yaml and in .*third\.yaml"):
        book.get(str(write(tmp_path, "extends: lamp_4\n", "third.yaml")))


TRACED = (
    OWN
    + """\
trace_rules:
  - {measure: mean_words, say: "About {value} words."}
  - {measure: share, field: review, pattern: '!', say: "{quantity} are loud."}
"""
)


def test_trace_rules_are_inherited_and_stay_out_of_the_definition_of_runs(tmp_path: Path) -> None:
    task = load_task(write(tmp_path, TRACED))
    assert [rule.measure for rule in task.trace_rules] == ["mean_words", "share"]
    assert task.model_dump(mode="json") == load_task(write(tmp_path, OWN, "plain.yaml")).model_dump(mode="json")
    child = load_task(write(tmp_path, "extends: own\nname: child\n", "child.yaml"))
    assert child.trace_rules == task.trace_rules


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("measure: mean_words", "measure: mood", "trace_rules.0.measure: Input should be 'mean_words'"),
        ("{value} words", "{values} words", "trace_rules.0.say: {values} is not among ['field', 'value']"),
        ("{value} words", "some words", "trace_rules.0.say: needs {value} once"),
        ("field: review", "field: body", "trace_rules.1.field: 'body' is not among item_fields"),
        ("pattern: '!'", "pattern: '('", "trace_rules.1: `pattern` is no regular expression"),
        ("pattern: '!', ", "", "trace_rules.1: `pattern` belongs to the measure `share`, which needs it"),
        ("pattern: '!'", "pattern: '!', quantities: {never: 0, often: 1.5}", "trace_rules.1: the bounds"),
        ("pattern: '!'", "pattern: '!', quantities: {nil: 0, Nil: 1}", "trace_rules.1: `quantities` has a word"),
        ("measure: share, field: review, pattern: '!', say: \"{quantity} are loud.\"",
         "measure: mean_words, say: \"About {value} words.\"", "trace_rules.1.say: another rule says the same"),
    ],
)  # fmt: skip
def test_a_wrong_trace_rule(tmp_path: Path, old: str, new: str, message: str) -> None:
    content = TRACED.replace(old, new)
    assert content != TRACED
    found = mistake(write(tmp_path, content))
    line = line_of(content, "measure: mood") if "mood" in new else None
    number = int(message.split(".")[1].partition(":")[0])
    assert found.startswith(
        f"{tmp_path / 'own.yaml'}:{line or line_of(content, 'trace_rules:') + 1 + number}: {message}"
    )
