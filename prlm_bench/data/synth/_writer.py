"""Writes mini-LaMP's files, one user at a time, each file whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path

from ..._util.files import replacing
from ...errors import PrlmBenchError
from .._write_json import listing
from ..lamp._layout import GENERATED
from ._config import SPLITS, SynthConfig
from ._family import Family
from ._users import family, metadata, records, user_ids

#: Called after each user with the folder's name, the users done and all users of the task.
Progress = Callable[[str, int, int], None]

_json = partial(json.dumps, ensure_ascii=False)


def write_mini_lamp(
    out: Path,
    tasks: Sequence[int] = (1, 2, 3, 4, 5, 6, 7),
    config: SynthConfig | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Write the data of some tasks below `out`, in LaMP's layout; memory does not grow with the number of users.

    A folder's `mini_lamp.json` goes first and comes last: where it is, the folder is whole.

    Args:
        out: the data root; made if it is not there. Files of the same name are replaced.
        tasks: numbers from 1 to 7.
        config: sizes and the rest; the defaults of `SynthConfig` where it is None.
        progress: called after each user; see `Progress`.

    Returns:
        The folders written, one for each task, in the order of `tasks`.

    Raises:
        PrlmBenchError: no such task, or a file cannot be written.
    """
    config = config or SynthConfig()
    families = [family(number) for number in dict.fromkeys(tasks)]
    return [_write_task(Path(out) / f"mini_LaMP_{each.number}", each, config, progress) for each in families]


def _write_task(folder: Path, task: Family, config: SynthConfig, progress: Progress | None) -> Path:
    steps = count(1)

    def step() -> None:
        if progress is not None:
            progress(folder.name, next(steps), sum(config.users.values()))

    try:
        (folder / GENERATED).unlink(missing_ok=True)
        for split in SPLITS:
            (folder / split).mkdir(parents=True, exist_ok=True)
            _write_split(folder / split, split, task, config, step)
        with replacing(folder / GENERATED) as file:
            file.writelines(piece.encode() for piece in metadata(task, config))
    except OSError as error:
        raise PrlmBenchError(f"{error.filename or folder}: cannot be written: {error.strerror}") from None
    return folder


def _write_split(folder: Path, split: str, task: Family, config: SynthConfig, step: Callable[[], None]) -> None:
    with ExitStack() as stack:
        question = stack.enter_context(listing(folder / f"{split}_questions.json", "[", "]"))
        head = f'{{"task": "LaMP_{task.number}", "golds": ['
        output = stack.enter_context(listing(folder / f"{split}_outputs.json", head, "]}"))
        relevance = stack.enter_context(listing(folder / f"{split}_relevance.json", "{", "}"))
        for user in user_ids(task.number, split, config):
            for record in records(task, user, split, config):
                shown = {"id": record.id, "user_id": user, "input": record.input, "profile": record.profile}
                question(_json(shown))
                output(_json({"id": record.id, "output": record.gold}))
                relevance(f"{_json(record.id)}: {_json(record.relevant)}")
            step()
