"""One small whole file of each kind that is read, in a folder."""

from __future__ import annotations

import gzip
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import orjson
import yaml

from prlm_bench._util.checksums import seal
from prlm_bench.data.synth import SynthConfig, write_mini_lamp
from prlm_bench.host import PluginHost
from prlm_bench.human import write_export, write_key
from prlm_bench.results import Stored, load_folders, rescore
from support.human_data import export, three

TASK = {
    "extends": "mini_lamp_4",
    "name": "own",
    "title": "Own headlines",
    "folder": "Own",
    "split_by": "user",
    "metrics": ["rouge1@lamp"],
    "query": {"after": "article: "},
    "prompts": {"chat": {"ask": "Write a headline."}},
}
RUN = {
    "tasks": ["mini_lamp_4"],
    "synth_users": 2,
    "limit": 2,
    "retrievers": ["bm25", {"name": "random"}],
    "k": [1],
    "reasoners": ["direct"],
    "generators": ["echo"],
    "seeds": [0],
    "controls": False,
}
CHECKPOINT = {
    "config.json": {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "max_position_embeddings": 64,
        "dtype": "float32",
        "text_config": {"dtype": "float32"},
    },
    "generation_config.json": {"eos_token_id": 1, "temperature": 0.5, "stop_strings": ["x"]},
    "tokenizer_config.json": {"model_max_length": 64, "chat_template": [{"name": "default", "template": "x"}]},
    "model.safetensors.index.json": {"weight_map": {"a": "model.safetensors"}},
    "modules.json": [{"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"}],
    "1_Pooling/config.json": {"pooling_mode_mean_tokens": True},
}


def make_corpus(root: Path) -> Path:
    """Write the files below `root`, which is given back."""
    (root / "task.yaml").write_text(yaml.safe_dump(TASK))
    (root / "run.yaml").write_text(yaml.safe_dump(RUN))
    (folder,) = write_mini_lamp(root, [4], SynthConfig.of(2))
    folder.rename(root / "data")
    golds = json.loads((root / "data/dev/dev_outputs.json").read_text())["golds"]
    write_json(root / "predictions.json", {"task": "LaMP_4", "golds": golds})
    rows = three(root / "results", n=8, users=4)
    shutil.copytree(rows[0].folder, root / "row")
    write_json(root / "row" / "timing.json", {"answers": 8, "seconds": 1.5, "tokens": 9})
    _write_added(root, rows[1])
    table = "".join(f"{gold['id']},x\n" for gold in golds)
    (root / "predictions.csv").write_text(f"id,answer\n{table}")
    lines = [{"task": "mini_lamp_4", "row": "0", "id": gold["id"], "user": "a", "answer": "x"} for gold in golds]
    _write_lines(root / "predictions.jsonl", lines)
    _write_journal(root / "unfinished", rows[0])
    _write_human(root, rows)
    asked = json.loads((root / "data/dev/dev_questions.json").read_text())
    lines = [
        f"{question['id']} Q0 {item['id']} {place} {1 / (1 + place)} tag"
        for question in asked
        for place, item in enumerate(question["profile"])
    ]
    (root / "x.run").write_text("\n".join(lines) + "\n")
    (root / "x.run.gz").write_bytes(gzip.compress((root / "x.run").read_bytes(), mtime=0))
    for name, content in CHECKPOINT.items():
        write_json(root / "checkpoint" / name, content)
    _write_training(root / "policy")
    write_json(root / "checksums.json", {"dev/dev_questions.json": {"url": "http://x/", "sha256": "0", "bytes": 1}})
    return root


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1))


def _write_added(root: Path, row: Stored) -> None:
    """A row with a metric that was added, and whose it is; and the same packed."""
    folder = root / f"added-{row.manifest.fingerprint[:8]}"
    shutil.copytree(row.folder, folder)
    (stored,) = load_folders([folder])
    rescore(stored, PluginHost(), ["rouge2@lamp"])
    write_json(folder / "contribution.json", {"by": "Ann", "url": "http://x/", "note": "", "checked": ["figures"]})
    folder.rename(root / "added")
    with zipfile.ZipFile(root / "rows.zip", "w") as archive:
        for path in sorted((root / "added").iterdir()):
            archive.write(path, f"row/{path.name}")


def _write_journal(folder: Path, row: Stored) -> None:
    """A folder with a journal of lines with and without a checksum."""
    folder.mkdir()
    (folder / "manifest.json").write_bytes((row.folder / "manifest.json").read_bytes())
    lines = []
    for place, line in enumerate((row.folder / "samples.jsonl").read_bytes().splitlines()):
        sample = {name: value for name, value in orjson.loads(line).items() if name != "metrics"}
        text = orjson.dumps({**sample, "seconds": 0.5})
        fingerprint = row.manifest.fingerprint[:8]
        lines.append(text if place % 2 else seal(text[:-1] + f',"row":"{fingerprint}"}}'.encode()))
    (folder / "journal.jsonl").write_bytes(b"\n".join(lines) + b"\n")


def _write_human(root: Path, rows: list[Stored]) -> None:
    made = export(rows, n=4, checks=0)
    write_key(made.key, root / "key.json")
    write_export(made.shown, root / "pairs.csv", "csv")
    write_export(made.shown, root / "pairs.json", "label-studio")
    judged = [{"pair": shown.pair, "annotator": "Ann", "choice": 1} for shown in made.shown]
    write_json(root / "judged.json", judged)
    head = "pair,annotator,choice\n"
    (root / "judged.csv").write_text(head + "".join(f"{row['pair']},{row['annotator']},1\n" for row in judged))
    choice = [{"from_name": "choice", "value": {"choices": ["left"]}}]
    studio = [
        {"data": {"pair": row["pair"]}, "annotations": [{"completed_by": {"email": "a@b"}, "result": choice}]}
        for row in judged
    ]
    write_json(root / "studio.json", studio)


def _write_training(folder: Path) -> None:
    component = {"spec": "bm25", "plugin": "p", "version": "1", "source": "0", "fingerprint": ""}
    identity = {"k": 1, "max_completion": 8, "retriever": component, "reasoner": component | {"spec": "direct"}}
    facts = {"task": "mini_lamp_4", "reasoner": "direct", "files": {"a": "0"}, "steps": 2, "cost": {"tokens": 3}}
    write_json(folder / "manifest.json", {"stage": "policy", **facts, "builds_on": [], "identity": identity})
    steps: list[dict[str, Any]] = [{"step": 1, "loss": 0.5, "reward": 1.0, "rewards/format/mean": 1.0}]
    steps.append({"step": 2, "eval_loss": 0.25, "eval_reward": None, "epoch": 1})
    _write_lines(folder / "log.jsonl", steps)
    completion = {"step": 2, "part": "train", "id": "q", "completion": "c", "parsed": None, "answer": "a"}
    _write_lines(folder / "completions.jsonl", [{**completion, "rewards": {"format": 1.0}}])
    write_json(folder / "timing.json", {"seconds": 1.5})
    texts = ("id", "user", "query", "better", "worse", "against", "gold", "prompt", "chosen", "rejected")
    _write_lines(folder / "pairs.jsonl", [dict.fromkeys(texts, "x") | {"items": ["i"], "held_back": False}])


def _write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
