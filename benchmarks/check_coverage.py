"""How often intervals hold the true value, how often tests reject, and what findings say: tables by simulation.

    make coverage                                            the full profile, into build/coverage.json (hours)
    PYTHONPATH=tests python benchmarks/check_coverage.py --quick   about 10 minutes of one core
    ... --write                                              puts the tables into docs/explanation/coverage.md

Done cells are kept in the file and not simulated again, unless the core, the profile or the seed have changed. The
simulated answers are in tests/support/simulated.py; a short version that can fail is tests/unit/stats/test_coverage.py.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Sequence
from pathlib import Path

import coverage_cells as made
import numpy as np
from coverage_cells import Cell, Results, Study, Sums, cell_key

from prlm_bench._util.files import write_whole
from prlm_bench.identity import core_digest

SEED = 7
PAGE = Path(__file__).resolve().parent.parent / "docs" / "explanation" / "coverage.md"

STUDIES = (
    Study(
        "Single figures",
        made.interval_cells,
        made.one_interval,
        made.intervals_table,
        "Coverage in percent of the intervals that are printed: `auto` / `percentile` / `bca`; – where `auto` "
        "prints none. The first table counts cells, the others give each.",
    ),
    Study(
        "Macro-F1",
        made.label_cells,
        made.one_label_interval,
        made.labels_table,
        "As above, with an ICC of .3 and users who prefer a label of their own. `auto` prints no interval where a "
        "label has fewer than two golds.",
        200,
    ),
    Study(
        "Bowyer et al",
        made.rival_cells,
        made.one_rival,
        made.rivals_table,
        "Coverage in percent: `auto` / Clopper-Pearson / Wilson / beta posterior (these three over questions, as "
        "if they were independent) / beta-binomial posterior over users.",
        100,
    ),
    Study(
        "Differences",
        made.difference_cells,
        made.one_difference,
        made.differences_table,
        "Two methods with a latent correlation of .6. Coverage of the true difference in percent; for accuracy, "
        "that of the paired probit posterior over questions; then how often p is at most .05 where the methods are"
        " equal (5 is right). The last column is the largest share of a row's cells in which p and the interval "
        "disagree.",
        150,
    ),
    Study(
        "Equivalence",
        made.equivalence_cells,
        made.one_equivalence,
        made.equivalence_table,
        "How often two methods whose true difference is the margin are called equivalent, in percent (at most 5 is"
        " right); differences by user are normal, margins in their standard deviations.",
        400,
    ),
    Study(
        "Power",
        made.power_cells,
        made.one_power,
        made.power_table,
        "How often the difference that `compare` prints as detectable is found, alone and as one of 10 comparisons"
        " with Holm's correction (80 is right); – where it says that no difference can be found.",
        300,
    ),
    Study(
        "Users needed",
        made.needed_cells,
        made.one_needed,
        made.needed_table,
        "The same with as many users as `users_needed` gives after a first sample of 40 (80 is right).",
        200,
    ),
    Study(
        "Trainings",
        made.training_cells,
        made.one_training,
        made.trainings_table,
        "The same recipe on both sides, trained several times: how often it differs from itself (5 is right), and "
        "how often one training each, tested over users alone, does.",
        400,
    ),
    Study(
        "Findings",
        made.findings_cells,
        made.one_findings,
        made.findings_table,
        "A grid of 12 methods with their random counterpart and a control, 5 questions a user: what 24 checks say,"
        " in percent. A gain below the margin of .02 counts as none.",
        10,
    ),
)


def replicates(study: Study, cell: Cell, times: float) -> int:
    """How often a cell is simulated."""
    slower = {200: 2, 1000: 4}
    divisor = max((slower.get(part, 1) for part in cell if isinstance(part, int)), default=1)
    return max(4, int(study.replicates * times / divisor))


def simulate(study: Study, cell: Cell, count: int) -> Sums:
    """Sums over replicates; the draws of a cell do not depend on other cells."""
    rng = np.random.default_rng([SEED, zlib.crc32(cell_key(study, cell).encode())])
    sums: Sums = {"replicates": float(count)}
    for _ in range(count):
        for name, value in study.replicate(rng, cell).items():
            sums[name] = sums.get(name, 0.0) + value
    return sums


def run(path: Path, times: float, studies: Sequence[Study]) -> Results:
    """Simulate all cells that the file does not have yet."""
    about = {"core": core_digest(), "seed": SEED, "times": times}
    kept = json.loads(path.read_text()) if path.exists() else {}
    cells: dict[str, Sums] = kept.get("cells", {}) if kept.get("about") == about else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    for study in studies:
        for cell in study.cells():
            if (key := cell_key(study, cell)) not in cells:
                cells[key] = simulate(study, cell, replicates(study, cell, times))
                write_whole(path, json.dumps({"about": about, "cells": cells}).encode())
    return Results(cells)


def page(results: Results, studies: Sequence[Study], times: float) -> str:
    """The page of the manual."""
    few, many = (replicates(STUDIES[0], (users,), times) for users in (6, 1000))
    error = [100 * float(np.sqrt(0.95 * 0.05 / count)) for count in (few, many)]
    head = f"""# Coverage and power, by simulation

Made by `benchmarks/check_coverage.py` (`make coverage`) with the core `{core_digest()}`, seed {SEED}. A cell of the
first table has {few} replicates with up to 50 users and {many} with 1000, so that the Monte-Carlo error of a share of
95 % (one standard deviation) is {error[0]:.1f} and {error[1]:.1f} points; bootstraps are computed in a quarter of them.
[Statistics](statistics.md) says what is computed, and why.

A question has a latent normal value, of which the share ICC of the variance is the user's own. Users have 5 questions
each (`equal`), a lognormal number with mean 5 and a coefficient of variation of about 1 (`heavy`), or one with mean 15
and a coefficient of variation of about 4.6 (`extreme`: with 50 users, one has a third of all questions).
"""
    parts = [
        f"## {study.name}\n\n{study.about} Replicates: {results.counted(study)}.\n\n{study.table(study, results)}"
        for study in studies
    ]
    return "\n".join([head, *parts])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=Path, default=Path("build/coverage.json"), help="the file of done cells")
    parser.add_argument("--quick", action="store_true", help="a tenth of the replicates")
    parser.add_argument("--times", type=float, help="replicates as a multiple of those of --quick")
    parser.add_argument("--study", action="append", choices=[study.name for study in STUDIES], help="only these")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    arguments = parser.parse_args()
    times = arguments.times or (1.0 if arguments.quick else 10.0)
    studies = [study for study in STUDIES if not arguments.study or study.name in arguments.study]
    text = page(run(arguments.cells, times, studies), studies, times)
    if arguments.write:
        PAGE.write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
