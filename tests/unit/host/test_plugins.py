"""Plugins: found, loaded one by one, and told of where they fail."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.sites import HOOK, SHIPPED, WORKS, Site, the_failure

from prlm_bench.cli import COMMANDS, _app
from prlm_bench.host import PluginHost


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site.on_path(tmp_path, monkeypatch)


def line_of(file: Path, text: str) -> str:
    lines = file.read_text(encoding="utf-8").splitlines()
    return f"{file}:{1 + next(number for number, line in enumerate(lines) if text in line)}"


def test_the_shipped_plugins_load() -> None:
    host = PluginHost()
    assert {plugin.origin.plugin for plugin in host.plugins} >= SHIPPED
    assert host.failures == []
    assert all(Path(plugin.origin.file).is_file() and plugin.registered for plugin in host.plugins)


def test_an_installed_plugin(site: Site) -> None:
    file = site.add(WORKS)
    host = PluginHost()
    (plugin,) = [p for p in host.plugins if p.origin.dist == "zz-dist"]
    assert str(plugin.origin) == "zz-plugin (zz-dist 1.2)"
    assert plugin.origin.file == str(file)
    assert plugin.hooks == ("prlm_bench_register_retrievers",)
    assert plugin.registered == (("retriever", "zz-works"),)
    assert host.registry.get("retriever", "zz-dist/zz-works").summary == "Finds nothing."


FAULTS_AT_IMPORT = {
    "import no_such_module.sub  #!": (
        "ModuleNotFoundError: No module named 'no_such_module'",
        "pip install no_such_module",
    ),
    "from prlm_bench.records import Nothing  #!": (
        "ImportError: cannot import name 'Nothing' from 'prlm_bench.records'",
        "it needs another version of prlm-bench",
    ),
    "import prlm_bench.no_such_room  #!": (
        "ModuleNotFoundError: No module named 'prlm_bench.no_such_room'",
        "it needs another version of prlm-bench",
    ),
    "from json import no_such_name  #!": ("ImportError: cannot import name 'no_such_name'", "pip install -U json"),
    "x = (  #!": ("SyntaxError: '(' was never closed", "pip install -U zz-dist, or report this to its authors"),
    "import sys; sys.exit(3)  #!": ("SystemExit: 3", "pip install -U zz-dist"),
    "raise RuntimeError('two\\nlines')  #!": ("RuntimeError: two lines", "pip install -U zz-dist"),
    "raise RuntimeError  #!": ("RuntimeError", "pip install -U zz-dist"),
    "def inner():\n    return {}['key']  #!\n\ninner()": ("KeyError: 'key'", "pip install -U zz-dist"),
}


@pytest.mark.parametrize("fault", FAULTS_AT_IMPORT)
def test_a_fault_at_import(site: Site, fault: str) -> None:
    error, hint = FAULTS_AT_IMPORT[fault]
    file = site.add(f"{WORKS}\n{fault}\n")
    failure = the_failure(PluginHost())
    assert str(failure.origin) == "zz-plugin (zz-dist 1.2)"
    assert failure.error.startswith(error)
    assert failure.where == line_of(file, "#!")
    assert failure.hint.startswith(hint)
    assert "Traceback" in failure.details


FAULTS_IN_HOOKS = {
    HOOK.format("rewards", "1 / 0"): ("ZeroDivisionError: division by zero", "pip install -U zz-dist"),
    HOOK.format("rewards", "import no_such_module"): ("ModuleNotFoundError: No", "pip install no_such_module"),
    HOOK.format("rewards", "raise SystemExit"): ("SystemExit", "pip install -U zz-dist"),
    HOOK.format("rewards", "register('a b', Nothing)"): ("invalid reward name 'a b'", "avoid blanks"),
    HOOK.format("rewards", "register('a', 'Nothing')"): ("reward 'a': the factory is not callable", ""),
    HOOK.format("rewards", "register('a', Nothing, needs=['dates'])"): (
        "reward 'a': unknown needs='dates'",
        "known: answer-",
    ),
    HOOK.format("rewards", "register('a', Nothing, nedes=['date'])"): ("TypeError: make_component() got", "pip"),
    HOOK.format("rewards", "[register('a', Nothing) for _ in 'ab']"): ("reward 'a' is registered twice", ""),
    HOOK.format("rewards", "register('a', Nothing, aliases=['a'])"): ("reward 'a' is registered twice", ""),
    HOOK.format("methods", "register('a:b', generator='copy')"): ("invalid method name 'a:b'", "avoid blanks"),
    HOOK.format("methods", "[register('a', generator='copy') for _ in 'ab']"): ("method 'a' is registered twice", ""),
    HOOK.format("methods", "register('a')"): ("TypeError: _Pending.method() missing 1 required", "pip install -U"),
    HOOK.format("commands", "register('a', print)"): ("command 'a' is not a typer.Typer", ""),
    HOOK.format("commands", "import typer; register('run', typer.Typer())"): (
        "command 'run' is a built-in command",
        "choose another name",
    ),
}


@pytest.mark.parametrize("fault", FAULTS_IN_HOOKS)
def test_a_fault_in_a_hook(site: Site, fault: str) -> None:
    error, hint = FAULTS_IN_HOOKS[fault]
    file = site.add(WORKS + fault)
    failure = the_failure(PluginHost(reserved=COMMANDS))
    assert failure.error.startswith(error)
    assert failure.hint.startswith(hint) and bool(failure.hint) == bool(hint)
    assert failure.where == line_of(file, "#!")


FAULTY_HOOKS = {
    "@hookimpl\ndef prlm_bench_register_retriever(register): ...": (
        "unknown hook prlm_bench_register_retriever",
        "did you mean prlm_bench_register_retrievers?",
    ),
    "@hookimpl\ndef prlm_bench_brew_coffee(register): ...": (
        "unknown hook prlm_bench_brew_coffee",
        "known: prlm_bench_register_retrievers, prlm_bench_register_reasoners, ",
    ),
    "@hookimpl\ndef prlm_bench_register_rewards(add): ...": (
        "prlm_bench_register_rewards has an unexpected argument",
        "write def prlm_bench_register_rewards(register)",
    ),
    "def prlm_bench_register_rewards(register): ...": (
        "prlm_bench_register_rewards is not marked as a hook",
        "write @prlm_bench.hookimpl above it",
    ),
}


@pytest.mark.parametrize("fault", FAULTY_HOOKS)
def test_a_faulty_hook(site: Site, fault: str) -> None:
    error, hint = FAULTY_HOOKS[fault]
    file = site.add(f"{WORKS}\n\n{fault}")
    failure = the_failure(PluginHost())
    assert failure.error == error
    assert failure.hint.startswith(hint)
    first = fault.splitlines()[0] if fault.startswith("@") else fault
    lines = file.read_text(encoding="utf-8").splitlines()
    number = max(n for n, line in enumerate(lines, 1) if line == first)
    assert failure.where == f"{file}:{number}"


def test_a_module_without_hooks_is_no_plugin(site: Site) -> None:
    file = site.add("import json\n")
    failure = the_failure(PluginHost())
    assert failure.error == "it has no hooks"
    assert failure.where == f"{file}:1"


def test_a_hook_may_leave_its_argument_out(site: Site) -> None:
    site.add(WORKS + "\n@hookimpl\ndef prlm_bench_register_rewards(): ...\n")
    assert PluginHost().failures == []


def test_a_broken_plugin_does_not_keep_another_of_its_distribution_from_loading(site: Site) -> None:
    site.add("raise OSError('no')", plugin="zz-bad")
    site.add(WORKS, plugin="zz-good")
    host = PluginHost()
    assert [failure.origin.plugin for failure in host.failures] == ["zz-bad"]
    assert host.registry.get("retriever", "zz-works").origin.plugin == "zz-good"


def test_an_interrupt_is_no_fault_of_a_plugin(site: Site) -> None:
    site.add("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        PluginHost()


TASKS = "from pathlib import Path\nfrom prlm_bench import hookimpl\n" + HOOK
TASK = "extends: lamp_4\nname: zz_task\ntitle: A task of a plugin\n"


def test_a_task_file_of_a_plugin(site: Site) -> None:
    (site.folder / "task.yaml").write_text(TASK)
    site.add(TASKS.format("tasks", "register('task.yaml')"), plugin="zz-relative")
    host = PluginHost()
    assert host.failures == []
    assert host.tasks.get("zz_task").title == "A task of a plugin"
    assert ("task", str(site.folder / "task.yaml")) in host.plugins[-1].registered


@pytest.mark.parametrize(
    ("files", "error"),
    [
        ({"bad.yaml": TASK + "folder: [3]\n"}, "bad.yaml:4: folder: Input should be a valid string"),
        ({"good.yaml": TASK, "bad.yaml": "name: ["}, "bad.yaml:1: cannot be read"),
        ({"good.yaml": TASK}, "bad.yaml: cannot be read"),
        ({"good.yaml": TASK, "bad.yaml": TASK}, "task 'zz_task' is defined in"),
        ({"good.yaml": TASK, "bad.yaml": TASK.replace("zz_task", "lamp_1")}, "task 'lamp_1' is defined in"),
    ],
)
def test_a_task_file_that_cannot_be_used(site: Site, files: dict[str, str], error: str) -> None:
    for name, content in files.items():
        (site.folder / name).write_text(content)
    site.add(TASKS.format("tasks", "[register(Path(__file__).with_name(n)) for n in ('good.yaml', 'bad.yaml') if "
                          "n == 'bad.yaml' or Path(__file__).with_name(n).exists()]"))  # fmt: skip
    host = PluginHost()
    (failure,) = host.failures
    assert error in failure.error
    assert "zz_task" not in host.tasks.names
    assert host.tasks.get("lamp_1").folder == "LaMP_1"


def test_two_plugins_cannot_bring_one_command(site: Site) -> None:
    source = "import typer\n" + TASKS.format("commands", "register('zz-hello', typer.Typer())")
    site.add(source, dist="zz-a", plugin="a")
    site.add(source, dist="zz-b", plugin="b")
    host = PluginHost()
    (failure,) = host.failures
    assert failure.error == "command 'zz-hello' is registered by a (zz-a 1.2) and by b (zz-b 1.2)"
    assert [name for name in host.commands if name.startswith("zz-")] == ["zz-hello"]


def test_the_names_of_our_own_commands_are_known() -> None:
    _app._add_commands()
    names = {c.name for c in _app.app.registered_commands} | {g.name for g in _app.app.registered_groups}
    # Earlier command lines in this process have added those of plugins.
    assert {"run", "data", "list", "new-plugin"} <= names <= COMMANDS.keys() | set(PluginHost().commands)
