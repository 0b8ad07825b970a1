"""Compares the `transformers` generator with plain `generate()` on tiny random checkpoints of every architecture.

For each architecture of transformers that can be made small, 12 prompts of 1 to 150 tokens are answered by the
generator's engine, together, and by `generate()`, one at a time. The table says how the engine batches, as found out by
its check, and how many answers are equal.

    python benchmarks/check_architectures.py --log architectures.jsonl --table architectures.md

The log makes it resumable: what is in it is not tried again. Exits with status 1 where an answer differs.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import random
import sys
import tempfile
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import transformers
from prlm_bench_plugins.transformers_lm._decoding import Decoding
from prlm_bench_plugins.transformers_lm._engine import Request, generate_all
from prlm_bench_plugins.transformers_lm._files import ModelFiles
from prlm_bench_plugins.transformers_lm._loading import LoadSettings, load_unpooled
from tokenizers import Tokenizer, models
from transformers.models.auto import configuration_auto, modeling_auto

VOCABULARY, WINDOW, NEW = 300, 256, 12
LARGEST = 5_000_000
LENGTHS = (1, 3, 3, 7, 15, 40, 63, 64, 65, 100, 129, 150)
#: Names of sizes in configurations; those that a configuration has are set.
SIZES: dict[str, Any] = {
    **dict.fromkeys(("vocab_size", "decoder_vocab_size", "vocab_size_per_layer_input"), VOCABULARY),
    **dict.fromkeys(
        ("hidden_size", "d_model", "n_embd", "word_embed_proj_dim", "embedding_size", "dim", "lru_width", "emb_dim"), 32
    ),
    **dict.fromkeys(("intermediate_size", "d_ff", "n_inner", "ffn_dim", "encoder_ffn_dim", "decoder_ffn_dim"), 64),
    **dict.fromkeys(("ffn_hidden_size", "intermediate_size_mlp", "dense_intermediate_size", "block_ff_dim"), 64),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_decoder_layers"), 2),
    **dict.fromkeys(("encoder_layers", "decoder_layers", "num_encoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "num_kv_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads", "num_encoder_attention_heads"), 4),
    **dict.fromkeys(("num_decoder_attention_heads", "linear_num_key_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "linear_num_value_heads"), 4),
    **dict.fromkeys(("head_dim", "d_kv", "kv_channels", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim"), 8),
    **dict.fromkeys(("attention_head_size", "linear_key_head_dim", "linear_value_head_dim", "rotary_dim"), 8),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"), WINDOW),
    **dict.fromkeys(("context_length", "max_seq_length"), WINDOW),
    **dict.fromkeys(("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_topk", "moe_k", "num_selected_experts"), 2),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size", "expert_ffn_hidden_size"), 32),
    **dict.fromkeys(("n_group", "topk_group", "first_k_dense_replace", "n_shared_experts"), 1),
    **dict.fromkeys(("kv_lora_rank", "q_lora_rank", "hidden_size_per_layer_input"), 16),
    **dict.fromkeys(("state_size", "mamba_d_state", "ssm_state_size", "time_step_rank"), 8),
    **dict.fromkeys(("pad_token_id", "decoder_start_token_id"), 0),
    "eos_token_id": 1, "bos_token_id": 2, "sliding_window": 64, "attention_window": 32, "tie_word_embeddings": False,
}  # fmt: skip
#: What single architectures need besides.
SPECIAL: dict[str, dict[str, Any]] = {
    "bamba": {"mamba_n_heads": 4, "mamba_d_head": 16, "attn_layer_indices": [1], "mamba_n_groups": 1},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 32},
    "granitemoehybrid": {
        "mamba_n_heads": 4,
        "mamba_d_head": 16,
        "mamba_n_groups": 1,
        "layer_types": ["mamba", "attention"],
    },
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1},
    "mamba2": {"num_heads": 4, "head_dim": 16, "n_groups": 1, "chunk_size": 16},
    "recurrent_gemma": {"num_hidden_layers": 3, "block_types": ["recurrent", "recurrent", "attention"]},
    "kimi_linear": {"num_experts": 4, "num_experts_per_token": 2},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "xlstm": {"qk_dim_factor": 1.0, "v_dim_factor": 1.0},
}


#: Settings of an architecture that change how it reads: its name, and what is set.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "falcon with ALiBi": ("falcon", {"alibi": True}),
    "falcon with ALiBi, parallel heads": ("falcon", {"alibi": True, "new_decoder_architecture": True}),
    "mistral with a window of 20": ("mistral", {"sliding_window": 20}),
    "qwen2 with a window": ("qwen2", {"use_sliding_window": True, "sliding_window": 20, "max_window_layers": 1}),
    "llama with linear scaling": ("llama", {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}),
    "phi3 with long and short factors": (
        "phi3",
        {
            "rope_scaling": {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [4.0] * 4},
            "original_max_position_embeddings": 64,
        },
    ),
}
_SEQ2SEQ = "-encoder-decoder"


def names() -> list[str]:
    """Model types that write text: causal ones, and `NAME-encoder-decoder`."""
    auto: Any = modeling_auto
    seq2seq = [f"{name}{_SEQ2SEQ}" for name in auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES]
    return sorted([*auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, *seq2seq, *VARIANTS])


def tiny_config(name: str) -> Any:
    """A configuration with small sizes."""
    name, more = VARIANTS.get(name, (name, SPECIAL.get(name, {})))
    kind = configuration_auto.CONFIG_MAPPING[name]
    known = kind().to_dict()
    wanted = {**{key: value for key, value in SIZES.items() if key in known}, **more}
    for key in ("layer_types", "layers_block_type", "mlp_layer_types"):
        if isinstance(known.get(key), list) and key not in wanted:
            kinds = list(dict.fromkeys(known[key]))
            wanted[key] = (kinds * 2)[: max(2, len(kinds))]
            wanted |= {layers: len(wanted[key]) for layers in ("num_hidden_layers", "n_layer") if layers in known}
    return kind(**wanted)


def tiny_model(name: str) -> Any:
    """A model with random weights, scaled up so that answers differ."""
    torch.manual_seed(0)
    config = tiny_config(name.removesuffix(_SEQ2SEQ))
    is_decoder = not name.endswith(_SEQ2SEQ)
    if is_decoder and hasattr(config, "is_decoder"):
        config.is_decoder = True
    auto: Any = transformers.AutoModelForCausalLM if is_decoder else transformers.AutoModelForSeq2SeqLM
    with torch.device("meta"):
        size = sum(weights.numel() for weights in auto.from_config(config).parameters())
    if size > LARGEST:
        raise ValueError(f"{size:,} weights are left")
    model = auto.from_config(config).eval()
    with torch.no_grad():
        for weights in model.parameters():
            if weights.dim() > 1:
                weights.mul_(3)
    model.generation_config.update(
        eos_token_id=1, pad_token_id=0, bos_token_id=2, decoder_start_token_id=None if is_decoder else 0
    )
    return model


def tokenizer() -> Any:
    """One token for each number; texts are not used here."""
    words = {"<pad>": 0, "<end>": 1, "<s>": 2} | {f"t{number}": number for number in range(3, VOCABULARY)}
    made = Tokenizer(models.WordLevel(words, unk_token="t3"))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="<end>", bos_token="<s>"
    )


def compare(name: str, folder: Path) -> dict[str, Any]:
    """One row of the table."""
    try:
        model = tiny_model(name)
        model.save_pretrained(folder)
        # Read back, because some architectures compute a part of their weights anew.
        model = type(model).from_pretrained(folder).eval()
    except Exception as error:
        return {"name": name, "skipped": f"{type(error).__name__}: {' '.join(str(error).split())[:150]}"}
    kind = type(model).__name__
    causal = not model.config.is_encoder_decoder
    tokens = tokenizer()
    rng = random.Random(1)
    prompts = [[rng.randrange(3, VOCABULARY) for _ in range(length)] for length in LENGTHS]
    start = 1 if not causal else 0
    try:
        alone = []
        for ids in prompts:
            inputs = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}
            with torch.inference_mode():
                found = model.generate(**inputs, max_new_tokens=NEW, do_sample=False, num_beams=1)
            answer = found[0, start or len(ids) :].tolist()
            alone.append(answer[: answer.index(1) + 1] if 1 in answer else answer)
    except Exception as error:
        reason = f"generate() fails: {type(error).__name__}: {' '.join(str(error).split())[:120]}"
        return {"name": name, "class": kind, "skipped": reason}
    files = ModelFiles(name, folder, (), json.loads((folder / "config.json").read_text()))
    begun = time.perf_counter()
    try:
        loaded = load_unpooled(files, tokens, LoadSettings(), name, folder / "cache")
        checked = time.perf_counter() - begun
        requests = [Request(place, "", ids) for place, ids in enumerate(prompts)]
        outputs = {output.index: output.ids for output in generate_all(loaded, requests, Decoding(NEW), 1 << 20)}
    except Exception as error:
        return {"name": name, "class": kind, "failed": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
    return {
        "name": name,
        "class": kind,
        "together": loaded.batching.together,
        "cache": loaded.batching.cache,
        "equal": sum(outputs[place] == answer for place, answer in enumerate(alone)),
        "of": len(prompts),
        "distinct": len({tuple(answer) for answer in alone}),
        "seconds": round(checked, 2),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    done = [row for row in rows if "equal" in row]
    versions = ", ".join(f"{name} {version(name)}" for name in ("transformers", "torch"))
    bad = [row for row in rows if "failed" in row or row.get("equal") != row.get("of")]
    lines = [
        f"{len(done)} architectures tried with {versions}, {len(LENGTHS)} prompts each; "
        f"{len(done) - sum(row in bad for row in done)} write what `generate()` writes for every prompt.",
        "",
        "| architecture | class | batches | cache | equal |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        if "equal" in row:
            equal = f"{row['equal']} of {row['of']}"
            lines.append(f"| {row['name']} | {row['class']} | {row['together']} | {row['cache']} | {equal} |")
        elif "failed" in row:
            lines.append(f"| {row['name']} | {row['class']} | | | failed: {row['failed']} |")
    left = [row for row in rows if "skipped" in row]
    lines += ["", f"Not tried, because no tiny checkpoint could be made or written with ({len(left)}): "]
    lines[-1] += ", ".join(row["name"] for row in left) + "."
    return "\n".join(lines) + "\n"


def main() -> int:
    """Try what the log lacks, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="model types; all by default")
    parser.add_argument("--log", type=Path, required=True, help="results so far, one JSON object a line")
    parser.add_argument("--table", type=Path, help="where the table goes; standard output by default")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    transformers.utils.logging.disable_progress_bar()
    rows = [json.loads(line) for line in options.log.read_text().splitlines()] if options.log.exists() else []
    for name in options.names or names():
        if any(row["name"] == name for row in rows):
            continue
        with tempfile.TemporaryDirectory() as folder:
            row = compare(name, Path(folder))
        rows.append(row)
        with options.log.open("a") as log:
            log.write(json.dumps(row) + "\n")
        print(json.dumps(row), file=sys.stderr, flush=True)
        gc.collect()
    rows.sort(key=lambda row: str(row["name"]))
    text = table(rows)
    if options.table is None:
        print(text)
    else:
        options.table.write_text(text)
    return int(any("failed" in row or row.get("equal") != row.get("of") for row in rows))


if __name__ == "__main__":
    sys.exit(main())
