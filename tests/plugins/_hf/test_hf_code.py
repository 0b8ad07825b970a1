"""The code of a checkpoint runs nowhere, whoever loads it, and whatever is answered on the terminal."""

from __future__ import annotations

import builtins
import json
import pickle
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson
import pytest

pytest.importorskip("torch")

from support.checkpoints import make_random

from prlm_bench.errors import PrlmBenchError

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:peft"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
RUN = "run --task mini_lamp_7 --synth-users 4 --limit 2 -k 1 --no-controls --results r"
CODE = """
open({ran!r}, 'w')
from transformers import Qwen2Config as OddConfig, Qwen2ForCausalLM as OddModel, PreTrainedTokenizerFast
class OddTokenizer(PreTrainedTokenizerFast): pass
"""
#: Each way in which a checkpoint is loaded, by the command.
WAYS = {
    "transformers": f"{RUN} --retriever bm25 --generator transformers:model=planted,device=cpu",
    "trained": f"{RUN} --retriever bm25 --generator trained:checkpoint=run,stage=base,max_new_tokens=4",
    "lm-eval": f"{RUN} --retriever bm25 --generator lm-eval:backend=hf,pretrained=planted,device=cpu",
    "lm-eval, another tokenizer": f"{RUN} --retriever bm25 --generator lm-eval:backend=hf,pretrained=planted,"
    "device=cpu,tokenizer=plain",
    "openai-api": f"{RUN} --retriever bm25 --generator openai-api:x,base_url=http://127.0.0.1:9/v1,tokenizer=planted",
    "rerank": f"{RUN} --retriever rerank:model=planted --generator copy",
    "dense": f"{RUN} --retriever dense:model=planted --generator copy",
    "reward": f"{RUN} --retriever bm25 --generator copy --reward personalization:model=run",
    "prompts": "prompts --task mini_lamp_7 --limit 1 --retriever bm25 --tokenizer planted",
    "train": "train prlm.sft --task mini_lamp_7 --synth-users 4 --recipe tiny --base planted --output out",
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_random(tmp_path_factory.mktemp("plain") / "plain")


def edit(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


@pytest.fixture
def planted(plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint whose config and tokenizer name code beside them, in every place where one is loaded from."""
    kinds = ("AutoModelForCausalLM", "AutoModel", "AutoModelForSequenceClassification")
    for folder in ("planted", "run/base", "run/reward/model"):
        place = tmp_path / folder
        place.mkdir(parents=True)
        for file in plain.iterdir():
            (place / file.name).write_bytes(file.read_bytes())
        (place / "odd.py").write_text(CODE.format(ran=str(tmp_path / "ran")))
        names = {"AutoConfig": "odd.OddConfig", **dict.fromkeys(kinds, "odd.OddModel")}
        edit(place / "config.json", model_type="odd", auto_map=names)
        odd = {"tokenizer_class": "OddTokenizer", "auto_map": {"AutoTokenizer": ["odd.OddTokenizer"] * 2}}
        edit(place / "tokenizer_config.json", **odd)
    (tmp_path / "plain").symlink_to(plain)
    manifest = {"stage": "reward", "task": "mini_lamp_7", "profile": False, "max_length": 64, "files": {}}
    (tmp_path / "run" / "reward" / "manifest.json").write_bytes(orjson.dumps(manifest))
    return tmp_path / "planted"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the terminal was asked; each question gets a yes."""
    questions: list[str] = []

    def answer(question: str = "") -> str:
        questions.append(question)
        return "y"

    monkeypatch.setattr(builtins, "input", answer)
    return questions


@pytest.mark.parametrize("way", WAYS)
def test_code_that_comes_with_a_checkpoint_is_not_run(
    way: str, planted: Path, asked: list[str], here: Callable[..., Any]
) -> None:
    if way.startswith("lm-eval") and find_spec("lm_eval") is None:
        pytest.skip("needs lm_eval: prlm-bench[lm-eval]")
    done = here(*WAYS[way].split())
    assert done.status in (1, 2)
    assert not (planted.parent / "ran").exists()
    assert asked == []
    assert "Python code that comes with it, which is not run" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_native_checkpoint_with_code_beside_it_is_read_by_transformers_own(
    plain: Path, tmp_path: Path, asked: list[str]
) -> None:
    from prlm_bench_plugins._hf import load_model, load_tokenizer

    for file in plain.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "odd.py").write_text(CODE.format(ran=str(tmp_path / "ran")))
    edit(tmp_path / "config.json", auto_map={"AutoConfig": "odd.OddConfig", "AutoModelForCausalLM": "odd.OddModel"})
    assert type(load_model("AutoModelForCausalLM", tmp_path, "it")).__name__ == "Qwen2ForCausalLM"
    load_tokenizer(tmp_path, "it")
    assert not (tmp_path / "ran").exists() and asked == []


class Planted:
    """Runs when it is unpickled."""

    def __init__(self, ran: Path) -> None:
        self.ran = ran

    def __reduce__(self) -> Any:
        return open, (str(self.ran), "w")


#: Files that hold pickles in one library or another.
PICKLES = (
    *("pytorch_model.bin", "pytorch_model-00001-of-00001.bin", "model.bin", "model.pt", "model.pth", "model.ckpt"),
    *("model.pkl", "model.pickle", "adapter_model.bin", "adapter_model.pt", "optimizer.pt", "optimizer.bin"),
    *("scheduler.pt", "rng_state.pth", "rng_state_0.pth", "scaler.pt", "training_args.bin", "trainer_state.bin"),
    *("tokenizer.pkl", "tokenizer.bin", "vocab.pkl", "config.pkl", "modules.pkl", "1_Pooling/pytorch_model.bin"),
    *("random_states_0.pkl", "custom_checkpoint_0.pkl", "mp_rank_00_model_states.pt", "embeddings.npy", "index.npz"),
    *("consolidated.00.pth", "head.pt", "value_head.bin", "added_tokens.pkl", "special_tokens_map.pkl", "sft.pickle"),
    *("diffusion_pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "generation_config.pkl", "merges.pkl"),
    *("spiece.pkl", "state.joblib", "model.dill"),
)


@pytest.mark.parametrize("only", [False, True], ids=["beside the weights", "in place of the weights"])
def test_no_pickle_is_loaded(
    plain: Path, tmp_path: Path, only: bool, here: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = tmp_path / "ran"
    place = tmp_path / "planted"
    (place / "1_Pooling").mkdir(parents=True)
    for file in plain.iterdir():
        if not (only and file.suffix == ".safetensors"):
            (place / file.name).write_bytes(file.read_bytes())
    for name in PICKLES:
        (place / name).write_bytes(pickle.dumps(Planted(ran)))
    assert len(PICKLES) > 40
    for way in ("transformers", "rerank", "dense", "prompts"):
        done = here(*WAYS[way].split(), *(["--output", "prompts.jsonl"] if way == "prompts" else ["--results", way]))
        assert not ran.exists(), way
        assert "Traceback" not in done.stderr
        if only and way != "prompts":
            assert done.status in (1, 2), way


def test_an_adapter_names_no_module_to_import(plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """peft imports the module in `megatron_core`, whatever it is."""
    import peft
    from prlm_bench_plugins.transformers_lm._files import find_adapter
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(plain)
    peft.get_peft_model(model, peft.LoraConfig(target_modules=["q_proj"])).save_pretrained(tmp_path)
    assert find_adapter(str(tmp_path)).config["peft_type"] == "LORA"
    edit(tmp_path / "adapter_config.json", megatron_config={"x": 1}, megatron_core="planted")
    with pytest.raises(PrlmBenchError, match="names Python code that is to be imported, which is not run"):
        find_adapter(str(tmp_path))
