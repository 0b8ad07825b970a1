"""A small tokenizer learnt from texts: bytes, words, and phrases whose words always occur together.

Phrases as single tokens make prompts of generated text less than half as long, which pays twice: in training
and in every run. Any other text is still encoded without loss, by words, parts of words and bytes.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

#: Pieces of a text, from which phrases are joined; the same pattern is part of the tokenizer.
WORD = r" ?#?\w+| ?[^\s\w]+|\s+"
PAD, END, SYSTEM, USER, ASSISTANT = "<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message.role + '|>' + message.content + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
#: Not special, so that decoding keeps them: reasoning ends where a model writes the second.
_THINK = ("<think>", "</think>")
#: Maximum number of bytes, words and parts of words.
_VOCABULARY = 4096
#: A phrase occurs this often; one of its halves nearly always with the other, the other at least sometimes.
_LEAST, _STRONG, _WEAK = 20, 0.95, 0.02
_ROUNDS = 12


def learn_tokenizer(texts: Sequence[str], frames: Iterable[str], least: int = 10) -> Any:
    """A fast tokenizer with a chat template.

    It is of the class that transformers loads for every Qwen2 model, whatever the model's files say: one with
    rules of its own would be another tokenizer once it is loaded from disk.

    Args:
        texts: what to learn from.
        frames: fixed strings that become single tokens and that no phrase reaches across.
        least: how often a word or phrase must occur to become a token.

    Returns:
        A `transformers.Qwen2Tokenizer`.
    """
    import transformers
    from tokenizers import AddedToken

    frames = sorted(set(frames), key=lambda frame: (-len(frame), frame))
    between = re.compile("|".join(map(re.escape, frames)))
    pieces = [re.findall(WORD, part) for text in texts for part in between.split(text) if part]
    units = _frequent(_join_phrases(pieces), least)
    words = [unit for unit in units if re.fullmatch(WORD, unit)]
    phrases = [unit for unit in units if not re.fullmatch(WORD, unit)]
    special = [PAD, END, SYSTEM, USER, ASSISTANT]
    vocabulary, merges = _subwords(words, special)
    make: Any = transformers.Qwen2Tokenizer
    tokenizer = make(
        vocab=vocabulary,
        merges=merges,
        unk_token=None,
        pad_token=PAD,
        eos_token=END,
        extra_special_tokens=[SYSTEM, USER, ASSISTANT],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in [*_THINK, *frames, *phrases]])
    return tokenizer


def _frequent(pieces: Iterable[Sequence[str]], least: int) -> list[str]:
    counts = Counter(word for piece in pieces for word in piece)
    return sorted((word for word, count in counts.items() if count >= least), key=lambda word: (-counts[word], word))


def _join_phrases(pieces: list[list[str]]) -> list[list[str]]:
    for _ in range(_ROUNDS):
        single = Counter(word for piece in pieces for word in piece)
        double = Counter(pair for piece in pieces for pair in pairwise(piece))
        shares = {pair: (count / single[pair[0]], count / single[pair[1]]) for pair, count in double.items()}
        joined = {p for p, s in shares.items() if double[p] >= _LEAST and max(s) >= _STRONG and min(s) >= _WEAK}
        joined = {pair for pair in joined if "\n" not in pair[0] + pair[1]}
        if not joined:
            break
        pieces = [_join(piece, joined) for piece in pieces]
    return pieces


def _join(piece: list[str], joined: set[tuple[str, str]]) -> list[str]:
    result: list[str] = []
    place = 0
    while place < len(piece):
        pair = tuple(piece[place : place + 2])
        step = 2 if pair in joined else 1
        result.append("".join(piece[place : place + step]))
        place += step
    return result


def _subwords(words: list[str], special: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Ids of special tokens, bytes and parts of words, and the merges that make each of the words one token."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    cutter: Any = transformers.Qwen2Tokenizer
    learner: Any = Tokenizer(models.BPE())
    learner.pre_tokenizer = cutter(unk_token=None).backend_tokenizer.pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        min_frequency=1,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    learner.train_from_iterator(words, trainer)
    model = json.loads(learner.to_str())["model"]
    return dict(model["vocab"]), [(left, right) for left, right in model["merges"]]
