"""What a training is made with: every number that its outcome hangs on, from recipes that ship or the user's files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from prlm_bench.errors import RunError, UnknownNameError

_FOLDER = Path(__file__).parent / "recipes"


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Pairs(_Settings):
    """The answers that the reward model is trained on."""

    #: Training questions at most.
    questions: int = Field(default=5000, ge=1)
    #: Besides the answer without items, what counts as the worse answer.
    negatives: list[Literal["other-user", "echo"]] = []
    #: The gold is a better answer too.
    gold: bool = False


class Scratch(_Settings):
    """An encoder that is made here, with a tokenizer learnt from the pairs; it needs no download."""

    vocabulary: int = Field(default=2000, ge=100)
    hidden: int = Field(default=128, ge=8)
    layers: int = Field(default=2, ge=1)
    heads: int = Field(default=4, ge=1)


class RewardModel(_Settings):
    """The pair scorer."""

    #: A BERT-like encoder by hub name or folder, or the sizes of one from scratch.
    base: str | Scratch = Scratch()
    learning_rate: float = Field(default=5e-5, gt=0)
    epochs: float = Field(default=3, gt=0)
    #: Pairs in a step.
    batch: int = Field(default=64, ge=1)
    max_length: int = Field(default=512, ge=8)
    warmup: float = Field(default=0.1, ge=0, lt=1)
    #: The user's retrieved items are part of what the scorer reads, so that the score is about this user.
    profile: bool = False


class Lora(_Settings):
    """Train an adapter instead of all weights (peft's names)."""

    r: int = Field(default=16, ge=1)
    lora_alpha: int = Field(default=32, ge=1)
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    target_modules: str | list[str] = "all-linear"


class Tuning(_Settings):
    """What all trainings of the language model have."""

    #: Training questions at most.
    questions: int | None = Field(default=None, ge=1)
    learning_rate: float = Field(gt=0)
    epochs: float = Field(gt=0)
    #: Optimizer steps at most; the schedule ends there.
    steps: int | None = Field(default=None, ge=1)
    schedule: str = "cosine_with_min_lr"
    #: The rate that the schedule ends at, as a share of `learning_rate`.
    final_share: float = Field(default=0.1, ge=0, le=1)
    warmup: float = Field(default=0.1, ge=0, lt=1)
    #: Questions in an optimizer step, over all devices.
    batch: int = Field(default=16, ge=1)
    #: Rows that a device takes at a time; None for all of a step at once.
    device_batch: int | None = Field(default=None, ge=1)
    max_grad_norm: float = Field(default=1.0, gt=0)
    lora: Lora | None = None
    #: Optimizer steps between two checkpoints, each judged on the held-back users.
    every: int = Field(default=50, ge=1)
    #: Held-back questions that a checkpoint is judged on.
    judged: int = Field(default=64, ge=1)
    #: End after so many checkpoints without a better one.
    patience: int | None = Field(default=None, ge=1)
    #: Further arguments of trl's configuration, by its names.
    trl: dict[str, Any] = {}


class Policy(Tuning):
    """GRPO."""

    reasoner: str = "prlm"
    #: Completions of each question.
    group: int = Field(default=4, ge=2)
    temperature: float = Field(default=0.7, gt=0)
    #: Weight of the KL divergence from the base; 0 trains without a reference.
    beta: float = Field(default=0.0, ge=0)
    #: Rewards by spec, with their weights.
    rewards: dict[str, float] = Field(
        default={"accuracy": 1.0, "closed-reasoning": 0.1, "personalization": 0.1}, min_length=1
    )
    #: Steps between two steps whose completions are kept to be read.
    keep_every: int = Field(default=1, ge=1)


class Imitation(Tuning):
    """Supervised fine-tuning on golds."""

    reasoner: str = "direct:protocol=chat"


class Rejection(Tuning):
    """Supervised fine-tuning on the model's own completions that score best."""

    reasoner: str = "prlm"
    #: Completions that are drawn for each question.
    draws: int = Field(default=8, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    #: What judges them, as in the policy's rewards.
    rewards: dict[str, float] = Field(default={"accuracy": 1.0, "closed-reasoning": 0.1}, min_length=1)
    #: A completion is kept where it is its question's best and scores this much at least.
    least: float = 0.0


class Preference(Tuning):
    """DPO on the pairs: the completion that saw the items against the one that did not."""

    beta: float = Field(default=0.1, gt=0)


class Recipe(_Settings):
    """A whole training."""

    #: A causal model by hub name or folder, or `trainer:SPEC` for one that a registered trainer makes.
    base: str
    retriever: str = "bm25"
    #: Items that a prompt shows.
    k: int = Field(default=5, ge=1)
    #: Shapes the prompts whose answers become pairs, and by default those of the policy.
    reasoner: str = "prlm"
    #: Tokens that the base may write.
    max_completion: int = Field(default=768, ge=1)
    #: Share of the training users who are kept back to choose by; dev is never looked at.
    held_back: float = Field(default=0.1, gt=0, lt=1)
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    #: Tokens of a batch when the base answers.
    batch_tokens: int = Field(default=16384, ge=1)
    #: Where trl reports to, by its names; `auto` is TensorBoard where it is installed.
    report_to: str = "auto"
    pairs: Pairs = Pairs()
    reward: RewardModel = RewardModel()
    policy: Policy
    sft: Imitation
    rft: Rejection
    dpo: Preference
    #: Policies of the ablation: name to changes, written as for `changes`.
    ablations: dict[str, dict[str, Any]] = {}


def recipe_names() -> list[str]:
    """The recipes that ship."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def recipe_text(name: str) -> str:
    """The YAML of a recipe that ships.

    Raises:
        UnknownNameError: there is none of that name.
    """
    path = _FOLDER / f"{name}.yaml"
    if not path.is_file():
        raise UnknownNameError("recipe", name, recipe_names())
    return path.read_text(encoding="utf-8")


def read_recipe(name: str, changes: Sequence[str] = (), **given: Any) -> Recipe:
    """A recipe by name or path, changed.

    Args:
        name: one that ships, or the path of a YAML file.
        changes: as `policy.learning_rate=1e-5`, the value being YAML.
        given: top-level fields; None leaves the recipe's own value.

    Raises:
        RunError: no such recipe, or a field that is wrong; one line that names it.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else _FOLDER / f"{name}.yaml"
    if path.parent == _FOLDER and not path.is_file():
        raise UnknownNameError("recipe", name, recipe_names())
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RunError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise RunError(f"{path}: a recipe is a mapping", "see docs/guides/prlm.md")
    for field, value in given.items():
        if value is not None:
            content[field] = value
    return _checked(path.name, _changed(content, [_parsed(change) for change in changes]))


def change_recipe(recipe: Recipe, changes: dict[str, Any]) -> Recipe:
    """The recipe with other values, each under a path such as `policy.rewards`.

    Raises:
        RunError: a path or value that is wrong.
    """
    return _checked("ablation", _changed(recipe.model_dump(), list(changes.items())))


def _parsed(change: str) -> tuple[str, Any]:
    path, equals, text = change.partition("=")
    if not equals or not path.strip():
        raise RunError(f"{change!r} is not a change", "write policy.learning_rate=1e-5")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise RunError(f"{change!r}: the value is not YAML") from None
    return path.strip(), _number(value)


def _number(value: Any) -> Any:
    """YAML 1.1 reads 1e-5 as text; here it is a number."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _changed(content: dict[str, Any], changes: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    for path, value in changes:
        *parents, last = path.split(".")
        place = content
        for parent in parents:
            inner = place.get(parent)
            place[parent] = place = dict(inner) if isinstance(inner, dict) else {}
        place[last] = value
    return content


def _checked(where: str, content: dict[str, Any]) -> Recipe:
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise RunError(f"recipe {where}: {field}: {first['msg']}", "see docs/guides/prlm.md") from None
