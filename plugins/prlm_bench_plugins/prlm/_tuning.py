"""What all trainings of the language model share: order of the rows, arguments, resuming, saving, errors."""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from prlm_bench.errors import PrlmBenchError, RunError
from prlm_bench.prompting import quiet_transformers

from .. import _hf
from .._training import (
    CHECKPOINTS,
    MODEL,
    file_hashes,
    is_main_process,
    read_log,
    remove_folder,
    save_tokenizer,
    world_size,
)
from ._callbacks import GENERATED, TRAINED, last_complete_checkpoint, report_progress
from ._context import TrainingContext
from ._recipe import Lora, TuningSettings
from ._rollout import ANSWER_TOKENS, Validation, validated

T = TypeVar("T")

#: Folder of TensorBoard's files, below a stage's own.
TENSORBOARD = "tensorboard"
#: The environment variable that names this folder to transformers.
_TENSORBOARD_FOLDER = "TENSORBOARD_LOGGING_DIR"
#: How libraries report that a file cannot be written; the last is torch's archive.
_DISK = ("no space left", "failed writing", "i/o error", "file too large", "disk quota", "inline_container")


def load_model(model: str) -> tuple[Any, Any]:
    """A causal model in single precision, with its tokenizer.

    Raises:
        PrlmBenchError: it cannot be loaded, or has no chat template.
    """
    what = f"model {model!r}"
    tokenizer = _hf.load_tokenizer(model, what)
    made = _hf.load_model("AutoModelForCausalLM", model, what)
    if tokenizer.chat_template is None:
        raise RunError(f"{what} has no chat template", "take a model that was tuned for chat")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return made, tokenizer


def epoch_orders(rows: Sequence[T], settings: TuningSettings, seed: int) -> list[T]:
    """The rows in the order of training: shuffled anew in each epoch, cut to whole steps.

    All epochs are laid out beforehand, so that a training that resumes needs nothing but the number of its step.

    Raises:
        RunError: fewer rows than one step takes.
    """
    rng = random.Random(f"passes {seed}")
    order: list[T] = []
    for number in range(int(settings.epochs) + (settings.epochs % 1 > 0)):
        epoch = rng.sample(rows, len(rows))
        order += epoch[: round((settings.epochs - number) * len(rows))]
    steps = len(order) // settings.batch
    if steps == 0:
        raise RunError(
            f"{len(rows)} questions in {settings.epochs} epochs are less than one step of {settings.batch}",
            "more questions or epochs, or a smaller batch",
        )
    return order[: min(steps, settings.steps or steps) * settings.batch]


def training_arguments(ctx: TrainingContext, folder: Path, settings: TuningSettings, questions: int) -> dict[str, Any]:
    """Arguments of transformers' Trainer, by its names.

    Args:
        ctx: the training.
        folder: of the stage.
        settings: of the stage.
        questions: in all steps together.
    """
    import torch

    rows = settings.batch * settings.rows_per_question
    device_batch, eval_batch = settings.batch_sizes()
    cpu = not torch.cuda.is_available()
    return {
        "output_dir": str(folder / CHECKPOINTS),
        "per_device_train_batch_size": device_batch,
        "per_device_eval_batch_size": eval_batch,
        "gradient_accumulation_steps": rows // (device_batch * world_size()),
        "max_steps": questions // settings.batch,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": settings.schedule,
        "lr_scheduler_kwargs": (
            {"min_lr_rate": settings.final_share} if settings.schedule.endswith("with_min_lr") else {}
        ),
        "warmup_steps": settings.warmup,
        "max_grad_norm": settings.max_grad_norm,
        "eval_strategy": "steps",
        "eval_steps": settings.every,
        "save_strategy": "steps",
        "save_steps": settings.every,
        "save_total_limit": 2,
        "load_best_model_at_end": settings.select == "best",
        # Early stopping counts checkpoints from before an interruption too.
        "restore_callback_states_from_checkpoint": settings.patience is not None,
        "logging_steps": 1,
        "seed": ctx.seed,
        "use_cpu": cpu,
        "bf16": ctx.recipe.precision == "bf16",
        "fp16": ctx.recipe.precision == "fp16",
        "gradient_checkpointing": False,
        "dataloader_pin_memory": not cpu,
        "disable_tqdm": True,
        "report_to": _report_to(ctx.recipe.report_to),
        **settings.trl,
    }


