"""The run config: a grid over tasks, retrievers, k, reasoners, generators and seeds, from Python, flags or YAML."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from .._util.reading import first_problem
from .._util.text import MAX_ANSWER
from .._util.yaml_text import read_yaml
from ..errors import RunError
from ..host import ComponentChoice

ComponentSpec: TypeAlias = str | dict[str, Any] | ComponentChoice


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
    rewards: list[ComponentSpec] = []
    #: Metrics in addition to those of the tasks; they are no part of what a row is.
    metrics: list[str] = []
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
    #: Skip components that can run on none of the tasks instead of raising an error.
    lenient: bool = False
    #: Users per split of generated tasks (mini-LaMP).
    synth_users: int | None = Field(default=None, ge=2)

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

    @field_validator(
        "tasks", "retrievers", "reasoners", "generators", "methods", "rewards", "metrics", "k", "seeds", mode="before"
    )
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str | int | Mapping | ComponentChoice) else value


def read_run_config(path: Path | None, overrides: Mapping[str, Any]) -> RunConfig:
    """Read a run config from a YAML file and flags; given flags override the file.

    Args:
        path: the file, or None to use only flags.
        overrides: field name to value; None and empty lists count as not given.

    Raises:
        RunError: the file cannot be read, or a field is invalid; the message names file and field.
    """
    content: dict[str, Any] = {}
    if path is not None:
        loaded = read_yaml(path, RunError).content
        if not isinstance(loaded, dict):
            raise RunError(f"{path}: a run file must be a mapping", "see the guide on run files")
        content = loaded
    content |= {key: value for key, value in overrides.items() if value is not None and value != []}
    try:
        return RunConfig.model_validate(content)
    except ValidationError as error:
        known = ", ".join(RunConfig.model_fields)
        hint = f"known fields: {known}" if error.errors()[0]["type"] == "extra_forbidden" else ""
        raise RunError(f"{path or 'run'}: {first_problem(error)}", hint) from None
