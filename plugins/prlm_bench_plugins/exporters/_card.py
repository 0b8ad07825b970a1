"""The card of an exported results folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from prlm_bench import Results
from prlm_bench.files import printable

_TEXTS = {
    True: "Samples have the texts of the data (questions, items, prompts, references) and completions, which may "
    "repeat them. The licence of the data decides whether they may be published.",
    False: "Samples have ids, counts and metrics. The texts of the data were left out, and the completions, which may "
    "repeat them.",
}
_ROW = (
    "a row is a method (retriever × reasoner × generator) on a split of a task with one seed. Intervals are 95 % "
    "intervals over users."
)
_LOAD = (
    "`figures` has a line for each row and metric; the other configurations are samples by task. `row` is the "
    "fingerprint of the row, over everything that made it: components with their code, data, prompts and versions."
)
_CHECK = (
    "`rows/` is a results folder of manifests and summaries. The command in a manifest makes the samples again, and "
    "prlm-bench computes every figure from them:"
)
_COMMANDS = "```sh\nprlm-bench leaderboard --results rows\nprlm-bench results verify rows --samples FOLDER\n```"


def card(found: Results, samples: Mapping[tuple[str, str], int], name: str, texts: bool) -> str:
    """The card in Markdown: what there is, how to load and to check it, and the leaderboard.

    Args:
        found: the rows.
        samples: number of samples by task and split.
        name: the title.
        texts: whether samples have the texts of the data.
    """
    head = yaml.safe_dump(_head(found, samples, name), sort_keys=False, allow_unicode=True)
    versions = sorted({row.manifest.versions.get("prlm-bench", "unknown") for row in found})
    counted = ", ".join(f"{task} {split}: {count}" for (task, split), count in samples.items()) or "none"
    loads = [("figures", "figures", "rows"), *((task, task, split) for task, split in list(samples)[:1])]
    lines = [f'{variable} = load_dataset("USER/NAME", "{config}", split="{s}")' for variable, config, s in loads]
    parts = [
        f"---\n{head}---",
        f"# {' '.join(printable(name).split())}",
        f"{len(found)} rows of [prlm-bench](https://github.com/prlm-bench/prlm-bench) {', '.join(versions)}: {_ROW}",
        f"Samples by task and split: {counted}. {_TEXTS[texts]}",
        "## Load",
        "\n".join(["```python", "from datasets import load_dataset", "", *lines, "```"]),
        _LOAD,
        "## Check",
        _CHECK,
        _COMMANDS,
        "## Leaderboard",
        found.render("markdown").strip(),
    ]
    return "\n\n".join(parts) + "\n"


def _head(found: Results, samples: Mapping[tuple[str, str], int], name: str) -> dict[str, Any]:
    configs: list[dict[str, Any]] = [
        {"config_name": "figures", "data_files": [{"split": "rows", "path": "figures.parquet"}], "default": True}
    ]
    for task in dict.fromkeys(task for task, _ in samples):
        files = [{"split": s, "path": f"samples/{t}/{s}.parquet"} for t, s in samples if t == task]
        configs.append({"config_name": task, "data_files": files})
    return {
        "pretty_name": " ".join(printable(name).split()),
        "tags": ["personalization", "LaMP", "prlm-bench", "benchmark-results"],
        "configs": configs,
    }
