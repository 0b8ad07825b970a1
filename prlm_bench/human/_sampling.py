"""Samples pairs of answers, balanced over users and over pairs of methods."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

#: Indices of two methods.
MethodPair = tuple[int, int]


@dataclass(frozen=True)
class Candidates:
    """The pairs of answers that can be sampled."""

    #: By question, the pairs of methods whose answers differ.
    pairs: dict[str, list[MethodPair]]
    #: Number of pairs of equal answers, which are not judged.
    identical: int

    @property
    def different(self) -> int:
        """Number of pairs of different answers."""
        return sum(map(len, self.pairs.values()))


def open_pairs(answers: Mapping[str, Sequence[str]]) -> Candidates:
    """The pairs of methods whose answers differ after stripping whitespace.

    Args:
        answers: by question, the answer of each method.
    """
    pairs: dict[str, list[MethodPair]] = {}
    identical = 0
    for question, texts in answers.items():
        for first, second in combinations(range(len(texts)), 2):
            if texts[first].strip() == texts[second].strip():
                identical += 1
            else:
                pairs.setdefault(question, []).append((first, second))
    return Candidates(pairs, identical)


def draw(
    pairs: Mapping[str, Sequence[MethodPair]], users: Mapping[str, str], n: int, rng: random.Random
) -> list[tuple[str, int, int]]:
    """Sample up to `n` questions, each with two methods in the order of their answers.

    Visits users round-robin in random order. Each visit takes the user's next question and, for it, the least-used pair
    of methods. A question repeats only after all others of its user.

    Args:
        pairs: the candidates by question.
        users: the user of each question.
    """
    left = {question: list(found) for question, found in pairs.items()}
    waiting: dict[str, deque[str]] = {}
    for question in rng.sample(sorted(left), len(left)):
        waiting.setdefault(users[question], deque()).append(question)
    order = deque(rng.sample(sorted(waiting), len(waiting)))
    count: Counter[MethodPair] = Counter()
    drawn: list[tuple[str, int, int]] = []
    while order and len(drawn) < n:
        user = order.popleft()
        question = waiting[user].popleft()
        two = min(left[question], key=lambda pair: (count[pair], rng.random()))
        left[question].remove(two)
        count[two] += 1
        drawn.append((question, *(two if rng.random() < 0.5 else two[::-1])))
        if left[question]:
            waiting[user].append(question)
        if waiting[user]:
            order.append(user)
    return drawn
