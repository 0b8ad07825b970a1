"""What other tools call things: hints for options and commands that prlm-bench has under another name."""

from __future__ import annotations

import re
from collections.abc import Sequence

_GENERATOR = "a model is a generator with its options: --generator NAME:model=...,option=value"
_RESUMED = "samples are always stored, and interrupted runs resume when you repeat the command"
#: By the option in another tool, without its dashes and with `_` for `-`.
OPTIONS = {
    "output_path": "results go to --results FOLDER, a table to --output FILE",
    "output_dir": "results go to --results FOLDER, a table to --output FILE",
    "output": "results go to --results FOLDER",
    "log_dir": "results go to --results FOLDER",
    "batch_size": "an option of the generator, such as batch_tokens=...: `prlm-bench list generators` shows them",
    "device": "an option of the generator: --generator NAME:device=cuda",
    "max_new_tokens": "an option of the generator: --generator NAME:max_new_tokens=64",
    "temperature": "an option of the generator: --generator NAME:temperature=0.7",
    "gen_kwargs": "options of the generator: --generator NAME:max_new_tokens=64,temperature=0.7",
    "num_fewshot": "an option of the reasoner: --reasoner direct:shots=N",
    "apply_chat_template": "an option of the reasoner: --reasoner direct:protocol=chat",
    "config": "the run file needs no option: prlm-bench run FILE",
    "model": _GENERATOR,
    "model_args": _GENERATOR,
    "model_name": _GENERATOR,
    "tasks": "--task, repeated for several",
    "seeds": "--seed, repeated for several",
    "num_samples": "--limit N",
    "max_samples": "--limit N",
    "log_samples": _RESUMED,
    "resume": _RESUMED,
    "include_path": "a task file is a task: --task FILE.yaml; other components: --plugin FILE.py",
    "tensor_parallel_size": "an option of the server or the generator",
    "silent": "--quiet",
}
#: By the command in another tool.
COMMANDS = {
    "eval": "`prlm-bench run` runs methods and scores them, `prlm-bench score` scores a file of answers",
    "evaluate": "`prlm-bench run` runs methods and scores them, `prlm-bench score` scores a file of answers",
    "ls": "`prlm-bench list`",
    "tasks": "`prlm-bench list tasks`",
    "models": "`prlm-bench list generators`",
    "metrics": "`prlm-bench list metrics`",
    "view": "`prlm-bench site` makes pages of the results",
    "serve": "`prlm-bench site` makes pages of the results",
    "download": "`prlm-bench data download`",
    "validate": "`prlm-bench data validate`",
    "init": "`prlm-bench new-plugin`",
    "train-model": "`prlm-bench train`",
    "help": "`prlm-bench --help`, `prlm-bench COMMAND --help`",
    "version": "`prlm-bench --version`",
    "show": "`prlm-bench leaderboard`",
    "diff": "`prlm-bench compare`",
}


def with_habit(message: str, words: Sequence[str]) -> str:
    """An error of the command line, with a hint where another tool has what it names.

    Args:
        message: the error.
        words: the command line.
    """
    option = re.match(r"No such option: -{1,2}([\w-]+)", message)
    if option is not None and (hint := OPTIONS.get(option[1].replace("-", "_").casefold())):
        return f"No such option: {message.split()[3]} ({hint})"
    command = re.match(r"No such command '([\w-]+)'", message)
    if command is not None and (hint := COMMANDS.get(command[1].casefold())):
        return f"No such command '{command[1]}' ({hint})"
    several = next((word for word in words if re.fullmatch(r"(--?\w+=)?[\d.]+(,[\d.]+)+", word)), None)
    if several is not None and re.match(r"Invalid value for .*: Input should be a valid (integer|number)", message):
        return f"{message.partition(': ')[0]}: {several} (give the option once for each value)"
    return message
