"""Makes `leaderboard.svg` from a real run: `python docs/assets/make_leaderboard.py`.

The picture is the table that `prlm-bench leaderboard` prints to a terminal of 100 columns.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

RUN = "run --task mini_lamp_7 --retriever bm25 --retriever oracle --reasoner direct:protocol=chat --generator tiny"
TABLE = "leaderboard --task mini_lamp_7 --protocol lamp"


def main() -> None:
    """Run, print the table as a terminal shows it, and write the picture beside this file."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PRLM_BENCH_RESULTS": folder, "COLUMNS": "100", "FORCE_COLOR": "1"}
        command = [sys.executable, "-m", "prlm_bench"]
        subprocess.run([*command, *RUN.split()], check=True, env=environment, stdout=subprocess.DEVNULL)
        shown = subprocess.run([*command, *TABLE.split()], check=True, env=environment, capture_output=True, text=True)
    table = [Text.from_ansi(line) for line in shown.stdout.strip("\n").splitlines()]
    width = max(len(line) for line in table) + 1
    with Path(os.devnull).open("w") as nowhere:
        console = Console(width=width, record=True, file=nowhere, force_terminal=True)
        for line in table:
            console.print(line)
        picture = console.export_svg(title="prlm-bench " + TABLE, unique_id="leaderboard")
    # A file that is shown as an image cannot load fonts; the reader's monospace font is used.
    picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)
    picture = "\n".join(line.rstrip() for line in picture.splitlines()) + "\n"
    (Path(__file__).parent / "leaderboard.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