def _report_to(name: str) -> list[str]:
    if name != "auto":
        return [] if name == "none" else [name]
    return ["tensorboard"] if find_spec("tensorboard") is not None else []


def adapter(lora: Lora | None) -> Any:
    """peft's configuration; None if all weights are trained."""
    if lora is None:
        return None
    import peft

    make: Any = peft.LoraConfig
    return make(task_type="CAUSAL_LM", **lora.model_dump())


def fit_rows(
    ctx: TrainingContext,
    folder: Path,
    label: str,
    settings: TuningSettings,
    kind: tuple[Any, Any],
    encode: Callable[[Any, Sequence[T]], Any],
    splits: tuple[Sequence[T], Sequence[T]],
    judged: Validation,
    generated: int = 0,
    **options: Any,
) -> dict[str, Any]:
    """Train on rows that are known beforehand, and choose a checkpoint by the answers to validation users' questions.

    The loss on the validation rows is logged beside it (see `fit`).

    Args:
        ctx, folder, label, settings: the stage.
        kind: trl's trainer and its configuration.
        encode: makes a dataset of rows, given the tokenizer.
        splits: the rows to train on, and those of the validation users.
        judged: answers the validation users' questions.
        generated: tokens that were generated to make the rows.
        options: of the configuration.
    """
    from ._prefix_sharing import disable_telemetry

    train, validation = splits
    rows = epoch_orders(train, settings, ctx.seed)
    model, tokenizer = load_model(ctx.base)
    make, configure = kind
    with building(label, folder):
        config = configure(
            max_length=None,
            train_sampling_strategy="sequential",
            metric_for_best_model=judged.selected_by,
            greater_is_better=True,
            **options,
            **training_arguments(ctx, folder, settings, len(rows)),
        )
        trainer = disable_telemetry(validated(make, judged))(
            model=model,
            processing_class=tokenizer,
            args=config,
            train_dataset=encode(tokenizer, rows),
            eval_dataset=encode(tokenizer, validation),
            peft_config=adapter(settings.lora),
        )
    lengths = _row_lengths(trainer.train_dataset)
    figures = fit(ctx, folder, label, settings, trainer)
    trained = sum(lengths[: figures["steps"] * settings.batch])
    return {**figures, **training_cost(read_log(folder), generated=generated, trained=trained)}


def _row_lengths(rows: Any) -> list[int]:
    """Tokens that a step reads of each row; trl's names: DPO reads a prompt with each of its two completions."""
    if "prompt_ids" not in rows.column_names:
        return [len(row["input_ids"]) for row in rows]
    return [2 * len(row["prompt_ids"]) + len(row["chosen_ids"]) + len(row["rejected_ids"]) for row in rows]


def training_cost(
    log: Sequence[Mapping[str, Any]], batches: int = 0, *, generated: int = 0, trained: int = 0
) -> dict[str, Any]:
    """For the manifest, as `cost`: tokens that were generated, evaluations included, and tokens that a loss read.

    Args:
        log: of the stage.
        batches: of one evaluation's samples, whose log has their mean.
        generated: further tokens.
        trained: tokens that the losses of steps read which do not log them.
    """
    for row in log:
        generated += round(row.get(GENERATED, 0.0) + row.get(f"eval_{ANSWER_TOKENS}", 0.0))
        generated += round(row.get(f"eval_{GENERATED}", 0.0) * batches)
        trained += round(row.get(TRAINED, 0.0))
    return {"cost": {"tokens_generated": generated, "tokens_trained": trained}}


