"""The command line, a guest of the Python API: a command holds options and printing, one short file each."""

#: Where each command is: a function, or a `typer.Typer` with commands of its own. No plugin may take these names.
COMMANDS = {
    "run": "_run:run",
    "leaderboard": "_leaderboard:leaderboard",
    "compare": "_compare:compare",
    "site": "_site:site",
    "train": "_train:train",
    "score": "_score:score",
    "rank": "_rank:rank",
    "prompts": "_prompts:prompts",
    "list": "_list:list_things",
    "plugins": "_plugins:plugins",
    "doctor": "_doctor:doctor",
    "new-plugin": "_new_plugin:new_plugin",
    "data": "_data:app",
    "cache": "_cache:app",
    "results": "_results:app",
    "submit": "_submit:app",
    "human": "_human:app",
    "retrieval": "_retrieval:app",
}

from ._app import application, main  # noqa: E402  (the table comes first: it is what plugins are loaded against)

__all__ = ["COMMANDS", "application", "main"]
