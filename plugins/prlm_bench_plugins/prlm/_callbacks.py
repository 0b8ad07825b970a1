"""What a training writes while it runs: progress updates, a log of figures, and complete checkpoints."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from transformers import PrinterCallback, TrainerCallback

from prlm_bench.errors import DataError, RunError
from prlm_bench.files import load_json, write_whole
from prlm_bench.progress import Progress

from .._training import CHECKPOINTS, LOG, Stopwatch, is_main_process, remove_folder

#: File in a complete checkpoint that names all its files.
_COMPLETE = "whole"
#: Parts of the names of figures that differ between runs of the same training.
_TIMES = ("runtime", "per_second", "step_time", "profiling", "num_tokens", "total_flos")
#: Share of the groups whose completions all have the same reward, so that nothing is learned from them.
FLAT_GROUPS = "groups/without_spread"
#: Tokens of a step's completions, and tokens that its loss reads.
GENERATED, TRAINED = "tokens/generated", "tokens/trained"
#: Share of the completions that were cut at the limit.
_CUT = "completions/clipped_ratio"
#: Steps that the warning looks back on, and the share of groups without spread from which it is given.
_WINDOW, _FLAT = 5, 0.9
#: Figures in the line that each evaluation prints.
_PRINTED = (
    *("loss", "reward", "entropy", "completions/clipped_ratio"),
    *("eval_loss", "eval_reward", "eval_accuracy", "eval_unreadable"),
)


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
        names = load_json(checkpoint / _COMPLETE, list[str])
    except DataError:
        return False
    return all((checkpoint / name).is_file() for name in names)


def report_progress(trainer: Any, progress: Progress, label: str, folder: Path, stopwatch: Stopwatch) -> None:
    """Make a trainer report progress and log its figures instead of printing them."""
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(ProgressCallback(progress, label, folder, stopwatch))


class ProgressCallback(TrainerCallback):
    """Reports and logs one training.

    Args:
        progress: receives the steps, and a line at each evaluation.
        label: what is trained.
        folder: of the stage; the log goes there.
        stopwatch: of the stage; stopped at each checkpoint.
    """

    def __init__(self, progress: Progress, label: str, folder: Path, stopwatch: Stopwatch) -> None:
        self._progress, self._label, self._path = progress, label, folder / LOG
        self._stopwatch = stopwatch
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
            self._stopwatch.write()


class SpreadCallback(TrainerCallback):
    """Warns while nearly no group of completions has rewards that differ.

    Args:
        progress: receives the warning.
        label: what is trained.
        folder: of the stage.
    """

    def __init__(self, progress: Progress, label: str, folder: Path) -> None:
        self._progress, self._label, self._folder = progress, label, folder
        self._warned = False

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any) -> None:
        """Warn past five steps, and again if spread comes and goes."""
        rows = _training_rows(state.log_history)[-_WINDOW:]
        if state.global_step <= _WINDOW or len(rows) < _WINDOW:
            return
        flat = _mean(rows, FLAT_GROUPS)
        if flat >= _FLAT and not self._warned:
            self._progress.note(
                f"warning: {self._label}, step {state.global_step}: {_what_is_flat(rows)} in the last {_WINDOW} steps; "
                f"see `prlm-bench prlm completions {self._folder}`"
            )
        self._warned = flat >= _FLAT


def finding(log: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """For the manifest: that nearly nothing could be learned, as `finding`, and `learned`, false where nothing could.

    Args:
        log: of the stage.
    """
    rows = _training_rows(log)
    if not rows or _mean(rows, FLAT_GROUPS) < _FLAT:
        return {}
    learned = any(row[FLAT_GROUPS] < 1 for row in rows)
    consequence = "little could be learned" if learned else "nothing could be learned"
    return {"finding": f"{consequence}: {_what_is_flat(rows)}", "learned": learned}


def _training_rows(log: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [row for row in log if "loss" in row and FLAT_GROUPS in row]


def _mean(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    return sum(row.get(name) or 0.0 for row in rows) / len(rows)


def _what_is_flat(rows: Sequence[Mapping[str, Any]]) -> str:
    return (
        f"{_mean(rows, FLAT_GROUPS):.0%} of the groups had the same reward for each completion, and "
        f"{_mean(rows, _CUT):.0%} of the completions were cut at the limit"
    )


def _line(row: Mapping[str, Any]) -> bytes:
    """A row of the log; nothing for the summary, which counts only the steps since the training resumed."""
    if "train_loss" in row:
        return b""
    kept = {name: value for name, value in row.items() if not any(part in name for part in _TIMES)}
    return orjson.dumps(kept, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
