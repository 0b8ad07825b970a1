"""All hyperparameters of a PrLM training, from recipes that ship or from the user's YAML files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BeforeValidator, Field, model_validator

from prlm_bench.errors import RunError, UnknownNameError

from .._training import Settings, load, with_changes, world_size

S = TypeVar("S")

_FOLDER = Path(__file__).parent / "recipes"
_HINT = "see docs/guides/prlm.md"


class PairSettings(Settings):
    """Preference pairs, which the reward model is trained on."""

    #: Maximum number of training questions.
    questions: int = Field(default=5000, ge=1)
    #: Worse answers besides the answer without items.
    negatives: list[Literal["other-user", "echo"]] = Field(default=[])
    #: Reasoner of the prompts without items. Its wording has to fit a prompt that shows nothing of the user.
    plain: str = "direct:protocol=chat"
    #: Also use the gold answer as a better answer.
    gold: bool = False


class EncoderConfig(Settings):
    """Sizes of a BERT-like encoder trained from scratch, with a tokenizer learnt from the pairs."""

    vocabulary: int = Field(default=2000, ge=100)
    hidden: int = Field(default=128, ge=8)
    layers: int = Field(default=2, ge=1)
    heads: int = Field(default=4, ge=1)


class RewardModelSettings(Settings):
    """The reward model, which scores an answer to a question."""

    #: A BERT-like encoder by hub name or folder, or the sizes of one to train from scratch.
    base: str | EncoderConfig = EncoderConfig()
    learning_rate: float = Field(default=5e-5, gt=0)
    epochs: float = Field(default=3, gt=0)
    #: Pairs in an optimizer step.
    batch: int = Field(default=64, ge=1)
    max_length: int = Field(default=512, ge=8)
    warmup: float = Field(default=0.1, ge=0, lt=1)
    #: Whether the model also reads the user's retrieved items, so that its score depends on the user.
    profile: bool = False


class Lora(Settings):
    """Train an adapter instead of all weights (peft's names)."""

    r: int = Field(default=16, ge=1)
    lora_alpha: int = Field(default=32, ge=1)
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    target_modules: str | list[str] = "all-linear"


class TuningSettings(Settings):
    """Settings shared by all trainings of the language model."""

    #: Maximum number of training questions.
    questions: int | None = Field(default=None, ge=1)
    learning_rate: float = Field(gt=0)
    epochs: float = Field(gt=0)
    #: Maximum number of optimizer steps; the schedule ends there.
    steps: int | None = Field(default=None, ge=1)
    schedule: str = "cosine_with_min_lr"
    #: Final learning rate as a share of `learning_rate`.
    final_share: float = Field(default=0.1, ge=0, le=1)
    warmup: float = Field(default=0.1, ge=0, lt=1)
    #: Questions in an optimizer step, summed over devices.
    batch: int = Field(default=16, ge=1)
    #: Rows in a forward pass on one device; None for all rows of a step.
    device_batch: int | None = Field(default=None, ge=1)
    #: Rows in a forward pass on one device during evaluation, rounded up to whole groups; None for `device_batch`.
    eval_batch: int | None = Field(default=None, ge=1)
    max_grad_norm: float = Field(default=1.0, gt=0)
    lora: Lora | None = None
    #: Optimizer steps between two checkpoints; each is evaluated on the validation users.
    every: int = Field(default=50, ge=1)
    #: Which checkpoint is kept: the best on the validation users, or the last.
    select: Literal["best", "last"] = "best"
    #: Maximum number of validation questions in an evaluation.
    judged: int = Field(default=64, ge=1)
    #: Early stopping: number of checkpoints without improvement.
    patience: int | None = Field(default=None, ge=1)
    #: Further arguments of trl's configuration, by trl's names.
    trl: dict[str, Any] = Field(default={})

    @property
    def rows_per_question(self) -> int:
        """Rows that a question takes in a batch."""
        return 1

    def batch_sizes(self) -> tuple[int, int]:
        """Rows in a forward pass on one device, in training and in evaluation.

        Raises:
            RunError: the rows of a step cannot be divided among the devices.
        """
        rows, devices = self.batch * self.rows_per_question, world_size()
        train = min(self.device_batch or rows, rows // devices)
        if train < 1 or rows % (train * devices):
            number = self.device_batch or train
            raise RunError(
                f"device_batch={number} on {devices} devices does not divide the {rows} rows of a step",
                f"{self.batch} questions of {self.rows_per_question} rows; choose a divisor of {rows // devices}",
            )
        # A group's rewards are compared, so the devices together evaluate whole groups.
        whole = self.rows_per_question // math.gcd(self.rows_per_question, devices)
        return train, -(-(self.eval_batch or train) // whole) * whole


class GrpoSettings(TuningSettings):
    """GRPO."""

    reasoner: str = "prlm"
    #: Completions sampled for each question.
    group: int = Field(default=4, ge=2)
    temperature: float = Field(default=0.7, gt=0)
    #: Weight of the KL divergence from the base model; 0 trains without a reference model.
    beta: float = Field(default=0.0, ge=0)
    #: How the loss averages over tokens, by trl's names: `grpo` over each completion and then over completions, `dapo`
    #: over all tokens of the step.
    loss_type: Literal["grpo", "dapo", "bnpo", "dr_grpo"] = "dapo"
    #: What advantages are divided by: the standard deviation of the question's group or of the batch, or nothing.
    scale_rewards: Literal["group", "batch", "none"] = "group"
    #: Weight of each reward, by spec.
    rewards: dict[str, float] = Field(
        default={"accuracy": 1.0, "closed-reasoning": 0.1, "personalization": 0.1}, min_length=1
    )
    #: Placebos: rewards, by spec, whose scores are given to other completions of the step.
    permuted: list[str] = Field(default=[])
    #: Store the completions of every n-th step.
    keep_every: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _check_permuted(self) -> GrpoSettings:
        unknown = [spec for spec in self.permuted if spec not in self.rewards]
        if unknown:
            raise ValueError(f"permuted: {unknown[0]} is none of the rewards {', '.join(self.rewards)}")
        return self

    @property
    def rows_per_question(self) -> int:
        """The size of a group."""
        return self.group


class SftSettings(TuningSettings):
    """Supervised fine-tuning on gold answers."""

    reasoner: str = "direct:protocol=chat"


class StartSettings(TuningSettings):
    """The start: fine-tuning on direct answers and on reasoning made by rule, before all other stages."""

    section: ClassVar = "start"

    #: Number of training questions, which no other stage is trained on.
    questions: int = Field(default=300, ge=1)
    learning_rate: float = Field(default=5e-5, gt=0)
    epochs: float = Field(default=2, gt=0)
    reasoner: str = "prlm"
    #: Reasoner of the prompts that are answered without reasoning.
    direct: str = "direct:protocol=chat"
    #: Share of the questions that are answered without reasoning.
    direct_share: float = Field(default=0.5, ge=0, le=1)
    #: Number of statements in a trace, at most.
    statements: int = Field(default=3, ge=1)


class SftTracesSettings(TuningSettings):
    """Supervised fine-tuning on reasoning that is made by rule from the shown items, followed by the gold answer."""

    section: ClassVar = "sft_traces"

    reasoner: str = "prlm"
    #: Number of statements in the reasoning of a question, at most.
    statements: int = Field(default=3, ge=1)


class SftChoice(Settings):
    """A setting of SFT."""

    #: Multiple of the steps of `sft`.
    steps: int = Field(ge=1)
    learning_rate: float = Field(gt=0)

    @property
    def stage(self) -> str:
        """The name of the stage, and of its folder."""
        return f"sft-{self.steps}x-{self.learning_rate:g}"


class SftGrid(Settings):
    """Trainings of SFT, of which the best on the validation users is the arm `best-sft`."""

    #: Multiples of the steps of `sft`, of its epochs and of the steps between two checkpoints.
    steps: list[int] = Field(default=[1, 4, 8], min_length=1)
    learning_rates: list[float] = Field(min_length=1)
    #: The setting to train, without any choice: that which another seed has chosen. None tries all.
    chosen: SftChoice | None = None

    @property
    def points(self) -> list[SftChoice]:
        """The settings to train: fewer steps and lower rates first."""
        if self.chosen is not None:
            return [self.chosen]
        rates = sorted(set(self.learning_rates))
        return [SftChoice(steps=n, learning_rate=rate) for n in sorted(set(self.steps)) for rate in rates]

    def settings(self, sft: SftSettings, point: SftChoice) -> SftSettings:
        """Those of SFT with the steps and the learning rate of a point."""
        n = point.steps
        changes: dict[str, Any] = {
            "learning_rate": point.learning_rate,
            "epochs": n * sft.epochs,
            "every": n * sft.every,
        }
        return sft.model_copy(update={**changes, "steps": None if sft.steps is None else n * sft.steps})


class RftSettings(TuningSettings):
    """Rejection-sampling fine-tuning: on the base model's own best-scoring completions."""

    reasoner: str = "prlm"
    #: Completions sampled for each question.
    draws: int = Field(default=8, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    #: Weight of each reward that scores them, by spec.
    rewards: dict[str, float] = Field(default={"accuracy": 1.0, "closed-reasoning": 0.1}, min_length=1)
    #: Minimum score of a question's best completion; questions below it are left out.
    least: float = 0.0


class DpoSettings(TuningSettings):
    """DPO on the pairs: prefers the completion written with the user's items to the one written without."""

    beta: float = Field(default=0.1, gt=0)


class Recipe(Settings):
    """All settings of a training."""

    #: The base model: hub name or folder of a causal model, or `trainer:SPEC` for one that a registered trainer makes.
    base: str
    retriever: str = "bm25"
    #: Items in a prompt.
    k: int = Field(default=5, ge=1)
    #: Reasoner of the prompts whose answers become pairs.
    reasoner: str = "prlm"
    #: Maximum number of tokens in a completion.
    max_completion: int = Field(default=768, ge=1)
    #: Share of the training users held back for validation; the dev split is never read.
    held_back: float = Field(default=0.1, gt=0, lt=1)
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    #: Token budget of a batch when the base model generates.
    batch_tokens: int = Field(default=16384, ge=1)
    #: trl's `report_to`; `auto` is TensorBoard where it is installed.
    report_to: str = "auto"
    #: Token budget of a prompt in runs of the trained models; None for that of training.
    run_max_length: int | None = Field(default=None, ge=1)
    #: None, in YAML also `none`: the other stages begin with the base itself, as in the paper.
    start: Annotated[StartSettings | None, BeforeValidator(lambda given: None if given == "none" else given)] = None
    pairs: PairSettings = PairSettings()
    reward: RewardModelSettings = RewardModelSettings()
    # Stages that a command does not train may be left out.
    policy: GrpoSettings | None = None
    sft: SftSettings | None = None
    #: The grid of SFT. `prlm.ablation` trains it, and `sft_traces`, only where the recipe has them.
    sft_grid: SftGrid | None = None
    sft_traces: SftTracesSettings | None = None
    rft: RftSettings | None = None
    dpo: DpoSettings | None = None
    #: Changes to `policy`, and to its `reward` model, for each policy of the ablation, by the policy's name.
    ablations: dict[str, dict[str, Any]] = Field(default={})


def required(settings: S | None, stage: str) -> S:
    """The settings of a stage.

    Raises:
        RunError: the recipe leaves the stage out.
    """
    if settings is None:
        shown = "smollm2" if stage == "start" else "tiny"
        message = f"the recipe has no section {stage}"
        raise RunError(message, f"add one; `prlm-bench prlm recipes {shown}` shows a {stage}")
    return settings


def recipe_names() -> list[str]:
    """Names of the recipes that ship."""
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
    """A recipe by name or path, with changes.

    Args:
        name: one that ships, or the path of a YAML file.
        changes: such as `policy.learning_rate=1e-5`, the value being YAML.
        given: top-level fields; None keeps the recipe's own value.

    Raises:
        RunError: no such recipe, or a wrong field; one line that names it.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else _FOLDER / f"{name}.yaml"
    if path.parent == _FOLDER and not path.is_file():
        raise UnknownNameError("recipe", name, recipe_names())
    return load(Recipe, path, changes, given, hint=_HINT)


def change_recipe(recipe: Recipe, changes: dict[str, Any]) -> Recipe:
    """The recipe with other values, each under a path such as `policy.rewards`.

    Raises:
        RunError: a wrong path or value.
    """
    return with_changes(recipe, "ablation", changes.items(), hint=_HINT)
