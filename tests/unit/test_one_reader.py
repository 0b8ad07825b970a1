"""Files and replies are read by the readers of `prlm_bench.files`; what parses by itself is listed here."""

from __future__ import annotations

import re
from pathlib import Path

from support.paths import REPOSITORY

#: Calls that read text or parse it.
_PARSERS = re.compile(
    r"\bjson\.loads?\(|\borjson\.loads\b|\byaml\.(\w*load|parse|compose)|\bgzip\.|\.read_text\(|\bcsv\.(reader|DictReader)\("
)
#: Why a module parses by itself.
EXCEPT = {
    "prlm_bench/_util/json_text.py": "the reader of JSON",
    "prlm_bench/_util/yaml_text.py": "the reader of YAML",
    "prlm_bench/_util/reading.py": "the reader of bytes, text and lines",
    "prlm_bench/_util/csv_rows.py": "the reader of CSV",
    "prlm_bench/human/_page.py": "files that ship with the package",
    "prlm_bench/host/_scaffold.py": "files that ship with the package",
    "prlm_bench/host/_discovery.py": "metadata of installed packages",
    "prlm_bench/identity.py": "source code, byte for byte",
    "prlm_bench/threads.py": "files of the system, none of which is needed",
    "prlm_bench/data/_partial.py": "its own note beside an unfinished download; a damaged one means to begin again",
    "prlm_bench/results/_journal.py": "the reader of journals: a damaged line is asked again",
    "prlm_bench/results/_finish.py": "lines that the reader of journals has accepted",
    "prlm_bench/running/_checked_records.py": "the reader of kept completions: a damaged one is asked again",
    "prlm_bench/prompting/_token_counts.py": "the state of a tokenizer in this process",
    "prlm_bench/prompting/_tokenizers.py": "the state of a tokenizer in this process",
    "prlm_bench/testing/_work_contracts.py": "contracts, whose errors are failed tests",
    "plugins/prlm_bench_plugins/openai_api/_json.py": "the reader of servers' replies",
    "plugins/prlm_bench_plugins/llama_cpp/_model.py": "what a library in this process says",
    "plugins/prlm_bench_plugins/lm_eval_bridge/adapter.py": "options on the command line",
    "plugins/prlm_bench_plugins/prlm/_recipe.py": "recipes that ship, to be printed",
    "plugins/prlm_bench_plugins/tiny/_tokenizer.py": "the state of a tokenizer in this process",
    "plugins/prlm_bench_plugins/transformers_lm/_dtype.py": "a file of the system, which is not needed",
    "plugins/prlm_bench_plugins/transformers_lm/_loading.py": "a value that this module wrote",
    "plugins/prlm_bench_plugins/_training/_artefact.py": "values that were written in the line before",
}


def modules() -> list[Path]:
    return sorted(path for folder in ("prlm_bench", "plugins") for path in (REPOSITORY / folder).rglob("*.py"))


def test_no_module_has_a_reader_of_its_own() -> None:
    found = {
        str(path.relative_to(REPOSITORY)): match.group()
        for path in modules()
        if (match := _PARSERS.search(path.read_text(encoding="utf-8")))
    }
    assert found.keys() - EXCEPT == set(), {path: found[path] for path in found.keys() - EXCEPT}
    assert EXCEPT.keys() - found.keys() == set(), "exceptions that are no longer needed"
