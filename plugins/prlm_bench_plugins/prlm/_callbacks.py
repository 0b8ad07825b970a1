"""What a training writes while it runs: progress updates, a log of figures, and complete checkpoints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from transformers import PrinterCallback, TrainerCallback

from prlm_bench.cli.plugin_api import write_whole
from prlm_bench.errors import RunError
from prlm_bench.progress import Progress

from .._training import LOG, is_main_process, remove_folder

#: Folder of checkpoints, below a stage's own.
CHECKPOINTS = "checkpoints"
#: File in a complete checkpoint that names all its files.
_COMPLETE = "whole"
#: Parts of the names of figures that differ between runs of the same training.
_TIMES = ("runtime", "per_second", "step_time", "profiling", "num_tokens", "total_flos")
#: Figures in the line that each evaluation prints.
_PRINTED = ("loss", "reward", "entropy", "completions/clipped_ratio", "eval_loss", "eval_reward")


def last_complete_checkpoint(folder: Path) -> str | None:
    """The newest complete checkpoint; incomplete ones are removed."""
    found: dict[int, Path] = {}
    for path in (folder / CHECKPOINTS).glob("checkpoint-*"):
        if _is_complete(path):
            found[int(path.name.rpartition("-")[2])] = path
        elif is_main_process():
            remove_folder(path)
    return str(found[max(found)]) if found else None


def _is_complete(checkpoint: Path) -> bool:
    """False while the checkpoint is being written, and if its removal was interrupted."""
    try:
        names = orjson.loads((checkpoint / _COMPLETE).read_bytes())
    except (OSError, ValueError):
        return False
    return all((checkpoint / name).is_file() for name in names)


def report_progress(trainer: Any, progress: Progress, label: str, folder: Path) -> None:
    """Make a trainer report progress and log its figures instead of printing them."""
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(ProgressCallback(progress, label, folder))


class ProgressCallback(TrainerCallback):
    """Reports and logs one training.

    Args:
        progress: receives the steps, and a line at each evaluation.
        label: what is trained.
        folder: of the stage; the log goes there.
    """

    def __init__(self, progress: Progress, label: str, folder: Path) -> None:
        self._progress, self._label, self._path = progress, label, folder / LOG
        self._last: dict[str, float] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Cut the log to the step at which the training starts or resumes."""
        self._progress.start(f"{self._label}, steps", state.max_steps, state.global_step)
        if is_main_process():
            write_whole(self._path, b"".join(map(_line, state.log_history)))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Report a step; save and evaluate after the last one."""
        self._progress.advance()
        if state.global_step >= state.max_steps:
            control.should_save = True
            control.should_evaluate = args.eval_strategy != "no"

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any) -> None:
        """Append a row of figures to the log.

        Raises:
            RunError: the loss or its gradient is NaN or infinite.
        """
        row = {**(logs or {}), "step": state.global_step}
        # fp16 skips a step whose gradient overflows, and reduces the loss scale.
        watched = ("loss", "eval_loss") if args.fp16 else ("loss", "eval_loss", "grad_norm")
        for name in watched:
            if not math.isfinite(row.get(name, 0.0)):
                raise RunError(
                    f"{self._label}: {name} is {row[name]} at step {state.global_step}",
                    "earlier checkpoints are kept; reduce learning_rate",
                )
        if is_main_process():
            with self._path.open("ab") as file:
                file.write(_line(row))
        self._last |= {name: row[name] for name in _PRINTED if isinstance(row.get(name), float)}

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Report the latest figures."""
        figures = ", ".join(f"{name.replace('eval_', 'validation ')} {value:.3f}" for name, value in self._last.items())
        self._progress.note(f"{self._label}, step {state.global_step}: {figures}")

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Mark the checkpoint as complete, so that training can resume from it."""
        if is_main_process():
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
            write_whole(folder / _COMPLETE, orjson.dumps(names))


def _line(row: Mapping[str, Any]) -> bytes:
    """A row of the log; nothing for the summary, which counts only the steps since the training resumed."""
    if "train_loss" in row:
        return b""
    kept = {name: value for name, value in row.items() if not any(part in name for part in _TIMES)}
    return orjson.dumps(kept, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
