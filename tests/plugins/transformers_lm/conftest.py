"""Makes generators of checkpoints, and prompts for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prlm_bench import Prompt, Ranking
from prlm_bench.data import open_split
from prlm_bench.host import PluginHost
from prlm_bench.interfaces import Generator
from prlm_bench.running import Components

Make = Callable[..., Generator]


@pytest.fixture(scope="module")
def components(tmp_path_factory: pytest.TempPathFactory) -> Components:
    host = PluginHost()
    dataset = open_split(host.tasks.get("mini_lamp_7"), "dev", synth_users=8)
    return Components(host, dataset, tmp_path_factory.mktemp("cache"))


@pytest.fixture
def make(components: Components) -> Make:
    def made(model: Path | str, seed: int = 0, **options: Any) -> Generator:
        context = components.context(seed)
        # The prompts of these tests are turns and plain texts by turns.
        options = {"max_new_tokens": 12, "device": "cpu", "chat": "by-protocol", **options}
        chosen = PluginHost().registry.choose("generator", {"name": "transformers", "model": str(model), **options})
        made: Generator = chosen.make(context)
        return made

    return made


@pytest.fixture(scope="module")
def prompts(components: Components) -> list[Prompt]:
    """Prompts of many lengths, every second one a turn of a chat."""
    dataset = components.context(0).dataset
    examples = next(dataset.batches(24))
    return [Prompt(e, Ranking(), e.input[: 5 + 6 * i], chat=i % 2 == 1) for i, e in enumerate(examples)]