def fit(
    ctx: TrainingContext,
    folder: Path,
    label: str,
    settings: TuningSettings,
    trainer: Any,
    on_start: Callable[[int], None] = lambda step: None,
) -> dict[str, Any]:
    """Train from the last complete checkpoint, if there is one, and save the best model in `folder/model`.

    The best is that whose greedy answers to the validation users' questions are best (`Validation.selected_by`).

    Args:
        ctx, folder, label, settings: the stage.
        trainer: of transformers.
        on_start: called with the step after which the training starts; -1 if there is no checkpoint.

    Returns:
        Figures for the manifest: steps, the curve on the validation users, hashes of the model's files.

    Raises:
        PrlmBenchError: the loss is not finite, or memory or disk run out.
    """
    from transformers import EarlyStoppingCallback

    report_progress(trainer, ctx.progress, label, folder, ctx.stopwatch)
    if settings.patience is not None:
        trainer.add_callback(EarlyStoppingCallback(settings.patience))
    checkpoint = last_complete_checkpoint(folder)
    trainer.args.eval_on_start = checkpoint is None
    on_start(int(checkpoint.rpartition("-")[2]) if checkpoint else -1)
    with explained(label, folder), silenced():
        trainer.train(resume_from_checkpoint=checkpoint)
        if is_main_process():
            _save(trainer, folder / MODEL)
    metric = f"eval_{trainer.args.metric_for_best_model.removeprefix('eval_')}"
    curve = [[row["step"], round(row[metric], 4)] for row in read_log(folder) if metric in row]
    best = trainer.state.best_model_checkpoint if settings.select == "best" else None
    return {
        "steps": trainer.state.global_step,
        "best_step": int(Path(best).name.rpartition("-")[2]) if best else trainer.state.global_step,
        "held_back": {"metric": metric.removeprefix("eval_"), "curve": curve},
        "files": file_hashes(folder / MODEL) if is_main_process() else {},
    }


def _save(trainer: Any, folder: Path) -> None:
    model = trainer.accelerator.unwrap_model(trainer.model)
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    remove_folder(folder)
    model.save_pretrained(folder, safe_serialization=True)
    save_tokenizer(trainer.processing_class, folder)
    for path in folder.iterdir():
        path.chmod(0o644)


def last_values(folder: Path, names: Mapping[str, str]) -> dict[str, float]:
    """Means of figures over the last tenth of the log's training rows.

    Args:
        folder: of the stage.
        names: the name of each figure in the result, and in the log.
    """
    rows = [row for row in read_log(folder) if "loss" in row]
    tail = rows[-max(1, len(rows) // 10) :]
    found = {}
    for title, name in names.items():
        values = [row[name] for row in tail if isinstance(row.get(name), int | float)]
        if values:
            found[title] = round(sum(values) / len(values), 4)
    return found


@contextmanager
def building(label: str, folder: Path) -> Iterator[None]:
    """While a trainer is made: wrong settings are one line, and TensorBoard's files go to the stage's folder."""
    before = os.environ.get(_TENSORBOARD_FOLDER)
    os.environ[_TENSORBOARD_FOLDER] = str(folder / TENSORBOARD)
    try:
        with explained(label, folder), silenced():
            yield
    finally:
        del os.environ[_TENSORBOARD_FOLDER]
        if before is not None:
            os.environ[_TENSORBOARD_FOLDER] = before


@contextmanager
def silenced() -> Iterator[None]:
    """Suppress notices and deprecation warnings of transformers and trl."""
    with quiet_transformers(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def explained(label: str, folder: Path) -> Iterator[None]:
    """Turn exceptions of a training into one line that says what to do.

    Raises:
        PrlmBenchError: in place of any other exception.
    """
    try:
        yield
    except PrlmBenchError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        kept = "earlier checkpoints are kept; repeat the command to resume"
        if isinstance(error, OSError) or any(part in reason.lower() for part in _DISK):
            raise PrlmBenchError(f"{folder}: a checkpoint cannot be written: {reason}", kept) from None
        if _hf.is_out_of_memory(error):
            raise PrlmBenchError(f"{label}: out of memory", "reduce device_batch, or train a lora") from None
        if reason.startswith("probability tensor contains"):  # torch, when it samples a token
            message = f"{label}: the model produced NaN or infinite logits"
            raise RunError(message, "earlier checkpoints are kept; reduce learning_rate") from None
        raise RunError(f"{label} failed: {type(error).__name__}: {reason}", kept) from error
