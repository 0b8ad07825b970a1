"""Tasks in the style of LaMP: the schema and loading of task files.

Everything that differs between tasks is data. The formats come from LaMP (Salemi et al., arXiv 2304.11406)
and its code; `docs/reference/protocols.md` holds them in words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from string import Formatter
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator

from ._util.assets import asset
from ._util.golds import label_problem, number_problem
from ._util.reading import shortened
from ._util.yaml_text import Keys, read_yaml
from .errors import TaskError, UnknownNameError

__all__ = [
    "ChatPrompt",
    "Download",
    "LampPrompt",
    "Prompts",
    "Protocol",
    "Query",
    "Task",
    "TaskRegistry",
    "TraceRule",
    "View",
    "load_task",
    "protocol_of",
    "task_folder",
]

Protocol = Literal["lamp", "prlm"]
#: What a trace rule measures, and the names that its sentence has for the result.
_MEASURES: Mapping[str, tuple[str, ...]] = {
    "mean_words": ("value",),
    "mean_number": ("value",),
    "share": ("quantity",),
    "frequent_words": ("words",),
    "label_share": ("quantity", "label"),
}
#: Words for shares in trace rules, with the largest share that each stands for.
_QUANTITIES: dict[str, float] = {"No": 0, "Few": 0.34, "Some": 0.66, "Most": 0.99, "All": 1}

#: Characters that the name of a file may have.
_LONGEST = 255
#: The file and line of each value.
_Places = dict[Keys, tuple[Path, int]]
#: Fields that describe the benchmark whose name they stand beside; a file with a `benchmark` of its own inherits none.
_OF_BENCHMARK = ("aliases", "instruction")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Query(_Strict):
    """Which part of the input is the query: the text after a marker, or double-quoted strings."""

    #: The query is what follows the first occurrence of this marker, stripped.
    after: str | None = Field(default=None, min_length=1)
    #: The query's parts are these double-quoted strings of the input, counted from 1.
    quoted: tuple[PositiveInt, ...] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one_way(self) -> Query:
        if (self.after is None) == (self.quoted is None):
            raise ValueError("give either `after` or `quoted`")
        return self

    def parts(self, text: str) -> list[str]:
        """The query's parts in `text`.

        Raises:
            ValueError: the marker or a quoted string is missing; the message says which.
        """
        if self.after is not None:
            _, found, rest = text.partition(self.after)
            if not found:
                raise ValueError(f"the input has no {self.after!r}")
            return [rest.strip()]
        quoted = re.findall(r'"([^"]*)"', text)
        assert self.quoted is not None
        if len(quoted) < max(self.quoted):
            raise ValueError(f"the input has {len(quoted)} quoted strings, {max(self.quoted)} are needed")
        return [quoted[number - 1] for number in self.quoted]

    def is_in(self, text: str) -> bool:
        """Whether `text` has all parts of a query."""
        try:
            self.parts(text)
        except ValueError:
            return False
        return True


class View(_Strict):
    """The texts that retrieval reads under one protocol."""

    #: Template over the query's parts `{0}`, `{1}`, ...
    query: str
    #: Template over a profile item's fields.
    document: str


class LampPrompt(_Strict):
    """In-prompt augmentation of the `lamp` protocol (LaMP's `prompts.py`)."""

    #: Template of one profile item.
    item: str
    #: The field of the item that is cut to fit.
    long: str
    #: Template of the tokens that an item needs besides its long field, or their number.
    needed: str | int
    join: str = ", and "
    #: Template over `{items}` and `{input}`; without it the items are inserted into the input.
    prompt: str | None = None
    #: Insert `, and {items}` right after the first occurrence of this word of the input.
    insert_after: str | None = None
    #: Text whose number of tokens is reserved.
    reserve: str = ""
    #: Tokens reserved for the prompt's punctuation.
    overhead: int = 1

    @model_validator(mode="after")
    def _one_shape(self) -> LampPrompt:
        if (self.prompt is None) == (self.insert_after is None):
            raise ValueError("give either `prompt` or `insert_after`")
        return self


class ChatPrompt(_Strict):
    """The project's own wording for chat models that answer `{'key': '...'}` (the `prlm` answer format)."""

    #: The line before the items.
    heading: str
    #: Template of one profile item.
    item: str
    #: The field of the item that is cut to fit.
    long: str
    #: The key of the answer object.
    key: str
    #: The instruction that follows the input.
    ask: str
    #: The instruction in its place that asks for the text of the answer alone; by default made from the kind of answer.
    #: It is part of the identity of what reads it.
    plain_ask: str | None = Field(default=None, min_length=1, exclude=True)


class Prompts(_Strict):
    """The task's prompts by protocol."""

    lamp: LampPrompt
    chat: ChatPrompt


class TraceRule(_Strict):
    """A sentence about a user's items that is made by rule, so that it is true and can be checked."""

    #: `mean_words`: mean number of words. `mean_number`: mean of the numbers. `share`: share of the items in which the
    #: `pattern` is found. `frequent_words`: words of four letters and more that come back. `label_share`: the most
    #: frequent value and its share.
    measure: Literal["mean_words", "mean_number", "share", "frequent_words", "label_share"]
    #: The sentence, over `{field}` and what the measure gives: `{value}`, `{quantity}`, `{words}`, `{label}`.
    say: str = Field(min_length=1)
    #: The item field that is read; by default the task's `answer_field`, and the first field where there is none.
    field: str | None = None
    #: The regular expression of `share`.
    pattern: str | None = Field(default=None, min_length=1)
    #: Words for shares, each up to its bound.
    quantities: dict[str, float] = Field(default=_QUANTITIES, min_length=2)
    #: Number of words that `frequent_words` names, at most.
    words: PositiveInt = 2
    #: Number of items in which such a word is found, at least.
    least: PositiveInt = 2
    #: How far a stated mean may be from the mean, as a share of it; rounding is always allowed.
    within: float = Field(default=0.15, ge=0, lt=1)

    @model_validator(mode="after")
    def _consistent(self) -> TraceRule:
        if (self.pattern is None) == (self.measure == "share"):
            raise ValueError("`pattern` belongs to the measure `share`, which needs it")
        try:
            re.compile(self.pattern or "")
        except re.error as error:
            raise ValueError(f"`pattern` is no regular expression: {error}") from None
        bounds = list(self.quantities.values())
        if bounds != sorted(set(bounds)) or bounds[0] < 0 or bounds[-1] != 1:
            raise ValueError("the bounds of `quantities` rise and end with 1")
        if len({name.casefold() for name in self.quantities}) < len(bounds):
            raise ValueError("`quantities` has a word twice")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The names that `say` must have, those of what is measured."""
        return _MEASURES[self.measure]


def _below_a_root(folder: str) -> str:
    path = PurePosixPath(folder)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError("leads out of the data root")
    return folder


class Download(_Strict):
    """Paths of the official files, relative to the server's root; `{split}` is replaced by the split."""

    questions: str
    outputs: str


class Task(_Strict):
    """A task: its data layout, retrieval texts, prompts and metrics."""

    #: The name used on the command line.
    name: str = Field(pattern=r"^[a-z0-9_]+$")
    title: str
    #: The name used in golds and submissions, such as `LaMP_4`. Files that carry another one are refused.
    benchmark: str
    #: Other names that files of this benchmark carry. Letter case, and `-`, `_` and blanks between words, do not count.
    aliases: tuple[str, ...] = Field(default=(), exclude=True)
    #: The words with which inputs of this benchmark begin; files that name no benchmark are judged by them.
    instruction: str | None = Field(default=None, min_length=1, exclude=True)
    #: The task's folder, relative to a data root.
    folder: Annotated[str, AfterValidator(_below_a_root)]
    #: `user`: each question is its own user; `time`: questions have a user id and items have dates.
    split_by: Literal["user", "time"]
    #: Type of an answer: free text, one of `labels`, or a number.
    output: Literal["text", "label", "number"]
    labels: tuple[str, ...] = ()
    item_fields: tuple[str, ...] = Field(min_length=1)
    #: The item field with the user's own answer for that item; None if there is none.
    answer_field: str | None = None
    query: Query
    views: dict[Protocol, View]
    prompts: Prompts
    #: Metric names; the first of each protocol ranks that protocol's table.
    metrics: tuple[str, ...] = Field(min_length=1)
    download: Download | None = None
    #: Published number of questions by split, for information.
    sizes: dict[str, int] = {}
    #: What reasoning that is made by rule says; by default rules for the kind of answer. They are part of the identity
    #: of trainings that use them.
    trace_rules: tuple[TraceRule, ...] = Field(default=(), exclude=True)
    #: For generated data: the mini-LaMP task (1 to 7) that this task reads.
    synthetic: int | None = Field(default=None, ge=1, le=7)

    @model_validator(mode="after")
    def _consistent(self) -> Task:
        if self.output != "text" and not self.labels:
            raise _FieldError("labels", "needed where the output is not text")
        lamp, chat = self.prompts.lamp, self.prompts.chat
        fields = {"answer_field": self.answer_field, "prompts.lamp.long": lamp.long, "prompts.chat.long": chat.long}
        for where, field in fields.items():
            if field is not None and field not in self.item_fields:
                raise _FieldError(where, f"{field!r} is not among item_fields {list(self.item_fields)}")
        parts = [str(place) for place in range(len(self.query.quoted or ("after",)))]
        for protocol, view in self.views.items():
            _check_template(f"views.{protocol}.query", view.query, parts)
            _check_template(f"views.{protocol}.document", view.document, self.item_fields)
        _check_template("prompts.lamp.item", lamp.item, self.item_fields)
        _check_template("prompts.lamp.needed", str(lamp.needed), self.item_fields)
        _check_template("prompts.lamp.prompt", lamp.prompt or "", ("items", "input"))
        _check_template("prompts.chat.item", chat.item, self.item_fields)
        for where, path in (("questions", "download.questions"), ("outputs", "download.outputs")):
            _check_template(path, getattr(self.download, where, ""), ("split",))
        self._check_trace_rules()
        return self

    def _check_trace_rules(self) -> None:
        said: set[str] = set()
        for place, rule in enumerate(self.trace_rules):
            where = f"trace_rules.{place}"
            if rule.field is not None and rule.field not in self.item_fields:
                raise _FieldError(f"{where}.field", f"{rule.field!r} is not among item_fields {list(self.item_fields)}")
            _check_template(f"{where}.say", rule.say, ("field", *rule.names))
            named = [name for _, name, _, _ in Formatter().parse(rule.say)]
            if any(named.count(name) != 1 for name in rule.names):
                raise _FieldError(f"{where}.say", f"needs {' and '.join(f'{{{n}}}' for n in rule.names)} once")
            sentence = rule.say.replace("{field}", rule.field or "")
            if sentence in said:
                raise _FieldError(f"{where}.say", "another rule says the same")
            said.add(sentence)

    def is_named(self, name: str) -> bool:
        """Whether `name` is that of the task's benchmark, or one of its aliases."""
        return _folded(name) in map(_folded, (self.benchmark, *self.aliases))

    def gold_problem(self, gold: str) -> str | None:
        """What keeps a reference answer from being scored; None where nothing does."""
        if self.output == "text":
            return None
        return number_problem(gold) if self.output == "number" else label_problem(gold, self.labels)

    def view(self, protocol: str) -> View:
        """The texts that retrieval reads under `protocol`.

        Raises:
            TaskError: the task has no such protocol (LaMP_6 has no `prlm` texts).
        """
        for name, view in self.views.items():
            if name == protocol:
                return view
        raise TaskError(f"task {self.name} has no {protocol!r} texts", "known: " + ", ".join(self.views))

    def metrics_of(self, protocol: str) -> tuple[str, ...]:
        """The task's metrics of one protocol, its ranking metric first."""
        return tuple(name for name in self.metrics if protocol_of(name) == protocol)

    @property
    def protocols(self) -> tuple[str, ...]:
        """The metric protocols of the task, in order of first appearance."""
        return tuple(dict.fromkeys(map(protocol_of, self.metrics)))


def protocol_of(metric: str) -> str:
    """The protocol in the name of a metric, or in its spec: `lamp` of `rouge1@lamp` and of `f1@lamp:beta=2`."""
    return metric.partition(":")[0].rpartition("@")[2]


def _folded(name: str) -> str:
    return re.sub(r"[-_\s]+", "_", name.strip()).casefold()


class _FieldError(ValueError):
    """Inconsistent fields; `field` is the dotted path of the one to fix."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def _check_template(where: str, template: str, known: Sequence[str]) -> None:
    try:
        parsed = list(Formatter().parse(template))
    except ValueError as error:
        raise _FieldError(where, f"not a template: {error}; write {{{{ and }}}} for braces") from None
    for _, name, form, _ in parsed:
        if name is not None and (name not in known or "{" in (form or "")):
            raise _FieldError(where, f"{{{name}}} is not among {list(known)}")


def load_task(path: Path) -> Task:
    """Read one task file.

    A file with `extends: NAME_OR_FILE` inherits the content of that file and overrides fields; mappings are merged,
    null removes a field. NAME is a file in the same folder or a shipped task.

    Raises:
        TaskError: unreadable, not YAML, or violating the schema; the message names file, line and field.
    """
    content, places = _read(path)
    try:
        return Task.model_validate(content)
    except ValidationError as error:
        raise _located(path, dict(error.errors()[0]), places) from None


def _located(path: Path, error: dict[str, Any], places: _Places) -> TaskError:
    """The error with the file and line of the invalid value, or of its closest parent."""
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, _FieldError):
        keys: Keys = tuple(int(key) if key.isdigit() else key for key in cause.field.split("."))
    else:
        keys = tuple(key for key in error["loc"] if "[" not in str(key))
    found = keys
    while found and found not in places:
        found = found[:-1]
    # A path that is not in the file is kept only for a missing field; else it is pydantic's name of a union member.
    field = shortened(".".join(map(str, keys if error["type"] == "missing" or cause is not None else found or keys)))
    file, line = places.get(found, (path, 1))
    message = f"{field + ': ' if field else ''}{shortened(error['msg'].removeprefix('Value error, '))}"
    if file != path:
        message += f" (inherited from {file}:{line})"
        file, line = places[("extends",)]
    return TaskError(f"{file}:{line}: {message}")


def _read(path: Path, seen: tuple[Path, ...] = ()) -> tuple[dict[str, Any], _Places]:
    """The content of a file, inherited content included, and the place of each value."""
    content, lines = read_yaml(path, TaskError)
    if not isinstance(content, dict):
        raise TaskError(f"{path}:1: a task file must be a mapping")
    places: _Places = {keys: (path, line) for keys, line in lines.items()}
    base = content.pop("extends", None)
    if base is None:
        return content, places
    where = f"{path}:{places[('extends',)][1]}: extends"
    parent = _base_file(path, base) if isinstance(base, str) and len(base) < _LONGEST else None
    if parent is None:
        raise TaskError(f"{where}: no task file {str(base)[:_LONGEST]!r} next to this file or among the shipped ones")
    if parent.resolve() in (*seen, path.resolve()):
        raise TaskError(f"{where}: the file extends itself through {parent}")
    inherited, inherited_places = _read(parent, (*seen, path.resolve()))
    if "benchmark" in content:
        inherited = {name: value for name, value in inherited.items() if name not in _OF_BENCHMARK}
    return _merge(inherited, content), inherited_places | places


def _base_file(path: Path, base: str) -> Path | None:
    candidates = (path.parent / base, path.parent / f"{base}.yaml", task_folder() / f"{base}.yaml")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _merge(parent: Mapping[str, Any], child: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(parent)
    for key, value in child.items():
        inherited = merged.get(key)
        if isinstance(value, Mapping) and isinstance(inherited, Mapping):
            merged[key] = _merge(inherited, value)
        else:
            merged[key] = value
    return {key: value for key, value in merged.items() if value is not None}


def task_folder() -> Path:
    """The folder of the shipped task files."""
    return asset("tasks")


@cache
def instructions() -> dict[str, str]:
    """The instructions of the shipped benchmarks, by benchmark."""
    tasks = [load_task(path) for path in sorted(task_folder().glob("*.yaml"))]
    return {task.benchmark: task.instruction for task in tasks if task.instruction is not None}


class TaskRegistry:
    """The known tasks by name; task files are read on first use."""

    def __init__(self) -> None:
        self._files = {path.stem: path for path in sorted(task_folder().glob("*.yaml"))}
        self._read: dict[str, Task] = {}

    def add(self, path: Path) -> Task:
        """Register a task file under its `name`.

        Raises:
            TaskError: the file is not a valid task, or another file has the same name.
        """
        task = load_task(path)
        taken = self._files.get(task.name)
        if taken is not None and taken.resolve() != path.resolve():
            raise TaskError(f"task {task.name!r} is defined in {taken} and in {path}", "rename one of them")
        self._files[task.name] = path
        self._read[task.name] = task
        return task

    @property
    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._files)

    def get(self, name: str) -> Task:
        """A task by name, or by the path of its file.

        Raises:
            UnknownNameError: unknown task.
            TaskError: its file is invalid.
        """
        return self.add(Path(name)) if name.endswith((".yaml", ".yml")) else self.named(name)

    def named(self, name: str) -> Task:
        """A task by name alone: what a stored file says never opens another one.

        Raises:
            UnknownNameError: unknown task.
            TaskError: its file is invalid.
        """
        if name not in self._read:
            if name not in self._files:
                raise UnknownNameError("task", name, self._files)
            self._read[name] = load_task(self._files[name])
        return self._read[name]
