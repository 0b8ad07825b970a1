"""llama.cpp's own OpenAI-compatible server, as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Serves until its input ends, and says where.
_SERVE = """
import sys, xllamacpp
model, slots, window, threads = sys.argv[1], *map(int, sys.argv[2:])
parameters = xllamacpp.CommonParams()
parameters.model.path, parameters.n_parallel, parameters.n_ctx = model, slots, slots * window
parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = threads
parameters.warmup = parameters.fit_params = False
parameters.verbosity = -1
server = xllamacpp.Server(parameters)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class Served:
    """A running server, and the model that it serves."""

    url: str
    model: Path
    process: subprocess.Popen[str]

    def spec(self, **options: Any) -> dict[str, Any]:
        """A generator `openai-api` of it."""
        return {"name": "openai-api", "model": "any", "base_url": self.url, "max_tokens": 12, **options}


@contextmanager
def serving(model: Path, slots: int = 4, window: int = 512, threads: int = 1) -> Iterator[Served]:
    """A server of a GGUF file, for the length of a block."""
    command = [sys.executable, "-c", _SERVE, *map(str, (model, slots, window, threads))]
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdin is not None and process.stdout is not None
    try:
        yield Served(f"{process.stdout.readline().strip()}/v1", model, process)
    finally:
        process.kill()
        process.wait(30)
        process.stdin.close()
        process.stdout.close()
