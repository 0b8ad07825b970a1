"""How a training goes: told as it happens, kept step by step, stopped when it breaks."""

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

from .artefact import clear
from .processes import is_main
from .records import LOG

CHECKPOINTS = "checkpoints"
#: In a checkpoint's folder when all of it has been written: the names of its files.
_WHOLE = "whole"
#: What changes from run to run and says nothing of the training.
_TIMES = ("runtime", "per_second", "step_time", "profiling", "num_tokens", "total_flos")
#: Of these the terminal shows a line at each evaluation.
_TOLD = ("loss", "reward", "entropy", "completions/clipped_ratio", "eval_loss", "eval_reward")


def last_whole_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that was written to its end; torn ones are removed."""
    found: dict[int, Path] = {}
    for path in (folder / CHECKPOINTS).glob("checkpoint-*"):
        if _is_whole(path):
            found[int(path.name.rpartition("-")[2])] = path
        elif is_main():
            clear(path)
    return str(found[max(found)]) if found else None


def _is_whole(checkpoint: Path) -> bool:
    """False while it is being written, and after a removal that did not end."""
    try:
        names = orjson.loads((checkpoint / _WHOLE).read_bytes())
    except (OSError, ValueError):
        return False
    return all((checkpoint / name).is_file() for name in names)


def follow(trainer: Any, progress: Progress, label: str, folder: Path) -> None:
    """Have a trainer followed, instead of printing its figures."""
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Course(progress, label, folder))


class Course(TrainerCallback):
    """Follows one training.

    Args:
        progress: is told the steps, and a line at each evaluation.
        label: what is being trained.
        folder: of the stage; the log is written there.
    """

    def __init__(self, progress: Progress, label: str, folder: Path) -> None:
        self._progress, self._label, self._path = progress, label, folder / LOG
        self._last: dict[str, float] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Bring the log to where the training goes on."""
        self._progress.start(f"{self._label}, steps", state.max_steps, state.global_step)
        if is_main():
            write_whole(self._path, b"".join(map(_line, state.log_history)))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """One more step; the last one is judged too."""
        self._progress.advance()
        if state.global_step >= state.max_steps:
            control.should_save = True
            control.should_evaluate = args.eval_strategy != "no"

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any) -> None:
        """Keep a row of figures.

        Raises:
            RunError: the loss or its gradient is not a number any more.
        """
        row = {**(logs or {}), "step": state.global_step}
        # In half precision a step whose gradient overflows is left out, and the scale made smaller.
        watched = ("loss", "eval_loss") if args.fp16 else ("loss", "eval_loss", "grad_norm")
        for name in watched:
            if not math.isfinite(row.get(name, 0.0)):
                raise RunError(
                    f"{self._label}: {name} is {row[name]} at step {state.global_step}",
                    "checkpoints before it are kept; take a smaller learning_rate",
                )
        if is_main():
            with self._path.open("ab") as file:
                file.write(_line(row))
        self._last |= {name: row[name] for name in _TOLD if isinstance(row.get(name), float)}

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Tell how it stands."""
        figures = ", ".join(f"{name.replace('eval_', 'held-back ')} {value:.3f}" for name, value in self._last.items())
        self._progress.note(f"{self._label}, step {state.global_step}: {figures}")

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """From here on the checkpoint can be gone on from."""
        if is_main():
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
            write_whole(folder / _WHOLE, orjson.dumps(names))


def _line(row: Mapping[str, Any]) -> bytes:
    """A row of the log; none for the summary, which counts only the steps since the training went on."""
    if "train_loss" in row:
        return b""
    kept = {name: value for name, value in row.items() if not any(part in name for part in _TIMES)}
    return orjson.dumps(kept, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
