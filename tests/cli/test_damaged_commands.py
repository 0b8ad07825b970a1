"""Every command, on files that are damaged: it works or says in a line what is wrong, and never shows a traceback.

The commands and their parameters are read from the command line itself, so that new ones are tested too.
"""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from prlm_bench_plugins.prlm._recipe import recipe_text
from support.corpus import make_corpus

from prlm_bench.cli import _app, application

#: What is given for a parameter by its name. `{root}` is the folder of the damaged files, `{out}` an empty one.
VALUES: dict[str, list[str]] = {
    "task": ["mini_lamp_4", "{root}/task.yaml"],
    "config": ["{root}/run.yaml"],
    "data": ["{root}/data"],
    "results": ["{root}"],
    "samples": ["{root}"],
    "runs": ["{root}"],
    "folders": ["{root}/row"],
    "folder": ["{root}/policy"],
    "policy": ["{root}/policy"],
    "golds": ["{root}/data/dev/dev_outputs.json"],
    "predictions": ["{root}/predictions.json", "{root}/predictions.jsonl", "{root}/predictions.csv"],
    "archive": ["{root}/rows.zip"],
    "by": ["Ann"],
    "metric": ["rouge2@lamp"],
    "questions": ["{root}/data/dev/dev_questions.json"],
    "pairs": ["{root}/pairs.csv", "{root}/pairs.json"],
    "judgements": ["{root}/judged.csv", "{root}/judged.json", "{root}/studio.json"],
    "key": ["{root}/key.json"],
    "run": ["{root}/x.run", "{root}/x.run.gz"],
    "recipe": ["{root}/recipe.yaml"],
    "output": ["{out}/made"],
    "output_dir": ["{out}/made"],
    "method": ["good"],
    "methods": ["good"],
    "retriever": ["recency"],
    "generator": ["echo"],
    "trainer": ["prlm.sft"],
    "name": ["made"],
    "base_url": ["http://127.0.0.1:9/"],
    "limit": ["2"],
    "synth_users": ["2"],
    "base": ["/nowhere"],
    "n": ["2"],
}
#: Parameters that are given although they may be left out: they bound the work, or a command would read nothing.
ALWAYS = {"config", "data", "results", "runs", "run", "key", "recipe", "base", "base_url", "limit", "synth_users", "n"}
#: Parameters of some commands that are given something else than elsewhere, or nothing.
OTHERS: dict[tuple[str, str], list[str] | None] = {
    ("data synth", "questions"): None,
    ("human export", "key"): ["{out}/key.json"],
    ("human export", "methods"): ["good fair"],
    ("human export", "results"): ["{root}/results"],
    ("compare", "methods"): ["good fair"],
    ("compare", "results"): ["{root}/results"],
    ("run", "data"): None,
    ("train", "task"): ["mini_lamp_4"],
    ("new-plugin", "output"): ["{out}/made"],
    ("lm-eval export", "generator"): ["echo"],
    ("study traces", "checkpoint"): ["{root}"],
    ("study retrievers", "task"): ["{root}/task.yaml"],
}


def commands() -> dict[str, Any]:
    """Every command that does something, by its words."""
    application()
    _app._add_plugin_commands(["no-such-command"])  # adds those of all plugins
    found: dict[str, Any] = {}

    def walk(command: Any, words: tuple[str, ...]) -> None:
        inner = getattr(command, "commands", None)
        if inner is None:
            found[" ".join(words)] = command
        for name, each in (inner or {}).items():
            walk(each, (*words, name))

    walk(typer.main.get_command(_app.app), ())
    return found


COMMANDS = commands()


def arguments(name: str, root: Path, out: Path) -> Iterator[list[str]]:
    """Command lines of a command: one for each value of each parameter, the others having their first."""
    given: dict[str, list[str]] = {}
    options: dict[str, str] = {}
    for parameter in COMMANDS[name].params:
        wanted = parameter.required or parameter.name in ALWAYS or (name, parameter.name) in OTHERS
        values = OTHERS.get((name, parameter.name), VALUES.get(parameter.name))
        is_path = "Path" in str(parameter.bare_type())
        if values is None and parameter.required:
            values = [f"{{root}}/{place}" for place in ("x.run", "data", "row")] if is_path else ["1"]
        if values is not None and (wanted or is_path):
            options[parameter.name] = "" if parameter.param_type_name == "argument" else parameter.opts[0]
            given[parameter.name] = [value.format(root=root, out=out) for value in values]
    for varied in given or {"": [""]}:
        for value in given.get(varied, [""]):
            chosen = {each: values[0] for each, values in given.items()} | ({varied: value} if varied else {})
            words = [word for each, text in chosen.items() for word in (options[each], *text.split()) if word]
            if chosen == {each: values[0] for each, values in given.items()} and varied != next(iter(given), ""):
                continue
            yield [*name.split(), *words]


