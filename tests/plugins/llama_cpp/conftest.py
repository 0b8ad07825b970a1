"""Makes generators of GGUF files, and prompts for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("xllamacpp", reason="needs xllamacpp: pip install 'prlm-bench[llama-cpp]'")
pytest.importorskip("gguf", reason="needs gguf: pip install 'prlm-bench[llama-cpp]'")
pytest.importorskip("torch", reason="needs torch: pip install 'prlm-bench[lm]'")

from support.checkpoints import count_tokens, set_generation
from support.gguf_models import random_gguf

from prlm_bench import Prompt, Ranking
from prlm_bench.data import open_split
from prlm_bench.host import PluginHost
from prlm_bench.running import Components

#: A generator of the plugin: its protocols are more than those of `Generator`.
Make = Callable[..., Any]


@pytest.fixture(scope="session")
def components(tmp_path_factory: pytest.TempPathFactory) -> Components:
    host = PluginHost()
    dataset = open_split(host.tasks.get("mini_lamp_7"), "dev", synth_users=8)
    return Components(host, dataset, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One random model: a folder for transformers, and a GGUF file."""
    folder, model = random_gguf(tmp_path_factory.mktemp("pair"))
    # The class adds <|endoftext|>, which llama.cpp takes for an end whatever the file calls its end.
    set_generation(folder, eos_token_id=[1, count_tokens(folder) - 1])
    return folder, model


@pytest.fixture(scope="session")
def model(pair: tuple[Path, Path]) -> Path:
    return pair[1]


@pytest.fixture
def make(components: Components) -> Make:
    def made(model: Path | str, seed: int = 0, name: str = "llama-cpp", **options: Any) -> Any:
        own = {"threads": 1, "slots": 3} if name == "llama-cpp" else {"device": "cpu", "dtype": "float32"}
        spec = {"name": name, "model": str(model), "max_new_tokens": 12, **own, **options}
        return PluginHost().registry.choose("generator", spec).make(components.context(seed))

    return made


@pytest.fixture(scope="session")
def prompts(components: Components) -> list[Prompt]:
    """Prompts of many lengths; every second one is asked as a turn of a chat."""
    examples = next(components.context(0).dataset.batches(12))
    return [Prompt(e, Ranking(), e.input[: 5 + 9 * i], chat=i % 2 == 1) for i, e in enumerate(examples)]
