"""What all trainings of the language model have in common: loading, arguments, resuming, saving."""

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

from .artefact import MODEL, clear
from .course import CHECKPOINTS, follow, last_whole_checkpoint
from .identity import hash_files
from .processes import is_main, world_size
from .recipe import Lora, Tuning
from .records import read_log
from .workshop import Workshop

T = TypeVar("T")

#: The folder of TensorBoard's files, below a stage's own.
TENSORBOARD = "tensorboard"
#: Where transformers is told of that folder.
_WHERE = "TENSORBOARD_LOGGING_DIR"

#: How libraries say that a file cannot be written; the last is torch's archive.
_DISK = ("no space left", "failed writing", "i/o error", "file too large", "disk quota", "inline_container")


def load_model(model: str) -> tuple[Any, Any]:
    """A causal model in single precision, with its tokenizer.

    Raises:
        PrlmBenchError: it cannot be loaded, or has no chat template.
    """
    import transformers

    auto: Any = transformers
    try:
        with quiet_transformers():
            tokenizer = auto.AutoTokenizer.from_pretrained(model)
            made = auto.AutoModelForCausalLM.from_pretrained(model, dtype="float32", use_safetensors=True)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise PrlmBenchError(f"model {model!r} cannot be loaded: {type(error).__name__}: {reason}") from None
    if tokenizer.chat_template is None:
        raise RunError(f"model {model!r} has no chat template", "take one that was tuned to chat")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return made, tokenizer


def passes(rows: Sequence[T], settings: Tuning, seed: int) -> list[T]:
    """The rows in the order of training: shuffled in each pass, cut to whole steps.

    With all passes laid out beforehand a training that goes on needs to know nothing but its step.

    Raises:
        RunError: fewer rows than one step takes.
    """
    rng = random.Random(f"passes {seed}")
    order: list[T] = []
    for number in range(int(settings.epochs) + (settings.epochs % 1 > 0)):
        part = rng.sample(rows, len(rows))
        order += part[: round((settings.epochs - number) * len(rows))]
    steps = len(order) // settings.batch
    if steps == 0:
        raise RunError(
            f"{len(rows)} questions in {settings.epochs} epochs are less than one step of {settings.batch}",
            "more questions or epochs, or a smaller batch",
        )
    return order[: min(steps, settings.steps or steps) * settings.batch]


