"""A mistake costs one line that says what was wrong and what to do, exit status 2, and never a traceback."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]

ITEM = {"id": "i", "title": "a title", "text": "a text"}
QUESTION = {"id": "q", "input": "Generate a headline for the following article: words", "profile": [ITEM]}
GOLDS = {"task": "LaMP_4", "golds": [{"id": "q", "output": "a"}, {"id": "r", "output": "b"}]}


def golds(*pairs: tuple[str, Any]) -> dict[str, Any]:
    return {"task": "LaMP_4", "golds": [{"id": name, "output": output} for name, output in pairs]}


FILES: dict[str, Any] = {
    "bare/dev/dev_questions.json": [QUESTION],
    "bad/dev/dev_questions.json": [QUESTION, {**QUESTION, "id": "other", "profile": "none"}],
    "torn/dev/dev_questions.json": '[{"id": "q", "inp',
    "empty/dev/dev_questions.json": [],
    "golds.json": GOLDS,
    "missing.json": golds(("q", "a")),
    "extra.json": golds(("q", "a"), ("r", "b"), ("s", "c")),
    "twice.json": golds(("q", "a"), ("r", "b"), ("q", "c")),
    "nulls.json": golds(("q", "a"), ("r", None)),
    "ids.json": golds(("q", "a"), (4, "b")),
    "tweets.json": {**GOLDS, "task": "LaMP_7"},
    "shape.json": {"predictions": {"q": "a"}},
    "text.json": "q: a",
    "none.json": golds(),
    "others.json": [{**QUESTION, "id": "x"}],
    "field.yaml": "tasks: [mini_lamp_4]\nzzz: bm25\nk: [four]\n",
    "broken.yaml": "tasks: [mini_lamp_4\n",
    "task.yaml": "extends: lamp_4\nname: mine\noutput: sound\n",
    "file": "not a folder",
}

RUN = "run --task mini_lamp_4 --synth-users 4 --retriever bm25 --generator copy"
BARE = "--task lamp_4 --data bare"
SCORE = "score --task lamp_4 --golds golds.json --predictions"
MISTAKES = {
    # commands and options
    "rnu": "No such command 'rnu'. Did you mean 'run'?",
    "run --taks mini_lamp_4": "No such option: --taks (Possible options: --any-task, --data, --task)",
    "rank --task mini_lamp_4": "Missing option '--retriever'",
    "rank --retriever bm25": "Missing option '--task'",
    f"{RUN} --limit 0": "Invalid value for '--limit': ",
    f"{RUN} --jobs 0": "Invalid value for '--jobs' / '-j': ",
    f"{RUN} --jobs two": "Invalid value for '--jobs' / '-j': ",
    f"{RUN} --seed x": "Invalid value for '--seed': ",
    f"{RUN} -k -1": "run: k: k must be 0 or more",
    f"{RUN} --view other": "run: view: Input should be 'lamp' or 'prlm'",
    # names, with close matches
    f"{RUN} --task lamp4": "unknown task 'lamp4' (did you mean lamp_4 or ",
    f"{RUN} --retriever bm52": "unknown retriever 'bm52' (did you mean bm25?)",
    f"{RUN} --generator cppy": "unknown generator 'cppy' (did you mean copy?)",
    f"{RUN} --reasoner dircet": "unknown reasoner 'dircet' (did you mean direct?)",
    f"{RUN} --reward overlp": "unknown reward 'overlp' (did you mean overlap?)",
    "run --task mini_lamp_4 --method ecko": "unknown method 'ecko' (did you mean echo?)",
    "list retreivers": "unknown list 'retreivers' (did you mean retrievers",
    "leaderboard --format jsn": "unknown format 'jsn' (did you mean json?)",
    "prompts --task mini_lamp_4 --protocol chatt": "unknown prompt protocol 'chatt' (did you mean chat?)",
    f"{RUN} --retriever bm25,recency": "unknown retriever 'bm25,recency' (name one at a time: repeat the option, or",
    f"{RUN} --retriever bm52 --generator cppy": "unknown retriever 'bm52' (did you mean bm25?); unknown gen",
    "run --task mini_lamp_4,mini_lamp_5": "unknown task 'mini_lamp_4,mini_lamp_5' (name one at a time: ",
    # what other tools call things
    f"{RUN} --output_path x": "No such option: --output_path (results go to --results FOLDER, ",
    f"{RUN} --batch_size 4": "No such option: --batch_size (an option of the generator",
    f"{RUN} --num_fewshot 2": "No such option: --num_fewshot (an option of the reasoner: --reasoner direct:shots=N)",
    "run --config grid.yaml": "No such option: --config (the run file needs no option: prlm-bench run FILE)",
    "eval --task mini_lamp_4": "No such command 'eval' (`prlm-bench run` runs methods and scores them",
    f"{RUN} -k 1,4": "Invalid value for '-k': 1,4 (give the option once for each value)",
    # specs
    f"{RUN} --retriever bm25:k1=much": "retriever 'bm25': k1='much': Input should be a valid number",
    f"{RUN} --retriever bm25:k3=1": "retriever 'bm25' has no option 'k3' (",
    f"{RUN} --retriever bm25:k1=1,k1=2": "'bm25:k1=1,k1=2': 'k1' is given twice",
    f"{RUN} --retriever bm25:": "'bm25:' is not a component spec (write NAME or NAME:key=value,key=value)",
    f"{RUN} --retriever bm25:ties=both": "retriever 'bm25': ties='both': Input should be 'profile' or 'numpy'",
    f"{RUN} --reasoner direct:max_length=0": "reasoner direct:max_length=0: max_length must be at least 1",
    # data
    "rank --task lamp_4 --retriever bm25 --data nowhere": "no data for task lamp_4: there is no folder nowhere (give",
    "rank --task lamp_4 --retriever bm25": "no data for task lamp_4: PRLM_BENCH_DATA is not set",
    f"rank {BARE} --retriever bm25 --split test": "bare has no split 'test': there is no bare/test/test_questions.json",
    "rank --task lamp_4 --retriever bm25 --data bad": "bad/dev/dev_questions.json: 1 of 2 questions is malformed",
    "rank --task lamp_4 --retriever bm25 --data torn": "torn/dev/dev_questions.json",
    f"rank {BARE} --retriever bm25 --view prml": "task lamp_4 has no 'prml' texts (known: lamp, prlm)",
    f"rank {BARE} --retriever bm25 --dates": "bare/dev/dev_questions.json: dates are asked for, but not every",
    f"rank {BARE} --retriever recency": "retriever recency cannot run on lamp_4 dev: it needs dates on every",
    f"run {BARE} --retriever recency --generator copy": "retriever recency cannot run on lamp_4: it needs dates on ev",
    f"run {BARE} --retriever oracle --generator copy": "retriever oracle cannot run on lamp_4: it needs recorded rel",
    f"run {BARE} --retriever bm25 --generator vote": "generator vote cannot run on lamp_4: it needs a task whose",
    "run --task lamp_4 --data empty --method echo": "lamp_4 dev has no questions",
    "rank --task task.yaml --retriever bm25": "task.yaml:3: output: Input should be 'text', 'label' or 'number'",
    "rank --task nowhere.yaml --retriever bm25": "nowhere.yaml: cannot be read",
    "data info --task mini_lamp_44": "unknown task 'mini_lamp_44'",
    "data synth -o out --noise 2": "Invalid value for '--noise': ",
    "data synth -o out --strength 0.4": "mini-LaMP strength is 0.4 (above 0.5, at most 1)",
    "data synth -o file": "file/mini_LaMP_1/mini_lamp.json: cannot be written: Not a directory",
    "data download --task mini_lamp_4 -o out": "task mini_lamp_4 has no download: its data are made here",
    # studies and plugins
    "run nowhere.yaml": "nowhere.yaml: cannot be read: No such file or directory",
    "run field.yaml": "field.yaml: k.0: Input should be a valid integer, unable to parse string as an integer; zzz: ",
    "run broken.yaml": "broken.yaml:2: cannot be read: while parsing a flow sequence",
    f"{RUN} --plugin nowhere.py": "no such plugin file: nowhere.py",
    "new-plugin 'two words'": "invalid plugin name 'two words'",
    # predictions and results
    f"{SCORE} missing.json": "missing.json: 1 of 2 golds have no prediction, the first is 'r'",
    f"{SCORE} extra.json": "extra.json: 1 of 3 predictions have no gold, the first is 's'",
    f"{SCORE} twice.json": "twice.json: id 'q' golds[2]: two outputs that differ",
    f"{SCORE} nulls.json": "nulls.json: id 'r' golds[1]: its output is null, not a string",
    f"{SCORE} ids.json": "ids.json: golds[1]: its id is a number, not a string",
    f"{SCORE} tweets.json": "tweets.json: task: is 'LaMP_7'; 'LaMP_4' was expected (--any-task insists, and the",
    f"{SCORE} shape.json": 'shape.json: not of the form {"task": ..., "golds": [...]}: it is an object without a list',
    f"{SCORE} text.json": "text.json: not valid JSON at byte 0",
    f"{SCORE} nowhere.json": "nowhere.json: cannot be read: No such file or directory",
    f"{SCORE} golds.json --metric rogue1@lamp": "unknown metric 'rogue1@lamp' (did you mean rouge1@lamp",
    f"{SCORE} golds.json --questions others.json": "others.json: 2 of 2 questions are missing, the first is 'q'",
    f"{SCORE} golds.json --questions golds.json": "golds.json: questions[0] (id 'q') input: is missing",
    "score --task lamp_4 --golds none.json --predictions none.json": "there are no answers to score",
    "leaderboard --results nowhere": "no results folder nowhere (create one with `prlm-bench run`, or use --results)",
    "results list --results nowhere": "no results folder nowhere",
}


@pytest.fixture
def material(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_one_line(here: Command, material: Path, words: str) -> None:
    before = sorted(material.rglob("*"))
    line = here(*shlex.split(words)).mistake
    assert line.startswith(MISTAKES[words])
    assert len(line) > 20
    assert sorted(material.rglob("*")) == before, "nothing was written"
