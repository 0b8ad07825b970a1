"""The `transformers` generator on GGUF files: answers, identity, planning, adapters, and trainings on such a base."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gguf", reason="needs gguf: pip install 'prlm-bench[smollm2]'")
pytest.importorskip("torch", reason="needs torch: pip install 'prlm-bench[lm]'")

import peft
import torch
from support.checkpoints import set_generation
from support.gguf_models import random_gguf, write_gguf
from transformers import AutoModelForCausalLM, AutoTokenizer

from prlm_bench import Prompt
from prlm_bench.errors import PrlmBenchError
from prlm_bench.files import cache_root
from prlm_bench.interfaces import Generator

Make = Callable[..., Generator]
pytestmark = [
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:peft"),
]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkpoint, and the same as a GGUF file."""
    folder, file = random_gguf(tmp_path_factory.mktemp("pair"))
    # Its tokenizer has a token of this name, which ends an answer for llama.cpp.
    set_generation(folder, eos_token_id=[1, AutoTokenizer.from_pretrained(folder).get_vocab()["<|endoftext|>"]])
    return folder, file


def answers(generator: Generator, prompts: list[Prompt]) -> list[str]:
    found = dict(generator.generate(prompts))
    return [found[place].text for place in range(len(prompts))]


def test_answers_are_those_of_the_checkpoint(make: Make, pair: tuple[Path, Path], prompts: list[Prompt]) -> None:
    folder, file = pair
    written = answers(make(file), prompts)
    assert written == answers(make(folder), prompts)
    assert len(set(written)) > len(prompts) // 2
    assert answers(make(file.parent, gguf_file=file.name), prompts) == written


def test_a_file_is_known_by_its_content(make: Make, pair: tuple[Path, Path], tmp_path: Path) -> None:
    folder, file = pair
    copy = Path(shutil.copy(file, tmp_path / "copy.gguf"))
    assert make(copy).fingerprint() == make(file).fingerprint()  # type: ignore[attr-defined]
    assert "gguf=" in make(file).fingerprint()  # type: ignore[attr-defined]
    other = write_gguf(folder, tmp_path / "other.gguf", general__name="another")
    assert make(other).fingerprint() != make(file).fingerprint()  # type: ignore[attr-defined]


def test_planning_converts_nothing(make: Make, pair: tuple[Path, Path], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("PRLM_BENCH_CACHE", str(tmp_path))
    made: Any = make(pair[1])
    made.fingerprint()
    assert made.max_prompt_tokens is None
    assert not (cache_root() / "gguf").exists()
    with pytest.raises(PrlmBenchError, match="fills the model's window of 700 tokens"):
        make(pair[1], max_new_tokens=700)


def test_a_file_without_a_template_reads_plain_text(make: Make, tmp_path: Path, prompts: list[Prompt]) -> None:
    folder, file = random_gguf(tmp_path, tokenizer__chat_template=None)
    (folder / "chat_template.jinja").unlink()
    assert answers(make(file), prompts[:4]) == answers(make(folder), prompts[:4])


def test_an_adapter_over_a_file(make: Make, pair: tuple[Path, Path], tmp_path: Path, prompts: list[Prompt]) -> None:
    folder, file = pair
    torch.manual_seed(1)
    config = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    peft.get_peft_model(AutoModelForCausalLM.from_pretrained(folder), config).save_pretrained(tmp_path / "adapter")
    adapted = answers(make(file, adapter=str(tmp_path / "adapter")), prompts)
    assert adapted == answers(make(folder, adapter=str(tmp_path / "adapter")), prompts)
    assert adapted != answers(make(file), prompts)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:5000]), "is cut off"),
        (lambda path: path.write_bytes(b"no model"), "is not a GGUF file"),
        (lambda path: path.unlink(), "there is no file"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line_before_a_run_begins(
    damage: Callable[[Path], Any], message: str, pair: tuple[Path, Path], tmp_path: Path, here: Any
) -> None:
    file = Path(shutil.copy(pair[1], tmp_path / "bad.gguf"))
    damage(file)
    words = ["run", "--task", "mini_lamp_7", "--synth-users", 4, "--limit", 2, "--retriever", "bm25", "-k", 1]
    ended = here(*words, "--generator", f"transformers:model={file}", "--no-controls", "--dry-run")
    assert message in ended.mistake


def test_options_that_need_a_file(make: Make, pair: tuple[Path, Path]) -> None:
    with pytest.raises(PrlmBenchError, match=r"there is no file 'other.gguf'"):
        make(pair[1].parent, gguf_file="other.gguf")