def arguments(shop: Workshop, folder: Path, settings: Tuning, rows: int, per_question: int) -> dict[str, Any]:
    """Arguments of transformers' Trainer, by its names.

    Args:
        shop: the training.
        folder: of the stage.
        settings: of the stage.
        rows: questions in all steps together.
        per_question: rows that a question takes on the device.
    """
    import torch

    in_step = settings.batch * per_question
    device = min(settings.device_batch or in_step, in_step // world_size())
    if device < 1 or in_step % (device * world_size()):
        raise RunError(f"device_batch={device} on {world_size()} devices does not divide the {in_step} rows of a step")
    scheduled = {"min_lr_rate": settings.final_share} if settings.schedule.endswith("with_min_lr") else {}
    cpu = not torch.cuda.is_available()
    return {
        "output_dir": str(folder / CHECKPOINTS),
        "per_device_train_batch_size": device,
        "per_device_eval_batch_size": device,
        "gradient_accumulation_steps": in_step // (device * world_size()),
        "max_steps": rows // settings.batch,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": settings.schedule,
        "lr_scheduler_kwargs": scheduled,
        "warmup_steps": settings.warmup,
        "max_grad_norm": settings.max_grad_norm,
        "eval_strategy": "steps",
        "eval_steps": settings.every,
        "save_strategy": "steps",
        "save_steps": settings.every,
        "save_total_limit": 2,
        "load_best_model_at_end": True,
        # How long there was no better checkpoint.
        "restore_callback_states_from_checkpoint": settings.patience is not None,
        "logging_steps": 1,
        "seed": shop.context.seed,
        "use_cpu": cpu,
        "bf16": shop.recipe.precision == "bf16",
        "fp16": shop.recipe.precision == "fp16",
        "gradient_checkpointing": False,
        "dataloader_pin_memory": not cpu,
        "disable_tqdm": True,
        "report_to": _reporters(shop.recipe.report_to),
        **settings.trl,
    }


def adapter(lora: Lora | None) -> Any:
    """peft's configuration; None where all weights are trained."""
    if lora is None:
        return None
    import peft

    make: Any = peft.LoraConfig
    return make(task_type="CAUSAL_LM", **lora.model_dump())


def plain(trainer: Any) -> Any:
    """A trainer class of trl that writes no model card and tells nobody that it was used."""
    nothing = {"create_model_card": lambda self, **_: None, "_send_telemetry": lambda self: None}
    return type(trainer.__name__, (trainer,), nothing)


def fit_rows(
    shop: Workshop,
    folder: Path,
    label: str,
    settings: Tuning,
    kind: tuple[Any, Any],
    encode: Callable[[Any, Sequence[T]], Any],
    parts: tuple[Sequence[T], Sequence[T]],
    **options: Any,
) -> dict[str, Any]:
    """Train on rows that are known beforehand, and choose by the loss on the held-back ones (see `fit`).

    Args:
        shop, folder, label, settings: the stage.
        kind: trl's trainer and its configuration.
        encode: makes the dataset of rows, given the tokenizer.
        parts: the rows to train on, and those of the held-back users.
        options: of the configuration.
    """
    train, judged = parts
    rows = passes(train, settings, shop.context.seed)
    model, tokenizer = load_model(shop.base)
    make, configure = kind
    with building(label, folder):
        config = configure(
            max_length=None,
            train_sampling_strategy="sequential",
            metric_for_best_model="loss",
            greater_is_better=False,
            **options,
            **arguments(shop, folder, settings, len(rows), 1),
        )
        trainer = plain(make)(
            model=model,
            processing_class=tokenizer,
            args=config,
            train_dataset=encode(tokenizer, rows),
            eval_dataset=encode(tokenizer, judged),
            peft_config=adapter(settings.lora),
        )
    return fit(shop, folder, label, settings, trainer)


def fit(
    shop: Workshop,
    folder: Path,
    label: str,
    settings: Tuning,
    trainer: Any,
    going_on: Callable[[int], None] = lambda step: None,
) -> dict[str, Any]:
    """Train, from the last whole checkpoint where there is one, and save the best model in `folder/model`.

    Args:
        shop, folder, label, settings: the stage.
        trainer: of transformers.
        going_on: told the step that the training starts after; -1 where nothing is there yet.

    Returns:
        Figures for the manifest: steps, the curve on the held-back users, hashes of the model's files.

    Raises:
        PrlmBenchError: the loss breaks, memory or the disk does not suffice.
    """
    from transformers import EarlyStoppingCallback

    follow(trainer, shop.progress, label, folder)
    if settings.patience is not None:
        trainer.add_callback(EarlyStoppingCallback(settings.patience))
    resume = last_whole_checkpoint(folder)
    trainer.args.eval_on_start = resume is None
    going_on(int(resume.rpartition("-")[2]) if resume else -1)
    with explained(label, folder), silently():
        trainer.train(resume_from_checkpoint=resume)
        if is_main():
            _save(trainer, folder / MODEL)
    metric = f"eval_{trainer.args.metric_for_best_model.removeprefix('eval_')}"
    curve = [[row["step"], round(row[metric], 4)] for row in read_log(folder) if metric in row]
    best = trainer.state.best_model_checkpoint
    return {
        "steps": trainer.state.global_step,
        "best_step": int(Path(best).name.rpartition("-")[2]) if best else trainer.state.global_step,
        "held_back": {"metric": metric.removeprefix("eval_"), "curve": curve},
        "files": hash_files(folder / MODEL) if is_main() else {},
    }


def _save(trainer: Any, folder: Path) -> None:
    model = trainer.accelerator.unwrap_model(trainer.model)
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    clear(folder)
    model.save_pretrained(folder, safe_serialization=True)
    trainer.processing_class.save_pretrained(folder)
    for path in folder.iterdir():
        path.chmod(0o644)


@contextmanager
def building(label: str, folder: Path) -> Iterator[None]:
    """While a trainer is made: what is wrong with its settings is one line, and TensorBoard's files go to the stage."""
    before = os.environ.get(_WHERE)
    os.environ[_WHERE] = str(folder / TENSORBOARD)
    try:
        with explained(label, folder), silently():
            yield
    finally:
        del os.environ[_WHERE]
        if before is not None:
            os.environ[_WHERE] = before


@contextmanager
def silently() -> Iterator[None]:
    """Without what transformers and trl say of their own changes."""
    with quiet_transformers(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def explained(label: str, folder: Path) -> Iterator[None]:
    """Turn what goes wrong in a training into one line that says what to do."""
    try:
        yield
    except PrlmBenchError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        kept = "what was saved before is kept; run it again to go on"
        if isinstance(error, OSError) or any(part in reason.lower() for part in _DISK):
            raise PrlmBenchError(f"{folder}: a checkpoint cannot be written: {reason}", kept) from None
        if "out of memory" in reason.lower() or "can't allocate" in reason.lower() or isinstance(error, MemoryError):
            raise PrlmBenchError(f"{label}: memory does not suffice", "a smaller device_batch, or lora") from None
        if reason.startswith("probability tensor contains"):  # torch, when it is to draw a token
            message = f"{label}: what the model gives are no numbers any more"
            raise RunError(message, "checkpoints before it are kept; take a smaller learning_rate") from None
        raise RunError(f"{label} failed: {type(error).__name__}: {reason}", kept) from error


def _reporters(wish: str) -> list[str]:
    if wish != "auto":
        return [] if wish == "none" else [wish]
    return ["tensorboard"] if find_spec("tensorboard") is not None else []


def last_values(folder: Path, names: Mapping[str, str]) -> dict[str, float]:
    """The means of figures over the last tenth of the log's training rows.

    Args:
        folder: of the stage.
        names: what to call each figure, and its name in the log.
    """
    rows = [row for row in read_log(folder) if "loss" in row]
    tail = rows[-max(1, len(rows) // 10) :]
    found = {}
    for called, name in names.items():
        values = [row[name] for row in tail if isinstance(row.get(name), int | float)]
        if values:
            found[called] = round(sum(values) / len(values), 4)
    return found
