"""The `trained` generator: the `transformers` generator on a model that `prlm-bench train` made."""

from __future__ import annotations

from pathlib import Path

from prlm_bench.errors import PrlmBenchError
from prlm_bench.interfaces import Context, Generator

from .artefact import MODEL, read_artefact


def trained(
    context: Context,
    checkpoint: str,
    stage: str = "policy",
    max_new_tokens: int | None = None,
    temperature: float = 0.0,
    batch_tokens: int = 16384,
) -> Generator:
    """A model that `prlm-bench train prlm...` trained, and its base.

    Args:
        checkpoint: the folder that was given to `prlm-bench train` as --output; `{seed}` in it stands for the
            run's seed, so that trainings of several seeds are one method.
        stage: `policy`, `sft`, `rft`, `dpo`, an ablation's name, or `base`.
        max_new_tokens: tokens of a completion at most; by default as many as in training.
        temperature: 0 writes the likeliest tokens.
        batch_tokens: tokens of a batch at most.

    Raises:
        PrlmBenchError: there is no such stage in the folder, or it is not whole.
    """
    run = Path(checkpoint.replace("{seed}", str(context.seed)))
    if stage == "base":
        folder, most = run / "base", 768
        if not (folder / "config.json").is_file():
            raise PrlmBenchError(f"no base in {run}", "it was no model of the training's own; name it itself")
    else:
        artefact = read_artefact(run / stage, stage)
        folder, most = artefact.folder / MODEL, artefact.manifest["identity"]["max_completion"]
    made: Generator = context.build(
        "generator",
        {
            "name": "prlm-bench/transformers",
            "model": str(folder),
            "max_new_tokens": max_new_tokens or most,
            "temperature": temperature,
            "batch_tokens": batch_tokens,
            "overflow": "cut-items",
        },
    )
    return made
