"""Tasks by names as people write them."""

from __future__ import annotations

from .._util.names import matched
from ..tasks import Task, TaskRegistry


class KnownTasks(TaskRegistry):
    """The known tasks; what a user names is matched without regard to upper and lower case."""

    def get(self, name: str) -> Task:
        """A task by name, or by the path of its file; see `TaskRegistry.get`."""
        return super().get(matched(name, self.names))
