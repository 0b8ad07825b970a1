"""The personalization reward model: an encoder that reads a question with an answer and gives one number.

Source: PrLM (arXiv 2508.07342): BERT, its pooled vector, a linear layer to a scalar. `_reward_training` trains
it. A reward model belongs to one task: what is personal in a headline is not what is personal in a tweet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prlm_bench.prompting import quiet_transformers

from .._hf import load_model, load_tokenizer, token_batches
from .._training import save_tokenizer
from ._recipe import EncoderConfig

#: Token budget of a batch when nothing is trained.
_BATCH_TOKENS = 16384
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@dataclass(frozen=True)
class RewardModel:
    """A model with its tokenizer.

    Args:
        model: of transformers, for sequence classification with one label.
        tokenizer: its own.
        max_length: maximum number of tokens of question, answer and special tokens together; the longer text is cut.
    """

    model: Any
    tokenizer: Any
    max_length: int

    def encode(self, questions: Sequence[str], answers: Sequence[str]) -> list[dict[str, list[int]]]:
        """Token ids, token types and attention mask of each pair of question and answer."""
        if not answers:  # tokenizers fail on an empty batch
            return []
        found = self.tokenizer(list(questions), list(answers), truncation="longest_first", max_length=self.max_length)
        return [{name: found[name][row] for name in found} for row in range(len(answers))]

    def collate(self, rows: Sequence[dict[str, list[int]]]) -> Any:
        """Rows padded on the right, as tensors of shape (rows, longest)."""
        return self.tokenizer.pad(list(rows), return_tensors="pt")

    def score(self, questions: Sequence[str], answers: Sequence[str], batch_tokens: int = _BATCH_TOKENS) -> list[float]:
        """One score for each answer, before the sigmoid; larger is more personal."""
        import torch

        rows = self.encode(questions, answers)
        scores = [0.0] * len(rows)
        self.model.eval()
        for batch in token_batches([len(row["input_ids"]) for row in rows], batch_tokens, shortest_first=True):
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
        save_tokenizer(self.tokenizer, folder)


def question_text(query: str, items: Iterable[str], *, profile: bool) -> str:
    """The text before the answer: the query, and with `profile` the user's items after it."""
    return "\n".join([query, *items]) if profile else query


def load_reward_model(folder: str | Path, max_length: int) -> RewardModel:
    """A reward model from a folder, or an encoder by hub name or folder with a new last layer.

    Raises:
        PrlmBenchError: it cannot be loaded.
    """
    import torch

    what = f"encoder {str(folder)!r}"
    tokenizer = load_tokenizer(folder, what)
    # The head of a pretrained encoder is new, and named differently in each architecture.
    model = load_model("AutoModelForSequenceClassification", folder, what, may_lack=("",), num_labels=1)
    if torch.cuda.is_available():
        model = model.to("cuda")
    positions = getattr(model.config, "max_position_embeddings", max_length)
    return RewardModel(model, tokenizer, min(max_length, positions))


def new_reward_model(sizes: EncoderConfig, texts: Iterable[str], max_length: int, seed: int) -> RewardModel:
    """A small BERT with random weights, and a cased WordPiece tokenizer learnt from `texts`.

    Args:
        sizes: of vocabulary and layers.
        texts: questions and answers of the training users.
        max_length: number of positions.
        seed: of the weights.
    """
    import torch
    import transformers

    make: Any = transformers.BertTokenizer
    tokenizer = make(vocab=_word_pieces(sizes.vocabulary, list(texts)), do_lower_case=False)
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
    return RewardModel(model, tokenizer, max_length)


def _word_pieces(size: int, texts: Sequence[str]) -> dict[str, int]:
    """A WordPiece vocabulary that depends on the texts alone.

    The library numbers the letters inside words in an order that changes from call to call, and prefers lower numbers
    among equally frequent pairs; so the letters get their numbers here.
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
