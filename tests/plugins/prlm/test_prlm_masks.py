"""What stands at padding never enters the log-probabilities of GRPO or their gradients."""

from __future__ import annotations

import os
from typing import Any

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
pytest.importorskip("trl", reason="needs trl: pip install 'prlm-bench[prlm]'")

import torch
import torch.nn.functional as F
from prlm_bench_plugins.prlm._prefix_sharing import PrefixSharingGRPOTrainer, log_probabilities
from support.prlm_shop import make_causal
from transformers import AutoModelForCausalLM
from trl.trainer.grpo_trainer import GRPOTrainer

GROUP, KEEP = 2, 5
#: Prompt lengths, and the tokens that each completion has.
PROMPTS, WRITTEN = [9, 4, 7], [5, 3, 1, 5, 2, 4]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = make_causal(tmp_path_factory.mktemp("made") / "llama", "Llama")
    return AutoModelForCausalLM.from_pretrained(folder, attn_implementation="sdpa").train()


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Prompts padded at the left, completions at the right, a group after the other."""
    dice = torch.Generator().manual_seed(5)
    width = max(PROMPTS)
    ids = torch.zeros(len(WRITTEN), width + KEEP, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, written in enumerate(WRITTEN):
        length = PROMPTS[row // GROUP]
        if row % GROUP == 0:
            prompt = torch.randint(2, 300, (length,), generator=dice)
        ids[row, width - length : width] = prompt
        ids[row, width : width + written] = torch.randint(2, 300, (written,), generator=dice)
        mask[row, width - length : width + written] = 1
    return ids, mask


def gradients(model: Any, weight: float = 1.0) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Log-probabilities and parameters' gradients of trl's loss, which multiplies by the mask."""
    ids, mask = batch()
    model.zero_grad(set_to_none=True)
    logps, entropies = log_probabilities(model, ids, mask, KEEP, 0.7)
    written = mask[:, -KEEP:]
    advantages = weight * torch.tensor([1.0, -1.0, 0.5, -0.5, 2.0, -2.0])[:, None]
    loss = -(torch.exp(logps - logps.detach()) * advantages * written).sum() / written.sum()
    (loss + 0.1 * weight * (entropies * written).sum() / written.sum()).backward()
    return logps.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def as_cudnn(
    query: Any, key: torch.Tensor, value: torch.Tensor, attn_mask: torch.Tensor | None = None, **options: Any
) -> torch.Tensor:
    """Attention whose backward pass gives NaN to queries that see nothing, as cuDNN's does at some widths."""
    if attn_mask is not None and query.requires_grad:
        blind = ~attn_mask.any(-1, keepdim=True)
        query.register_hook(lambda gradient: torch.where(blind, torch.nan, gradient))
    return SDPA(query, key, value, attn_mask=attn_mask, **options)


SDPA = F.scaled_dot_product_attention


class TestBlindQueries:
    @pytest.mark.parametrize("weight", [0.0, 1.0])
    def test_a_kernel_that_gives_them_nan_changes_nothing(
        self, model: Any, weight: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            logps, plain = gradients(model, weight)
            monkeypatch.setattr(F, "scaled_dot_product_attention", as_cudnn)
            theirs, strict = gradients(model, weight)
        assert torch.equal(logps, theirs)
        for name, gradient in strict.items():
            assert torch.equal(gradient, plain[name]), name

    def test_no_query_sees_nothing(self, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        masks: list[torch.Tensor] = []

        def noting(*args: Any, **options: Any) -> torch.Tensor:
            masks.append(options["attn_mask"])
            return SDPA(*args, **options)

        monkeypatch.setattr(F, "scaled_dot_product_attention", noting)
        gradients(model)
        assert len(masks) == 4  # two layers, for prompts and for completions
        assert all(bool(mask.any(-1).all()) for mask in masks)

    def test_where_trl_reads_the_prompts_cudnns_kernel_is_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[bool] = []
        kernels: Any = torch.backends.cuda
        monkeypatch.setattr(GRPOTrainer, "train", lambda self: seen.append(kernels.cudnn_sdp_enabled()))
        before = kernels.cudnn_sdp_enabled()
        trainer: Any = PrefixSharingGRPOTrainer.__new__(PrefixSharingGRPOTrainer)
        trainer.args = type("Args", (), {"gradient_checkpointing": False})
        for shares in (True, False):
            monkeypatch.setattr(PrefixSharingGRPOTrainer, "can_share_prefix", lambda self, shares=shares: shares)
            trainer.train()
        assert seen == [before, False] and kernels.cudnn_sdp_enabled() == before


class TestPadding:
    @pytest.mark.parametrize("junk", [float("nan"), float("inf"), float("-inf")])
    def test_junk_at_padding_reaches_neither_loss_nor_gradient(self, model: Any, junk: float) -> None:
        _, mask = batch()
        clean_logps, clean = gradients(model)
        # The states whose next token is padding: their logits stand at masked places.
        padding = torch.cat([mask[:, -KEEP + 1 :] == 0, torch.ones(len(mask), 1, dtype=torch.bool)], 1)

        def plant(module: Any, args: Any, output: Any) -> Any:
            if output.last_hidden_state.shape[1] == KEEP:
                output.last_hidden_state = torch.where(padding[..., None], junk, output.last_hidden_state)
            return output

        handle = model.model.register_forward_hook(plant)
        try:
            logps, found = gradients(model)
        finally:
            handle.remove()
        assert torch.equal(logps, clean_logps)
        for name, gradient in found.items():
            assert torch.equal(gradient, clean[name]), name

    def test_zero_stands_at_padding(self, model: Any) -> None:
        ids, mask = batch()
        for found in log_probabilities(model, ids, mask, KEEP, 0.7):
            assert (found[mask[:, -KEEP:] == 0] == 0).all() and (found[mask[:, -KEEP:] == 1] != 0).all()

    def test_completions_that_are_masked_whole(self, model: Any) -> None:
        ids, mask = batch()
        mask[:, -KEEP:] = 0  # trl's mask_truncated_completions, all of them cut
        model.zero_grad(set_to_none=True)
        logps, _ = log_probabilities(model, ids, mask, KEEP, 0.7)
        logps.sum().backward()
        assert not logps.any() and all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_prompts_that_differ_by_a_first_token_like_padding_stay_apart(model: Any) -> None:
    ids = torch.tensor([[0, 7, 8, 9, 20, 21], [0, 7, 8, 9, 20, 21]])
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [0, 1, 1, 1, 1, 1]])
    logps, _ = log_probabilities(model, ids, mask, 2, 1.0)
    for row, start in enumerate((0, 1)):
        whole = model(input_ids=ids[row : row + 1, start:]).logits[0].log_softmax(-1)
        expected = whole[-3:-1].gather(-1, ids[row, -2:, None])[:, 0]
        assert torch.allclose(logps[row], expected, atol=1e-5)
