"""Is the answer given away? Golds inside profiles, near-duplicates, and users shared by the splits."""

from __future__ import annotations

from prlm_bench import Example
from prlm_bench.data import open_split

from .asking import Asked
from .report import Report

#: Two texts are near-duplicates when this share of their distinct words is shared (Jaccard).
NEAR = 0.8


def leakage(asked: Asked) -> Report:
    """Count the questions whose answer a copy could find.

    A gold counts as inside the profile when its words stand in an item in this order, case and punctuation
    aside; labels are left out, since every profile holds them.
    """
    task = asked.host.tasks.get(asked.task)
    dataset = open_split(task, asked.split, asked.data, synth_users=asked.synth_users)
    stop = min(asked.limit or len(dataset), len(dataset))
    counts = {"gold inside a profile item": 0, "gold nearly an item's answer": 0, "query nearly an item": 0}
    for batch in dataset.batches(256, 0, stop):
        for example in batch:
            for name, found in _leaks(example, task.answer_field if task.output == "text" else None).items():
                counts[name] += found
    rows: list[list[object]] = [[name, count, count / stop] for name, count in counts.items()]
    train = dataset.sibling("train") if asked.split != "train" else None
    if train is not None and "users" in dataset.has:
        shared = set(train.users) & set(dataset.users)
        rows.append([f"users of {asked.split} that are in train too", len(shared), len(shared) / dataset.n_users])
    leaking = [str(row[0]) for row in rows[:3] if row[1]]
    findings = [f"Found: {', '.join(leaking)}." if leaking else "No gold was found in its own profile."]
    title = f"{asked.task} {asked.split}: {stop} questions"
    return Report("leakage", title, ["what", "count", "share"], rows, findings)


def _leaks(example: Example, answer_field: str | None) -> dict[str, bool]:
    query = set(_words(example.query))
    leaks = {"query nearly an item": any(_near(query, set(_words(item.text))) for item in example.profile)}
    if answer_field is None or not example.gold:
        return leaks
    gold = _words(example.gold)
    inside = f" {' '.join(gold)} "
    texts = [f" {' '.join(_words(' '.join(item.fields.values())))} " for item in example.profile]
    leaks["gold inside a profile item"] = bool(gold) and any(inside in text for text in texts)
    answers = [set(_words(item.fields[answer_field])) for item in example.profile]
    leaks["gold nearly an item's answer"] = any(_near(set(gold), answer) for answer in answers)
    return leaks


def _words(text: str) -> list[str]:
    return "".join(char if char.isalnum() else " " for char in text.lower()).split()


def _near(first: set[str], second: set[str]) -> bool:
    union = first | second
    return bool(union) and len(first & second) >= NEAR * len(union)
