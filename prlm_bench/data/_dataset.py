"""One split of one task, read from its store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from string import Formatter
from typing import Any

import numpy as np

from .._util.cache_folder import cache_root
from ..errors import DataError
from ..records import Document, Example
from ..tasks import Task
from .lamp._import import load_store
from .lamp._layout import SplitFiles, data_root, questions_file, split_files
from .lamp._origin import Origin, other_task
from .store._hashes import Progress
from .store._store import Store


def open_dataset(
    task: Task,
    root: Path,
    split: str,
    *,
    skip_invalid: bool = False,
    any_task: bool = False,
    view: str = "lamp",
    dates: bool = False,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Open one split, importing it on first use.

    Args:
        task: the task.
        root: the folder in LaMP's layout, or its parent with `<task.folder>/` in it.
        split: `train`, `dev`, `test`, or whatever folder there is.
        skip_invalid: go on without malformed questions.
        any_task: take files of another benchmark than the task's; `Dataset.other_task` says which.
        view: whose retrieval texts to build, `lamp` or `prlm`.
        dates: append ` date: {date}` to the document texts of the `lamp` view.
        cache: the cache folder; `cache_root()` where it is None.
        progress: called while importing, with bytes read and bytes in all.

    Raises:
        DataError: no such split; files that are not JSON, or of another benchmark without `any_task`; malformed
            questions without `skip_invalid`; dates asked for where not every item has one; a cache that cannot be
            written.
        TaskError: the task has no such view.
    """
    folder = data_root(task, root)
    files = split_files(task, folder, split)
    cache = cache if cache is not None else cache_root()
    documents = Documents(task, view, dates)
    store = load_store(task, files, cache, progress)
    other = other_task(task, files.by_role(), Origin(**store.meta.origin))
    if other is not None and not any_task:
        raise other.refuse()
    if not skip_invalid:
        _require_sound(files, store)
    given = {"skip_invalid": skip_invalid, "any_task": any_task, "view": view, "dates": dates, "cache": cache}
    dataset = Dataset(task, folder, files, split, store, documents, given, other.what if other else None)
    if dates and "date" not in dataset.has:
        raise DataError(f"{files.questions}: dates are asked for, but not every profile item has a `date`")
    return dataset


def _require_sound(files: SplitFiles, store: Store) -> None:
    meta = store.meta
    hint = "`prlm-bench data validate` lists them all, --skip-invalid goes on without them"
    if meta.n_invalid:
        count = f"{meta.n_invalid} of {meta.n_total} questions {'is' if meta.n_invalid == 1 else 'are'} malformed"
        raise DataError(
            f"{files.questions}: {count}, first {meta.first_problem}",
            hint,
        )
    if meta.lost_gold:
        raise DataError(f"{files.outputs}: {meta.lost_gold}", hint)


