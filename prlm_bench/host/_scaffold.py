"""Creates a new plugin project from the shipped templates, one for each kind."""

from __future__ import annotations

import re
from pathlib import Path

from .._util.files import write_whole
from ..errors import PrlmBenchError, UnknownNameError

_TEMPLATE = Path(__file__).resolve().parent / "_template"
#: What all projects have: a README and a pyproject.toml.
_COMMON = "common"
#: For each kind: what the plugin is, and what to try, with the command.
_WORDS = {
    "retriever": (
        "the user's longest items first",
        "Compare it with BM25 and the control rows, without data or models:",
        "prlm-bench run --task mini_lamp_4 --retriever {name} --retriever bm25 -k 1 --generator copy",
    ),
    "reasoner": (
        "it drafts an answer, then asks for a better one",
        "Run it with the tiny model that ships (needs `pip install 'prlm-bench[lm]'`):",
        "prlm-bench run --task mini_lamp_4 --retriever bm25 -k 2 --reasoner {name} --generator tiny",
    ),
    "generator": (
        "the first words of the question",
        "Compare it with the control rows, without data:",
        "prlm-bench run --task mini_lamp_4 --retriever bm25 -k 1 --generator {name}",
    ),
    "reward": (
        "short answers get more",
        "Report it as a column:",
        "prlm-bench run --task mini_lamp_4 --retriever bm25 -k 1 --generator copy --reward {name}",
    ),
    "metric": (
        "the share of answers that are about as long as the gold",
        "Run the task that it scores:",
        "prlm-bench run --task {task}_headlines --retriever bm25 -k 1 --generator copy",
    ),
    "judge": (
        "the style of answers, judged by the user's own texts",
        "List it:",
        "prlm-bench list judges",
    ),
    "task": (
        "headlines, scored by ROUGE",
        "Run it, without data or models:",
        "prlm-bench run --task {task} --retriever bm25 -k 1 --generator copy",
    ),
    "trainer": (
        "the most frequent words of the train split",
        "Train it, and run what it made:",
        "prlm-bench train {name} --task mini_lamp_4 --output words",
    ),
    "importer": (
        "questions that stand line by line in a file",
        "List it:",
        "prlm-bench list importers",
    ),
}
#: The kinds of plugin that there is a template for.
PLUGIN_KINDS = tuple(_WORDS)


def write_plugin(name: str, parent: Path, kind: str = "retriever") -> Path:
    """Create the project `prlm-bench-NAME`, which can be installed and passes its tests.

    Args:
        name: up to 30 lower-case letters, digits and dashes; also the name of what it registers.
        parent: the folder to create it in.
        kind: what it registers: retriever, reasoner, generator, reward, metric, judge, task, trainer or importer.

    Returns:
        The project's folder.

    Raises:
        PrlmBenchError: an invalid name, an unknown kind, or the folder exists.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or len(name) > 30:
        hint = "use up to 30 lower-case letters, digits and single dashes, such as longest-first"
        raise PrlmBenchError(f"invalid plugin name {name!r}", hint)
    if kind not in _WORDS:
        raise UnknownNameError("kind of plugin", kind, _WORDS)
    folder = parent / f"prlm-bench-{name}"
    if folder.exists():
        raise PrlmBenchError(f"{folder} exists already", "choose another name or --output")
    words = _words(name, kind)
    for source in (_TEMPLATE / _COMMON, _TEMPLATE / kind):
        for template in sorted(source.rglob("*.txt")):
            relative = _fill(str(template.relative_to(source)).removesuffix(".txt"), words)
            write_whole(folder / relative, _fill(template.read_text(encoding="utf-8"), words).encode())
    write_whole(folder / words["MODULE"] / "py.typed", b"")
    return folder


def _words(name: str, kind: str) -> dict[str, str]:
    """What stands in the places of a template."""
    task = name.replace("-", "_")
    what, intent, command = _WORDS[kind]
    return {
        "NAME": name,
        "MODULE": f"prlm_bench_{task}",
        # With a suffix, so that the class is never called None or Example.
        "CLASS": "".join(word.capitalize() for word in name.split("-")) + kind.capitalize(),
        "TASK": task,
        "KIND": kind,
        "REGISTERED": {"metric": f"{name}@own", "task": task}.get(kind, name),
        "WHAT": what,
        "TRY": f"{intent}\n\n```\n{command.format(name=name, task=task)}\n```",
    }


def _fill(text: str, words: dict[str, str]) -> str:
    return re.sub(rf"__({'|'.join(words)})__", lambda match: words[match[1]], text)
