"""Small Hugging Face tokenizers of four kinds, trained here on a few sentences and loaded from a folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
pytest.importorskip("transformers", reason="needs transformers: pip install 'prlm-bench[hf]'")

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

CORPUS = [
    "Generate a headline for the following article: the council voted to close the old library in spring.",
    "Generate a title for the following abstract of a paper: we study ranking with sparse user profiles.",
    "For an author who has written the paper with the title, which reference is related? Just answer with [1] or [2].",
    "What is the score of the following review on a scale of 1 to 5? The battery lasts two days, the screen is bright.",
    "Which tag does this movie relate to among the following tags? A detective wakes up in a city without a night.",
    "Paraphrase the following tweet without any explanation before or after it: running late, coffee first!",
    "Following the given patterns are written by user. is the title for is a title for the tag for the movie: is the",
    "is the score for, and \"quoted\" 'single' words; naïve café, Ångström: 100% of $3.50 (about) #tag @name ...",
]


def unigram(corpus: list[str]) -> PreTrainedTokenizerFast:
    """Like T5: sentence pieces, `</s>` at the end."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    tokenizer.train_from_iterator(
        corpus,
        trainers.UnigramTrainer(vocab_size=300, special_tokens=special, unk_token="<unk>", show_progress=False),
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )


def wordpiece(corpus: list[str]) -> PreTrainedTokenizerFast:
    """Like BERT: lower-cased word pieces between `[CLS]` and `[SEP]`."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer.train_from_iterator(
        corpus, trainers.WordPieceTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        clean_up_tokenization_spaces=True,
        model_max_length=32,
    )


def _byte_pairs(corpus: list[str], special: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return tokenizer


def bytes_only(corpus: list[str]) -> PreTrainedTokenizerFast:
    """Like GPT-2: byte pairs without special tokens; it is told to clean up what it decodes, which it refuses."""
    return PreTrainedTokenizerFast(tokenizer_object=_byte_pairs(corpus, []), clean_up_tokenization_spaces=True)


def cut_on_the_left(corpus: list[str]) -> PreTrainedTokenizerFast:
    """Like Llama: byte pairs after `<s>`; it keeps the end of what it cuts."""
    tokenizer = _byte_pairs(corpus, ["<s>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", truncation_side="left")


KINDS: dict[str, Callable[[list[str]], Any]] = {
    "unigram": unigram,
    "wordpiece": wordpiece,
    "bytes": bytes_only,
    "left": cut_on_the_left,
}


def saved(kind: str, folder: Path, corpus: list[str] | None = None) -> Path:
    """A folder as `save_pretrained` writes it."""
    KINDS[kind](CORPUS if corpus is None else corpus).save_pretrained(folder)
    return folder
