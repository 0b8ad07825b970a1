"""Draws pairs of answers to judge: users equally often, pairs of methods equally often."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

#: Two methods, as places in a list.
Two = tuple[int, int]


@dataclass(frozen=True)
class Open:
    """What there is to choose from."""

    #: For each question, the methods whose answers to it differ.
    pairs: dict[str, list[Two]]
    #: Pairs of answers that are equal, so that there is nothing to choose.
    identical: int

    @property
    def different(self) -> int:
        """Pairs of answers that differ."""
        return sum(map(len, self.pairs.values()))


def open_pairs(answers: Mapping[str, Sequence[str]]) -> Open:
    """The pairs of methods whose answers differ in more than blanks around them.

    Args:
        answers: for each question, the answer of every method.
    """
    pairs: dict[str, list[Two]] = {}
    identical = 0
    for question, texts in answers.items():
        for first, second in combinations(range(len(texts)), 2):
            if texts[first].strip() == texts[second].strip():
                identical += 1
            else:
                pairs.setdefault(question, []).append((first, second))
    return Open(pairs, identical)


def draw(
    pairs: Mapping[str, Sequence[Two]], users: Mapping[str, str], n: int, rng: random.Random
) -> list[tuple[str, int, int]]:
    """Up to `n` questions, each with two methods in the order in which their answers are to stand.

    The users are gone round in a drawn order; each time a user gives the next of his questions, and of its
    pairs of methods the one drawn least so far. A question comes again only after all others of its user.

    Args:
        pairs: what may be drawn, by question.
        users: the user of each question.
    """
    left = {question: list(found) for question, found in pairs.items()}
    waiting: dict[str, deque[str]] = {}
    for question in rng.sample(sorted(left), len(left)):
        waiting.setdefault(users[question], deque()).append(question)
    order = deque(rng.sample(sorted(waiting), len(waiting)))
    count: Counter[Two] = Counter()
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
