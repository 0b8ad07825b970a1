"""Tokenizers for prompt budgets: words, and what transformers loads from a folder, silently and without a network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.hub_tokenizers import CORPUS, KINDS, saved
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from prlm_bench.errors import DataError, MissingDependencyError
from prlm_bench.prompting import HubTokenizer, WordTokenizer, load_tokenizer

TEXT = "The council voted to close the old library, quietly: naïve 日本語 😀"


def test_words_are_separated_by_blanks() -> None:
    words = load_tokenizer("words")
    assert isinstance(words, WordTokenizer)
    assert (words.count(""), words.count(" \n"), words.count("a  b\tc")) == (0, 0, 3)
    assert words.truncate("a  b c", 2) == ("a b", 2)
    assert words.truncate("a  b", 2) == ("a  b", 2)
    assert words.truncate("a b", 0) == ("", 0)
    assert words.truncate("", 0) == ("", 0)
    with pytest.raises(ValueError, match="cannot cut to -1 words"):
        words.truncate("a b", -1)
    assert words.fingerprint() == WordTokenizer().fingerprint() == "words"


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_folder_is_used_as_the_library_uses_it(tmp_path: Path, kind: str) -> None:
    ours, theirs = load_tokenizer(saved(kind, tmp_path)), AutoTokenizer.from_pretrained(tmp_path)
    ids = theirs(TEXT)["input_ids"]
    assert ours.count(TEXT) == len(ids)
    assert ours.count("") == len(theirs("")["input_ids"])
    for room in (*range(len(ids) + 3), 4096):
        cut = theirs(TEXT, max_length=room, truncation=True)["input_ids"]
        assert ours.truncate(TEXT, room) == (theirs.batch_decode([cut], skip_special_tokens=True)[0], len(cut))
    with pytest.raises(ValueError, match="cannot cut to -3 ids"):
        ours.truncate(TEXT, -3)
    assert ours.count(TEXT) == len(ids)


def test_a_class_that_decodes_in_its_own_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Loud(PreTrainedTokenizerFast):
        def _decode(self, *args: Any, **options: Any) -> str:
            return str(super()._decode(*args, **options)).upper()

    loud = Loud.from_pretrained(saved("unigram", tmp_path))
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda name: loud)
    assert HubTokenizer(str(tmp_path)).truncate("the old library", 99)[0] == "THE OLD LIBRARY"


def test_the_fingerprint_is_that_of_the_content(tmp_path: Path) -> None:
    first = load_tokenizer(saved("unigram", tmp_path / "a"))
    again = load_tokenizer(shutil.copytree(tmp_path / "a", tmp_path / "b"))
    other = load_tokenizer(saved("unigram", tmp_path / "c", [*CORPUS, "quite other words zymurgy " * 9]))
    piece = load_tokenizer(saved("wordpiece", tmp_path / "d"))
    assert first.fingerprint() == again.fingerprint()
    assert len({tokenizer.fingerprint() for tokenizer in (first, other, piece)}) == 3
    assert "transformers " in first.fingerprint()


def test_the_side_that_is_cut_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    left = AutoTokenizer.from_pretrained(saved("left", tmp_path / "left"))
    left.truncation_side = "right"
    left.save_pretrained(tmp_path / "right")
    found = [load_tokenizer(tmp_path / side) for side in ("left", "right")]
    assert found[0].truncate(TEXT, 4) != found[1].truncate(TEXT, 4)
    assert found[0].fingerprint() != found[1].fingerprint()


def test_use_does_not_change_the_fingerprint(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(saved("wordpiece", tmp_path))
    before = tokenizer.fingerprint()
    tokenizer.truncate(TEXT, 5)
    assert tokenizer.fingerprint() == before == load_tokenizer(tmp_path).fingerprint()


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no tokenizer at '.*none': no such folder") as caught:
        load_tokenizer(tmp_path / "none")
    assert caught.value.hint == "give a folder, a hub name or `words`"


@pytest.mark.parametrize("broken", [False, True])
def test_a_folder_without_a_tokenizer(tmp_path: Path, broken: bool) -> None:
    if broken:
        (tmp_path / "tokenizer.json").write_text("{")
        (tmp_path / "tokenizer_config.json").write_text("{}")
    with pytest.raises(DataError, match="the folder has no tokenizer that transformers can load"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("name", ["prlm-bench-tests/none", "none-such-tokenizer", "not a name"])
def test_an_unknown_hub_name_is_one_line(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError) as caught:
        load_tokenizer(name)
    message = str(caught.value)
    assert message.startswith(f"no tokenizer at '{name}': ")
    assert "\n" not in message


def test_without_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingDependencyError) as caught:
        HubTokenizer("t5-small")
    assert str(caught.value) == ("tokenizer 't5-small' needs the package 'transformers' (pip install 'prlm-bench[hf]')")
    assert load_tokenizer("words").count("a b") == 2


SCRIPT = """
import sys
from prlm_bench.prompting._tokenizers import load_tokenizer
assert "transformers" not in sys.modules
for folder in sys.argv[1:]:
    tokenizer = load_tokenizer(folder)
    text = "a long text , " * 400
    print(tokenizer.count(text) > 512, tokenizer.truncate(text, 9)[1], tokenizer.truncate("short", 9)[1] < 9)
"""


def test_nothing_is_said_on_stderr(tmp_path: Path) -> None:
    """Neither bars nor advice, though every text is longer than these models take, and no network is there."""
    folders = [str(saved(kind, tmp_path / kind)) for kind in KINDS]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
    environment.pop("TRANSFORMERS_VERBOSITY", None)
    command = [sys.executable, "-c", SCRIPT, *folders]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("True 9 True\n" * len(KINDS), "", 0)


def test_the_verbosity_of_transformers_is_left_as_it_was(tmp_path: Path) -> None:
    from transformers.utils import logging

    before = logging.get_verbosity()
    load_tokenizer(saved("bytes", tmp_path))
    assert logging.get_verbosity() == before


def test_a_tokenizer_never_brings_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Left to its default, transformers asks on the terminal whether to run it."""
    config = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", None]}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Own: pass\n")
    with pytest.raises(DataError, match="no tokenizer at"):
        HubTokenizer(str(tmp_path))
    assert not (tmp_path / "ran").exists()
    assert capsys.readouterr().out == ""