class Dataset:
    """The sound questions of one split, in the order of the file; made by `open_dataset`."""

    def __init__(
        self,
        task: Task,
        root: Path,
        files: SplitFiles,
        split: str,
        store: Store,
        documents: Documents,
        given: dict[str, Any],
        other_task: str | None,
    ) -> None:
        self.task = task
        #: The task's own folder.
        self.root = root
        self.split = split
        self.view: str = given["view"]
        self.dates: bool = given["dates"]
        #: The benchmark whose data these are, where that is not the task's and `any_task` let them through.
        self.other_task = other_task
        #: Questions in the file, malformed ones included.
        self.n_total = store.meta.n_total
        #: Malformed questions, which are left out.
        self.n_invalid = store.meta.n_invalid
        #: File name to SHA-256, for questions and, where there are any, outputs and relevance.
        self.sha256 = {path.name: store.meta.sha256[role] for role, path in files.by_role().items()}
        self._store = store
        self._documents = documents
        #: The arguments of `open_dataset`, for another split.
        self._given = given
        self._query = task.view(self.view).query

    def __len__(self) -> int:
        return self.n_total - self.n_invalid

    def __repr__(self) -> str:
        return f"<Dataset {self.task.name} {self.split}: {len(self)} questions>"

    @cached_property
    def ids(self) -> list[str]:
        """The question ids."""
        return self._store.column("id")

    @cached_property
    def users(self) -> list[str]:
        """The user of each question: its `user_id`, or its own id where it has none."""
        users = self._store.column("user")
        return [name if user is None else user for name, user in zip(self.ids, users, strict=True)]

    @cached_property
    def golds(self) -> list[str | None]:
        """The reference answer of each question; None where it is withheld."""
        return self._store.column("gold")

    @cached_property
    def n_users(self) -> int:
        """How many users there are."""
        return len(set(self.users))

    @cached_property
    def has(self) -> frozenset[str]:
        """What the data know beyond the texts, of `date`, `relevance`, `golds` and `users`.

        `date`: every profile item has one; `users`: every question names its user.
        """
        meta = self._store.meta
        known = {
            "date": 0 < meta.n_with_date == self._store.n_items,
            "relevance": "relevance" in meta.sha256,
            "golds": "outputs" in meta.sha256,
            "users": 0 < meta.n_with_user == len(self),
        }
        return frozenset(name for name, value in known.items() if value)

    def fingerprint(self) -> str:
        """Identity of everything that the examples hold: the files, how they are read, and the view."""
        view = self.task.view(self.view)
        dated = self.dates and self.view == "lamp"
        identity = [self._store.meta.key, view.query, view.document, dated]
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:32]

    def batches(self, size: int, start: int = 0, stop: int | None = None) -> Iterator[list[Example]]:
        """The examples from `start` to before `stop` in lists of `size`, the last one shorter.

        Memory holds two batches at a time. Within a batch, profiles share the documents they have in common.
        """
        if size < 1:
            raise ValueError(f"size is {size}, at least 1 is needed")
        start, stop, _ = slice(start, stop).indices(len(self))
        known: dict[int, Document] = {}
        for begin in range(start, stop, size):
            examples, known = self._examples(begin, min(begin + size, stop), known)
            yield examples
            self._store.release()

    def example(self, index: int) -> Example:
        """One example; negative indices count from the end.

        Raises:
            IndexError: there is no such example.
        """
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"no example {index} among {len(self)}")
        (example,), _ = self._examples(place, place + 1, {})
        self._store.release()
        return example

    def _examples(self, start: int, stop: int, known: dict[int, Document]) -> tuple[list[Example], dict[int, Document]]:
        rows = self._store.questions(start, stop)
        numbers = np.unique(np.concatenate(rows.items)) if rows.items else np.empty(0, np.uint32)
        documents = self._fetch(numbers, known)
        examples = []
        for place, name in enumerate(rows.id):
            user, relevant, text = rows.user[place], rows.relevant[place], rows.input[place]
            examples.append(
                Example(
                    id=name,
                    user=name if user is None else user,
                    input=text,
                    query=self._query.format(*self.task.query.parts(text)).strip(),
                    profile=tuple([documents[number] for number in rows.items[place].tolist()]),
                    gold=rows.gold[place],
                    relevant=None if relevant is None else frozenset(relevant),
                )
            )
        return examples, documents

    def _fetch(self, numbers: Any, known: dict[int, Document]) -> dict[int, Document]:
        """Documents by item number; those in `known` are not built again."""
        wanted = numbers.tolist()
        documents = {number: known[number] for number in wanted if number in known}
        missing = [number for number in wanted if number not in documents]
        if missing:
            columns = self._store.items(np.array(missing, dtype=np.uint32))
            documents.update(zip(missing, self._documents.build(columns), strict=True))
        return documents

    def sibling(self, split: str) -> Dataset | None:
        """Another split of the same task, opened in the same way; None where it has no questions file.

        Raises:
            DataError: as `open_dataset` does.
        """
        if not questions_file(self.root, split).is_file():
            return None
        return open_dataset(self.task, self.root, split, **self._given)

    def info(self) -> dict[str, Any]:
        """What `data info` shows, as a JSON object; sizes in items, lengths in bytes."""
        sizes = self._store.profile_sizes()
        dates = self._store.date_range()
        meta = self._store.meta
        return {
            "task": self.task.name,
            "split": self.split,
            "root": str(self.root),
            "questions": len(self),
            "questions_in_file": self.n_total,
            "malformed": self.n_invalid,
            "other_task": self.other_task,
            "users": self.n_users,
            "has": sorted(self.has),
            "profile": {
                "min": int(sizes.min()) if sizes.size else 0,
                "mean": float(sizes.mean()) if sizes.size else 0.0,
                "max": int(sizes.max()) if sizes.size else 0,
                "empty": int((sizes == 0).sum()),
            },
            "items": int(sizes.sum()),
            "distinct_items": self._store.n_items,
            "dated_items": meta.n_with_date,
            "dates": list(dates) if dates else None,
            "sha256": self.sha256,
            "fingerprint": self.fingerprint(),
            "store": str(self._store.folder),
            "bytes": {"questions": meta.source_bytes, "store": sum(meta.bytes.values())},
        }


class Documents:
    """Builds documents for one view of a task.

    Args:
        task: names the item fields.
        view: `lamp` or `prlm`.
        dates: append ` date: {date}` to `lamp` texts.

    Raises:
        TaskError: the task has no such view.
    """

    def __init__(self, task: Task, view: str, dates: bool) -> None:
        template = task.view(view).document
        used = list(dict.fromkeys(name for _, name, _, _ in Formatter().parse(template) if name is not None))
        self._names = task.item_fields
        #: The columns that the template reads.
        self._places = [self._names.index(name) for name in used]
        self._plain = len(used) == 1 and template == f"{{{used[0]}}}"
        self._format = _by_position(template, used).format
        self._dated = dates and view == "lamp"

    def build(self, columns: Sequence[list[str]]) -> list[Document]:
        """Documents from columns: id, the item fields, date; each of length n."""
        ids, *contents, days = columns
        if self._plain:
            texts = contents[self._places[0]]
        else:
            texts = [self._format(*parts) for parts in zip(*(contents[place] for place in self._places), strict=True)]
        if self._dated:
            texts = [f"{text} date: {day}" for text, day in zip(texts, days, strict=True)]
        names = self._names
        fields = [dict(zip(names, values, strict=True)) for values in zip(*contents, strict=True)]
        return list(map(Document, ids, texts, fields, days))


def _by_position(template: str, names: list[str]) -> str:
    """The template with fields by position, so that no mapping is needed for each item."""
    parts = []
    for literal, name, form, conversion in Formatter().parse(template):
        parts.append(literal.replace("{", "{{").replace("}", "}}"))
        if name is not None:
            suffix = ("!" + conversion if conversion else "") + (":" + form if form else "")
            parts.append(f"{{{names.index(name)}{suffix}}}")
    return "".join(parts)
