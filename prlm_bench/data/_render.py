"""Makes retrieval texts from item fields, whole columns at a time."""

from __future__ import annotations

from collections.abc import Sequence
from string import Formatter

from ..records import Document
from ..tasks import Task


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
