"""Does what was learnt on one task help on others? Each task's trained method, run on all of them."""

from __future__ import annotations

from statistics import fmean
from typing import Any

from prlm_bench.report import compare

from .cells import seed_values
from .report import Report
from .training import Method, Training


def cross_domain(asked: Training) -> Report:
    """Train on each task and run the first method of each training on every task.

    What a method trained elsewhere scores is compared with what the method trained on the task itself scores;
    intervals resample users with all of their seeds.
    """
    methods: dict[str, Method] = {}
    for task in asked.tasks:
        methods[task] = next(iter(asked.train(task).values()))
    rows: list[list[Any]] = []
    for task in asked.tasks:
        metric, labels = asked.metric(task), asked.host.tasks.get(task).labels
        own = tuple(asked.run(task, methods[task]))
        rows.append([task, task, fmean(seed_values(own, metric.name)), None, None, None])
        for other in asked.tasks:
            if other != task:
                foreign = tuple(asked.run(task, methods[other]))
                (found,) = compare([foreign], own, [metric], labels, correction="none")
                d = found.difference
                rows.append([other, task, fmean(seed_values(foreign, metric.name)), d.difference, d.low, d.high])
    return Report(
        "cross-domain",
        f"Trained on one task, run on another ({asked.split}, {len(asked.seeds)} seeds)",
        ["trained on", "run on", "score", "minus trained on it", "low", "high"],
        rows,
        _findings(rows),
        lambda axes: _draw(axes, asked.tasks, rows),
    )


def _findings(rows: list[list[Any]]) -> list[str]:
    alike = [f"{row[0]} on {row[1]}" for row in rows if row[4] is not None and row[4] <= 0 <= row[5]]
    return [f"Not to be told from training on the task itself: {', '.join(alike)}."] if alike else []


def _draw(axes: Any, tasks: Any, rows: list[list[Any]]) -> None:
    names = list(tasks)
    grid = [[next(r[2] for r in rows if (r[0], r[1]) == (trained, run)) for run in names] for trained in names]
    image = axes.imshow(grid, cmap="Blues", vmin=0)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("run on")
    axes.set_ylabel("trained on")
    for y, line in enumerate(grid):
        for x, value in enumerate(line):
            axes.text(x, y, f"{value:.3f}", ha="center", va="center", color="white" if value > 0.5 else "black")
    axes.figure.colorbar(image, ax=axes)
