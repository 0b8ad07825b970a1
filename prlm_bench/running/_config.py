"""The run config: a grid over tasks, retrievers, k, reasoners, generators and seeds, from Python, flags or YAML."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from .._util.reading import shortened
from .._util.text import MAX_ANSWER
from .._util.yaml_text import read_yaml
from ..errors import RunError
from ..host import ComponentChoice

ComponentSpec: TypeAlias = str | dict[str, Any] | ComponentChoice
#: The fields that take several values, or one.
LISTS = ("tasks", "retrievers", "reasoners", "generators", "methods", "rewards", "k", "seeds", "plugins")
#: Other names of fields in a run file.
_ALSO = {name.removesuffix("s"): name for name in LISTS if name != "k"}


class RunConfig(BaseModel):
    """A grid of runs. Every field can be set in a YAML file and overridden by a flag of `prlm-bench run`."""

    model_config = ConfigDict(extra="forbid", validate_default=True, arbitrary_types_allowed=True)

    #: Task names, or paths of task files.
    tasks: list[str] = Field(min_length=1)
    #: A folder in LaMP's layout, or one with a folder per task; None means the default root.
    data: Path | None = None
    split: str = "dev"
    retrievers: list[ComponentSpec] = []
    #: Numbers of items shown in a prompt.
    k: list[int] = [4]
    reasoners: list[ComponentSpec] = ["direct"]
    generators: list[ComponentSpec] = []
    #: Named methods, in addition to the grid.
    methods: list[str | dict[str, Any]] = []
    #: What tables call the row, where the run asks for one method besides controls.
    name: str = ""
    rewards: list[ComponentSpec] = []
    seeds: list[int] = Field(default=[0], min_length=1)
    #: Maximum number of questions, taken from the start of the split.
    limit: int | None = Field(default=None, ge=1)
    #: Which texts retrieval reads.
    view: Literal["lamp", "prlm"] = "lamp"
    #: Append each item's date to what retrieval reads.
    dates: bool = False
    #: Add the control rows.
    controls: bool = True
    #: Skip malformed questions; the results record how many.
    skip_invalid: bool = False
    #: Take data of another benchmark than the task's; the results say whose data they are.
    any_task: bool = False
    #: Characters of an answer or a gold at most; a row with a longer answer fails.
    max_answer: int = Field(default=MAX_ANSWER, ge=1)
    #: Refuse a config in which a component can run on none of the tasks instead of leaving it out.
    strict: bool = False
    #: Users per split of generated tasks (mini-LaMP).
    synth_users: int | None = Field(default=None, ge=2)
    #: The results folder; None means `prlm-results`.
    results: Path | None = None
    #: Worker processes.
    jobs: int = Field(default=1, ge=1)
    #: Local plugins to load: `path/to/file.py` or `package.module`.
    plugins: list[str] = []

    @property
    def holds_objects(self) -> bool:
        """Whether a component was given as a class or an object instead of by name."""
        groups = (self.retrievers, self.reasoners, self.generators, self.rewards)
        return any(isinstance(spec, ComponentChoice) for group in groups for spec in group)

    @field_validator("k")
    @classmethod
    def _counts(cls, value: list[int]) -> list[int]:
        if any(k < 0 for k in value):
            raise ValueError("k must be 0 or more")
        return value

    @field_validator(*LISTS, mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str | int | Mapping | ComponentChoice) else value


def read_run_config(path: Path | None, overrides: Mapping[str, Any]) -> RunConfig:
    """Read a run config from a YAML file and flags; given flags override the file.

    Args:
        path: the file, or None to use only flags.
        overrides: field name to value; None and empty lists count as not given.

    Raises:
        RunError: the file cannot be read, or fields are invalid; the message names the file and every wrong field.
    """
    content = {} if path is None else _fields(read_yaml(path, RunError).content, path)
    content |= _fields({key: value for key, value in overrides.items() if value is not None and value != []}, "run")
    try:
        return RunConfig.model_validate(content)
    except ValidationError as error:
        problems, hint = _problems(error)
        raise RunError(f"{path or 'run'}: {problems}", hint) from None


def run_file_plugins(path: Path | None) -> list[str]:
    """The local plugins that a run file names, which have to be loaded before its components are known.

    Raises:
        RunError: the file cannot be read.
    """
    content = {} if path is None else _fields(read_yaml(path, RunError).content, path)
    named = content.get("plugins") or []
    return [named] if isinstance(named, str) else [each for each in named if isinstance(each, str)]


def _fields(content: Any, where: Path | str) -> dict[str, Any]:
    """What a run file says by the names of the fields: `retriever` is `retrievers`, `skip-invalid` is `skip_invalid`.

    Raises:
        RunError: it is no mapping, or gives a field twice.
    """
    if not isinstance(content, dict):
        raise RunError(f"{where}: a run file must be a mapping", "see the guide on run files")
    found: dict[str, Any] = {}
    for key, value in content.items():
        name = str(key).strip().replace("-", "_").casefold()
        if name == "lenient" and isinstance(value, bool):  # as `strict` was called until version 0.1
            name, value = "strict", not value
        name = _ALSO.get(name, name)
        if name in found:
            raise RunError(f"{where}: {name} is given twice", f"write one list {name}: [...]")
        found[name if name in RunConfig.model_fields else str(key)] = value
    return found


def _problems(error: ValidationError) -> tuple[str, str]:
    """Everything that is wrong, in one line, and a hint."""
    told: dict[str, str] = {}
    hint = ""
    for wrong in error.errors(include_url=False):
        field = ".".join(map(str, wrong["loc"]))
        if wrong["type"] == "extra_forbidden":
            close = get_close_matches(str(wrong["loc"][0]), RunConfig.model_fields, n=1)
            told[field] = "there is no such field" + (f", did you mean {close[0]}?" if close else "")
            hint = hint or ("" if close else "known fields: " + ", ".join(RunConfig.model_fields))
        else:
            told.setdefault(field, wrong["msg"].removeprefix("Value error, "))
    return "; ".join(f"{shortened(field)}: {shortened(problem)}" for field, problem in told.items()), hint