def damage(whole: bytes, rng: random.Random) -> bytes:
    """A damaged file."""
    kind = rng.randrange(8)
    place = rng.randrange(len(whole) + 1)
    if kind == 0:
        return whole[:place]
    if kind == 1:
        return rng.choice(
            [b"", b"null", b"[]", b"{}", b'"x"', b"[" * 100_000, b"9" * 5000, b"\xff\xfe\0", b"\x1f\x8b\0"]
        )
    if kind == 2:
        return whole  # the other files may be damaged
    if kind in (3, 4):  # another value in the place of a text or a number
        marks = [b'"', b"0", b"1", b"e"]
        values = [
            b"null",
            b"[]",
            b"{}",
            b"-1",
            b"1e999",
            b"NaN",
            b'"\\ud800"',
            b"true",
            b"[[[[]]]]",
            b"!!int ''",
            b"*a",
        ]
        mark = rng.choice(marks)
        at = whole.find(mark, place)
        return whole[:at] + rng.choice(values) + whole[at + 1 :] if at >= 0 else whole
    data = bytearray(whole)
    for _ in range(rng.randint(1, 4)):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_corpus(tmp_path_factory.mktemp("corpus"))
    # Where the recipe is not damaged, training ends at once.
    (root / "recipe.yaml").write_text(re.sub("(?m)^base:.*$", "base: /nowhere", recipe_text("tiny")))
    return root


def damaged_copy(corpus: Path, root: Path, seed: str) -> None:
    rng = random.Random(seed)
    for path in sorted(corpus.rglob("*")):
        if path.is_file():
            copy = root / path.relative_to(corpus)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(damage(path.read_bytes(), rng))


def check(name: str, corpus: Path, folder: Path, seeds: range, capsys: Any) -> None:
    for seed in seeds:
        root, out = folder / f"damaged{seed}", folder / "out"
        damaged_copy(corpus, root, f"{name} {seed}")
        for words in arguments(name, root, out):
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            capsys.readouterr()
            try:
                status = _app._run(words)
            except SystemExit as error:
                pytest.fail(f"{words} raised {error!r}")
            said = capsys.readouterr().err
            assert "Traceback" not in said, f"{words}\n{said}"
            assert status in (0, 1, 2), f"{words}: {status}\n{said}"
            assert status != 1 or "bug in prlm-bench" not in said, f"{words}\n{said}"
            assert status != 2 or said.rstrip("\n").splitlines()[-1].startswith("prlm-bench: "), f"{words}\n{said}"
        shutil.rmtree(root)


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_app.app, "registered_groups", [*_app.app.registered_groups])
    return tmp_path


@pytest.mark.slow
def test_most_commands_work_on_whole_files(corpus: Path, alone: Path, capsys: Any) -> None:
    failed, tried = {}, 0
    for name in COMMANDS:
        for words in arguments(name, corpus, alone / "out"):
            shutil.rmtree(alone / "out", ignore_errors=True)
            (alone / "out").mkdir()
            tried += 1
            status = _app._run(words)
            said = capsys.readouterr().err
            assert "Traceback" not in said, f"{words}\n{said}"
            if status:
                failed[" ".join(words).replace(str(corpus), "").replace(str(alone), "")] = said.splitlines()[-1]
    assert len(failed) < tried / 3, (tried, failed)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_survives_damaged_files(name: str, corpus: Path, alone: Path, capsys: Any) -> None:
    check(name, corpus, alone, range(1), capsys)


@pytest.mark.nightly
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_survives_many_damaged_files(name: str, corpus: Path, alone: Path, capsys: Any) -> None:
    first = int(os.environ.get("SEED", random.randrange(10**9)))
    check(name, corpus, alone, range(first, first + int(os.environ.get("TIMES", "40"))), capsys)
