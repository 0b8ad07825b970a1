"""The command line, built on the Python API: each command is one short file of options and printing."""

#: The place of each command: a function, or a `typer.Typer` with subcommands. Plugins cannot use these names.
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

from ._app import application, main  # noqa: E402  (plugins are loaded against the table above)

__all__ = ["COMMANDS", "application", "main"]
