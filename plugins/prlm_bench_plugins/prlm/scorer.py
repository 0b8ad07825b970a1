"""The pair scorer: an encoder that reads a question with an answer and gives one number, larger for more personal.

Source: PrLM (arXiv 2508.07342): BERT, its pooled vector, a linear layer to a scalar.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prlm_bench.errors import PrlmBenchError
from prlm_bench.prompting import quiet_transformers

from .recipe import Scratch

#: Tokens of a batch when nothing is trained.
_BATCH_TOKENS = 16384
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@dataclass(frozen=True)
class Scorer:
    """A model with its tokenizer.

    Args:
        model: of transformers, for sequence classification with one label.
        tokenizer: its own.
        max_length: tokens of question, answer and special tokens together; the longer text is cut.
    """

    model: Any
    tokenizer: Any
    max_length: int

    def encode(self, questions: Sequence[str], answers: Sequence[str]) -> list[dict[str, list[int]]]:
        """Token ids and their companions, one mapping for each row."""
        if not answers:  # a batch of which nothing can be read; tokenizers cannot stand it
            return []
        found = self.tokenizer(list(questions), list(answers), truncation="longest_first", max_length=self.max_length)
        return [{name: found[name][row] for name in found} for row in range(len(answers))]

    def collate(self, rows: Sequence[dict[str, list[int]]]) -> Any:
        """Rows padded at the right, as tensors of shape (rows, longest)."""
        return self.tokenizer.pad(list(rows), return_tensors="pt")

    def score(self, questions: Sequence[str], answers: Sequence[str]) -> list[float]:
        """One score for each answer, before the sigmoid."""
        import torch

        rows = self.encode(questions, answers)
        order = sorted(range(len(rows)), key=lambda row: len(rows[row]["input_ids"]))
        scores = [0.0] * len(rows)
        self.model.eval()
        for batch in _batches(order, [len(row["input_ids"]) for row in rows]):
            inputs = self.collate([rows[place] for place in batch]).to(self.model.device)
            with torch.inference_mode():
                logits = self.model(**inputs).logits[:, 0].float().tolist()
            for place, value in zip(batch, logits, strict=True):
                scores[place] = value
        return scores

    def save(self, folder: Path) -> None:
        """Write model and tokenizer."""
        with quiet_transformers():
            self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def question_text(query: str, items: Iterable[str], *, profile: bool) -> str:
    """What the scorer reads before the answer: the query, and with `profile` the user's items after it."""
    return "\n".join([query, *items]) if profile else query


def load_scorer(folder: str | Path, max_length: int) -> Scorer:
    """A scorer from a folder, or from an encoder by hub name or folder, with a new last layer.

    Raises:
        PrlmBenchError: it cannot be loaded.
    """
    import torch
    import transformers

    auto: Any = transformers
    try:
        with quiet_transformers():
            tokenizer = auto.AutoTokenizer.from_pretrained(folder)
            model = auto.AutoModelForSequenceClassification.from_pretrained(
                folder, num_labels=1, dtype="float32", use_safetensors=True
            )
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise PrlmBenchError(f"encoder {str(folder)!r} cannot be loaded: {type(error).__name__}: {reason}") from None
    if torch.cuda.is_available():
        model = model.to("cuda")
    positions = getattr(model.config, "max_position_embeddings", max_length)
    return Scorer(model, tokenizer, min(max_length, positions))


def new_scorer(sizes: Scratch, texts: Iterable[str], max_length: int, seed: int) -> Scorer:
    """A small BERT with random weights, and a WordPiece tokenizer learnt from `texts`; letter case counts.

    Args:
        sizes: of vocabulary and layers.
        texts: questions and answers of the training users.
        max_length: its positions.
        seed: of the weights.
    """
    import torch
    import transformers

    make: Any = transformers.BertTokenizer
    tokenizer = make(vocab=_words(sizes.vocabulary, list(texts)), do_lower_case=False)
    torch.manual_seed(seed)
    make_config: Any = transformers.BertConfig
    config = make_config(
        vocab_size=len(tokenizer),
        hidden_size=sizes.hidden,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        intermediate_size=4 * sizes.hidden,
        max_position_embeddings=max_length,
        pad_token_id=tokenizer.pad_token_id,
        num_labels=1,
    )
    model: Any = transformers.BertForSequenceClassification(config)
    return Scorer(model, tokenizer, max_length)


def _words(size: int, texts: Sequence[str]) -> dict[str, int]:
    """A WordPiece vocabulary, the same whenever it is learnt from the same texts.

    The library numbers letters inside words as it meets them, in an order that is another each time, and takes the
    lower number where pairs are equally frequent; here they have their numbers beforehand.
    """
    from tokenizers import BertWordPieceTokenizer

    counts = Counter(letter for text in texts for letter in text if not letter.isspace())
    letters = [letter for letter, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[: size // 4]]
    learnt = BertWordPieceTokenizer(lowercase=False, strip_accents=False)
    learnt.train_from_iterator(
        texts,
        vocab_size=size,
        min_frequency=2,
        initial_alphabet=letters,
        limit_alphabet=len(letters),
        special_tokens=[*_SPECIAL, *(f"##{letter}" for letter in letters)],
        show_progress=False,
    )
    return dict(sorted(learnt.get_vocab().items(), key=lambda pair: pair[1]))


def _batches(order: Sequence[int], lengths: Sequence[int]) -> Iterable[list[int]]:
    """Rows in the given order, cut so that rows times the longest stay within the budget."""
    batch: list[int] = []
    for place in order:
        if batch and (len(batch) + 1) * lengths[place] > _BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch
