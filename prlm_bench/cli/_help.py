"""What `--help` adds to every command: examples, what values are, and their completion by the shell's tab key."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from textwrap import wrap
from typing import Any

from ..errors import PrlmBenchError
from .options import host_for

#: Contexts of all commands: `-h`, and help as wide as the terminal.
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 200}
#: Examples by command; tests parse each of them.
EXAMPLES = {
    "": (
        "prlm-bench run",
        "prlm-bench list retrievers",
        "prlm-bench run --task mini_lamp_7 --retriever bm25 --generator tiny",
        "prlm-bench leaderboard",
    ),
    "run": (
        "prlm-bench run --task mini_lamp_7 --retriever bm25 --retriever recency -k 4 --generator tiny",
        "prlm-bench run --task lamp_7 --data LaMP_7 --limit 100 --retriever bm25 --reasoner direct:protocol=chat "
        "--generator transformers:model=HuggingFaceTB/SmolLM2-135M-Instruct",
        "prlm-bench run grid.yaml --results out --dry-run",
    ),
    "leaderboard": (
        "prlm-bench leaderboard --task mini_lamp_7",
        "prlm-bench leaderboard --columns 'parse failures,seconds' --metrics rougeL",
        "prlm-bench leaderboard --format csv --output table.csv",
    ),
    "compare": (
        "prlm-bench compare bm25+tiny none+tiny",
        "prlm-bench compare --baseline none+tiny --metric rougeL@lamp",
    ),
    "site": ("prlm-bench site --output site",),
    "train": ("prlm-bench train tiny --output model",),
    "score": (
        "prlm-bench score --task lamp_7 --golds dev_outputs.json --predictions answers.json "
        "--questions dev_questions.json",
    ),
    "rank": ("prlm-bench rank --task mini_lamp_7 --retriever bm25 --output ranks.json",),
    "prompts": ("prlm-bench prompts --task mini_lamp_7 --retriever bm25 -k 4 --limit 3",),
    "list": ("prlm-bench list generators", "prlm-bench list metrics --json"),
    "plugins": ("prlm-bench plugins --verbose", "prlm-bench plugins --plugin mine.py"),
    "doctor": ("prlm-bench doctor",),
    "new-plugin": ("prlm-bench new-plugin mine --kind retriever",),
    "data": ("prlm-bench data validate --task lamp_7 --data LaMP_7", "prlm-bench data download --task lamp_7 -o lamp"),
    "data info": ("prlm-bench data info --task lamp_7 --data LaMP_7",),
    "data validate": ("prlm-bench data validate --task lamp_7 --data LaMP_7 --split train",),
    "data download": ("prlm-bench data download --task lamp_7 --split dev --output lamp",),
    "data synth": ("prlm-bench data synth --output mini",),
    "cache": ("prlm-bench cache info", "prlm-bench cache prune --older-than 30"),
    "results": ("prlm-bench results list", "prlm-bench results findings", "prlm-bench results verify prlm-results"),
    "submit": ("prlm-bench submit lamp --output submission.zip --method bm25+tiny",),
    "human": ("prlm-bench human export bm25+tiny none+tiny --output pairs.html",),
    "retrieval": ("prlm-bench retrieval eval --task mini_lamp_7 --retriever bm25 --retriever minilm",),
    "retrieval eval": ("prlm-bench retrieval eval --task mini_lamp_7 --retriever bm25 --run other-tool.trec",),
}
#: What the value of an option is, by the option's name; `<str>` otherwise.
VALUES = {
    "--task": "TASK",
    "--metric": "METRIC",
    **dict.fromkeys(("--retriever", "--reasoner", "--generator", "--reward", "--judge"), "SPEC"),
    **dict.fromkeys(("--method", "--engine", "--log"), "NAME"),
    **dict.fromkeys(("-k", "--seed"), "N"),
    "--plugin": "FILE",
    "--protocol": "NAME",
    "--split": "NAME",
}
_KINDS = ("retriever", "reasoner", "generator", "reward", "judge", "metric", "engine")
#: Set by the shell when it asks for completions.
COMPLETING = "_PRLM_BENCH_COMPLETE"


def with_help(command: Any, words: str = "") -> Any:
    """The command of typer, and those below it, with examples, names of values and completions.

    Args:
        command: as `typer.main.get_command` makes it.
        words: the words of the command, without `prlm-bench`.
    """
    command.rich_markup_mode = None
    if words in EXAMPLES:
        lines = "\n".join(map(_on_lines, EXAMPLES[words]))
        command.epilog = f"\b\nExamples:\n{lines}" + (f"\n\n{command.epilog}" if command.epilog else "")
    for parameter in command.params:
        for name in parameter.opts:
            if name in VALUES and parameter.metavar is None and not getattr(parameter, "is_flag", False):
                parameter.metavar = VALUES[name]
            if (complete := _completion(name)) is not None:
                parameter._custom_shell_complete = complete
    for name, inner in getattr(command, "commands", {}).items():
        with_help(inner, f"{words} {name}".strip())
    return command


def _on_lines(example: str) -> str:
    """A command line, continued by `\\` where a narrow terminal would break it."""
    lines = wrap(example, 72, break_long_words=False, break_on_hyphens=False)
    return " \\\n".join("  " + "    " * (number > 0) + line for number, line in enumerate(lines))


def asked_words() -> list[str] | None:
    """The words before the cursor when the shell asks for completions; None otherwise."""
    if COMPLETING not in os.environ:
        return None
    return (os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")).split()[1:]


def _completion(option: str) -> Callable[[Any, Any, str], list[Any]] | None:
    kind = option.removeprefix("--")
    if kind not in (*_KINDS, "task", "method"):
        return None

    def complete(context: Any, _: Any, typed: str) -> list[Any]:
        from typer._click.shell_completion import CompletionItem

        found = _names(kind, context.params.get("plugin"))
        return [
            CompletionItem(name, help=about) for name, about in found if name.casefold().startswith(typed.casefold())
        ]

    return complete


def _names(kind: str, plugins: list[str] | None) -> Iterator[tuple[str, str]]:
    """The names of a kind of thing, each with what it is."""
    host = host_for(plugins, quiet=True)
    if kind == "task":
        yield from ((name, host.tasks.get(name).title) for name in host.tasks.names)
    elif kind == "method":
        yield from ((method.name, "") for method in host.methods)
    else:
        for component in host.registry.all(kind):
            try:
                yield component.name, component.summary
            except PrlmBenchError:  # its module cannot be imported
                yield component.name, ""
